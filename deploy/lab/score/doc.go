// Package score says how well the lab's collector finds causes: it plays faults one after another, compares what was
// stated with what is true, and sets the rule "any check down is an alert" beside it. Judgement is pure; who brings faults
// about stands behind Lab.
package score
