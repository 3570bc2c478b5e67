// Package fault is the catalogue of what can be broken in the lab: for each fault its true cause, who answers for it, and
// what it hurts. It is data: bringing a fault about is the stage's task, comparing what was said with what is true the
// score's.
package fault
