// Package check holds the nouns of a measurement: the [Result] of one run, its [State] and [Reason], and what a
// [Kind] of check is (its name, its options, the facts it may report and the constructor of its function).
//
// It knows no protocol beyond the classification of Go's errors (see [Classify]), does no I/O and imports nothing
// of ours. The kinds themselves stand one folder down, a folder a family; what to check and when is in plan, the
// running of it in schedule.
package check
