// Package schedule turns a plan into results: it runs every check at its slots and says of every slot that it did not
// run why not.
//
// A [Scheduler] wakes once a second, at the machine's own sub-second phase, and starts what is due. What has finished is
// written to its [Sink] at once, and synced at the next tick, all in one, so that a machine with many checks syncs its
// disk no more often than one with few. Goroutines start only when a check is due; at most Plan.Concurrency are under way. A check that is still
// running when its next slot comes, or that found no free place before its slot ended, has missed that slot; so have all
// checks while the machine slept, while its clock jumped and while the agent was stopped. What was missed is recorded as
// ranges.
//
// The clock is watched. Slots are instants of the wall clock, durations are monotonic, and a difference between the two
// is a step: forward it is a missed range, backward it ends the journal and begins a new one in which the repeated
// seconds are run again (see [Scheduler.Run]).
package schedule
