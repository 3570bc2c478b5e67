// Package faults holds tests of the whole way from a check to the figures, under faults: processes that are killed, power
// that is cut, disks that are full, wrong, lost or set back, lines that break, clocks that jump. After each fault the same
// questions are asked of what is left on disk: is every batch as it was signed, is the log one log, is each result that
// was recorded in the history exactly once, is each second without a result told of, does the evidence alone give the same
// history, and are the figures those of a run that nothing disturbed.
//
// Two kinds of tests ask them. Some start the two programs as they are shipped. The others wire the rooms of one agent or
// several and of one collector inside a testing/synctest bubble, so that ten days pass in seconds.
//
// There is no code here besides the tests.
package faults
