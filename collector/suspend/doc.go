// Package suspend keeps stretches of time in which something was not to work: suspensions announced beforehand, force
// majeure, announced power cuts. They are measured as ever; the figures leave out what was announced in time, and show
// beside them what they would be without the rest (rule of accounts votes/1).
//
// Every notice is a leaf of type exclusion, and so is taking one back. Whether a notice was in time is judged anew from its
// leaf and from the rule of the profile that held on the day on which the suspension begins ([Judge]), by an auditor as well
// as here. A leaf that stands in the log after the beginning of its stretch never counts as in time.
package suspend
