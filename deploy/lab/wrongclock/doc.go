// Package wrongclock gives one running program of this machine another time of day, while all others keep theirs. Linux has one
// clock for all, and no namespace for it; but programs read it in the vDSO, a page of code that the kernel maps into each of
// them (vdso(7)), and whoever may debug a program may write there. Libraries that are put before a program's own, as faketime
// does, do not reach programs in Go, which ask the vDSO by themselves.
package wrongclock
