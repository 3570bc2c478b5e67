package fleet

import (
	"cmp"
	"slices"
	"time"

	"egovmon/collector/profile"
)

// A Problem says why Nomad could not be asked, or its answer not be believed: a closed list.
type Problem string

// The problems.
const (
	Unreachable Problem = "unreachable"  // nothing answers, or not in time
	Refused     Problem = "tls"          // its certificate, or ours, is not accepted
	Forbidden   Problem = "forbidden"    // the token may not read (403)
	NoLeader    Problem = "no_leader"    // its servers have no leader, or are cut off from it: the answer may be anything
	NoJob       Problem = "no_job"       // it does not run the agents' job
	ServerError Problem = "server_error" // it answers 5xx, 429 or another status that says nothing of the fleet
	Unreadable  Problem = "unreadable"   // the answer is not Nomad's, or larger than a fleet can be
	TooEarly    Problem = "not_yet_read" // it has not been asked yet
)

// An Inventory is what Nomad said last. The zero value stands for a district without Nomad.
type Inventory struct {
	Used    bool      // there is a Nomad
	Read    time.Time // when Nodes was true; zero for never
	Nodes   []Node
	Problem Problem // why Nomad could not be asked since; "" when Nodes is its last answer
}

// A Node is one machine of Nomad's, with its agent.
type Node struct {
	ID, Name string
	Status   string // Nomad's own word: initializing, ready, disconnected, down
	Eligible bool   // it may be given work
	Draining bool
	Version  string // of its Nomad client
	Created  uint64 // Nomad's index of its creation: later is newer
	// Alloc is the client status of the newest allocation that is meant to run: pending, running, complete, failed, lost,
	// unknown; "" without one.
	Alloc      string
	JobVersion uint64
	Why        string    // what Nomad says to an allocation that does not run
	Since      time.Time // since when Status and Alloc are as they are, as far as we saw it; zero when they were so at the first look
}

// deployed reads one node.
func (n Node) deployed() Deployment {
	switch n.Status {
	case "ready", "initializing":
	case "disconnected":
		return Disconnected
	case "down":
		return Down
	default:
		return Unclear
	}
	switch n.Alloc {
	case "running":
		return Running
	case "pending":
		return Starting
	case "failed", "lost", "complete":
		return Failed
	case "unknown":
		// The node is back, and its allocation is about to be.
		return Starting
	case "":
		if n.Draining || !n.Eligible {
			return Drained
		}
		return Missing
	}
	return Unclear
}

// deployed says what the inventory is worth for a machine at an instant.
func (v Inventory) deployed(nodes []Node, role string, now time.Time) Deployment {
	switch {
	case !v.Used, role == profile.RoleCollector && len(nodes) == 0:
		return Unused
	case v.Read.IsZero() || now.Sub(v.Read) > StaleAfter:
		return Unclear
	case len(nodes) == 0:
		return Absent
	}
	return nodes[0].deployed()
}

// byName lists the nodes of each name, the one that counts first: one that is there before one that is lost, then the
// newest. A machine that was installed anew leaves its old node behind.
func (v Inventory) byName() map[string][]Node {
	m := map[string][]Node{}
	for _, n := range v.Nodes {
		m[n.Name] = append(m[n.Name], n)
	}
	lost := func(n Node) int {
		if n.Status == "disconnected" || n.Status == "down" {
			return 1
		}
		return 0
	}
	for _, ns := range m {
		slices.SortFunc(ns, func(a, b Node) int { return cmp.Or(lost(a)-lost(b), cmp.Compare(b.Created, a.Created)) })
	}
	return m
}

// follows fills in since when each node is as it is: Nomad refreshes its own times while nothing changes, and forgets.
func (v *Inventory) follows(before Inventory) {
	old := make(map[string]Node, len(before.Nodes))
	for _, n := range before.Nodes {
		old[n.ID] = n
	}
	for i, n := range v.Nodes {
		o, ok := old[n.ID]
		switch {
		case ok && o.Status == n.Status && o.Alloc == n.Alloc:
			v.Nodes[i].Since = o.Since
		case !before.Read.IsZero():
			v.Nodes[i].Since = v.Read
		}
	}
}
