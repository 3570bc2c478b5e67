package portal

import (
	"fmt"
	"time"

	"egovmon/agent/check"
)

// sizes is how many sizes are kept.
const sizes = 16

// A memory is what a check keeps from run to run.
type memory struct {
	known     bool // there is a reference
	reference sketch
	since     time.Time // when the page was first seen changed; zero while it is as the reference
	sizes     []int64   // of the last bodies, the newest last
}

func newMemory(check.Env) *memory { return &memory{} }

// judgeChange compares the page with its reference. A page as it should be becomes the reference: what changes little by little is
// no change.
func (m *more) judgeChange(f *fetch) *fault {
	if m.show {
		return nil
	}
	if m.changed == 0 {
		return nil
	}
	mem := m.memory
	ref := m.reference
	if ref == nil {
		if !mem.known {
			mem.known, mem.reference = true, f.view.sketch
			return nil
		}
		ref = mem.reference
	}
	share := f.view.sketch.changed(ref)
	f.facts.Add("changed_ratio", share)
	if share <= m.changed {
		mem.since = time.Time{}
		mem.reference = f.view.sketch
		return nil
	}
	now := m.now()
	switch {
	case mem.since.IsZero():
		mem.since = now
	case m.reference == nil && now.Sub(mem.since) >= m.changedFor:
		mem.since, mem.reference = time.Time{}, f.view.sketch
		return nil
	}
	return &fault{check.ContentChanged, fmt.Sprintf("%.0f %% of the text is other than in the reference, the limit is %.0f %%", 100*share, 100*m.changed)}
}

// judgeSize compares the size of the body with the last ones. All are kept, so that a site that was rebuilt becomes usual.
func (m *more) judgeSize(f *fetch) *fault {
	if m.sizeChange == 0 || f.last.body < 0 {
		return nil
	}
	mem := m.memory
	usual := median(mem.sizes)
	enough := len(mem.sizes) >= sizes/4
	mem.sizes = append(mem.sizes, f.last.body)
	mem.sizes = mem.sizes[max(0, len(mem.sizes)-sizes):]
	if !enough {
		return nil
	}
	differs := float64(max(f.last.body-usual, usual-f.last.body)) / float64(max(usual, 1))
	f.facts.Add("size_change_ratio", differs)
	if differs <= m.sizeChange {
		return nil
	}
	return &fault{check.ContentChanged, fmt.Sprintf("the body has %d bytes, lately it had %d", f.last.body, usual)}
}

// median is the middle one of a few numbers, 0 of none.
func median(list []int64) int64 {
	for _, v := range list {
		below, equal := 0, 0
		for _, w := range list {
			if w < v {
				below++
			} else if w == v {
				equal++
			}
		}
		if below <= len(list)/2 && len(list)/2 < below+equal {
			return v
		}
	}
	return 0
}
