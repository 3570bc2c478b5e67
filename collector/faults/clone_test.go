package faults

import (
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/check"
)

// TestClonedImage runs a copy of the agent's folder beside the agent for two hours, and then lets the machine enrol again.
// What each of them measured is in the log; none of it counts for the machine until there is one of it again.
func TestClonedImage(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(r *rig) {
		r.a.stop(false)
		clone := &agent{w: r.world, id: r.a.id, dir: filepath.Join(r.dir, "clone")}
		r.replace(clone.dir, r.a.dir)
		r.also = append(r.also, clone.dir)
		r.cloned = true
		r.a.start()
		time.Sleep(150 * time.Millisecond)
		clone.start()
		time.Sleep(2 * time.Hour)
		clone.stop(false)
		r.a.stop(false)
		if since := r.centre.Status()[0].Cloned; since.IsZero() {
			r.Error("the collector does not say that two machines use one identity")
		}
		r.keys = append(r.keys, r.a.id.JournalKey)
		r.again(r.a)
		r.a.start()
	}, func(r *rig, u, s *story, share float64) {
		if hour := int64(3600 * len(r.checks)); s.totals[check.IdentityCloned] < hour || share < 0.5 {
			r.Errorf("%.4f of the seconds were measured: %v", share, s.totals)
		}
	})
}
