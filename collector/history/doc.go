// Package history turns slots into seconds by account: what was up, degraded, down, unknown or excluded, for a check, a
// unit and a service; and from the accounts come availability, coverage and outages.
//
// It is pure: it judges values, and time is passed in. Events of a journal become the runs of each check ([Journal]);
// the runs of a machine's journals laid over one another become its [Machine]; the machines that watch a service vote
// on it by rule votes/1 ([Service.Judge]); the calendar's seconds are then counted ([Count]). Package index keeps the runs.
//
// What speaks for a second of one check on one machine, the first that holds:
//
//  1. the result of the latest journal that has one; within a journal the latest slot ends what earlier slots said;
//  2. the range of the latest journal that has one, for the check before one for all checks ("*");
//  3. nothing: then it is unknown, silent where the machine's plan asked for the check, and not_planned elsewhere.
//
// A result speaks for [slot, slot+every), from its journal's begin on, and no longer than until another plan is applied,
// its journal ends, or a later journal begins after it. Nothing that was measured is removed by a clock that is wrong: a
// cut shortens only the last result before it. Nothing is carried forward.
//
// All instants are whole Unix seconds, rounded down, and stretches are half open.
package history
