// Package board is the page that people look at: which services work in which unit, since when, why not, and what one
// check saw last; which incidents are open, and who took note of them; how the controls of the four layers stand.
//
// It knows words, states and HTML, and nothing of where figures come from: a [Source] gives it the whole first page and
// one check at a time, and [Options].Ack records that a person took note of an incident. [Live] is the half of a Source
// that keeps the latest results of every check in memory.
//
// Every text but the catalogue's comes from outside (details above all) and is only ever put on a page through
// html/template. Nothing is loaded from elsewhere, and the policy sent along forbids it: no inline script or style.
package board
