// Package district writes the profile of a lab: communes of the sample profile, with the lab's addresses as their hosts
// and short rounds. Where the addresses come from is the stage's affair.
package district
