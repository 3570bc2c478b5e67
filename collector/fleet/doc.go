// Package fleet says of each machine whether it is meant to be there (the profile), whether Nomad runs an agent on it,
// and whether that agent reports, and explains where the three disagree.
//
// [Compare] judges; [Client] reads Nomad, [Watcher] keeps its last good answer. What Nomad says of a machine is not what
// the machine says of itself: a client that Nomad calls down may go on measuring, so availability comes from batches
// alone. And an answer that cannot be trusted (Nomad away, no leader, no permission) makes the deployment unknown, never
// absent.
package fleet
