// Package lateline is an interface of a network namespace that gives back every packet that is routed into it, but later: a line
// that is slow, on machines whose kernel has no module for that (sch_netem).
package lateline
