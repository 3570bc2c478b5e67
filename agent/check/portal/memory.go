package portal

import (
	"encoding/json"
	"fmt"
	"slices"
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

	notes    check.Notes
	recalled bool
	saved    time.Time
}

// A page that drifts is written down this often at most, so that a check does not wear out the disk.
const rest = 30 * time.Minute

// noteName is what the memory is kept under.
const noteName = "page"

func newMemory(env check.Env) *memory { return &memory{notes: env.Kept()} }

// A note is a memory as it is written.
type note struct {
	Version   int
	Reference string  // "" for none
	Since     int64   // Unix seconds; 0 for not changed
	Sizes     []int64 // of the last bodies
}

// recall reads what was kept before the program began. What is no note of ours is as none.
func (m *memory) recall() {
	if m.recalled {
		return
	}
	m.recalled = true
	var n note
	text := m.notes.Note(noteName)
	if len(text) == 0 || json.Unmarshal(text, &n) != nil || n.Version != 1 || len(n.Sizes) > sizes || slices.ContainsFunc(n.Sizes, func(v int64) bool { return v < 0 || v > maxMaxBytes }) {
		return
	}
	m.sizes = n.Sizes
	if ref, err := parseSketch(n.Reference); err == nil {
		m.known, m.reference = true, ref
		if n.Since > 0 {
			m.since = time.Unix(n.Since, 0)
		}
	}
}

// save writes the memory down: at once when something began or ended, else now and then.
func (m *memory) save(now time.Time, atOnce bool) {
	if !atOnce && now.Sub(m.saved).Abs() < rest {
		return
	}
	m.saved = now
	n := note{Version: 1, Sizes: m.sizes}
	if m.known {
		n.Reference = m.reference.String()
	}
	if !m.since.IsZero() {
		n.Since = m.since.Unix()
	}
	if text, err := json.Marshal(n); err == nil {
		m.notes.Keep(noteName, text)
	}
}

// remember judges what has to do with earlier runs.
func (m *more) remember(f *fetch) *fault {
	if m.changed == 0 && m.sizeChange == 0 {
		return nil
	}
	mem := m.memory
	mem.recall()
	known, since := mem.known, mem.since
	bad := m.judgeChange(f)
	if other := m.judgeSize(f); bad == nil {
		bad = other
	}
	mem.save(m.now(), known != mem.known || !since.Equal(mem.since))
	return bad
}

// judgeChange compares the page with its reference. A page as it should be becomes the reference: what changes little by little is
// no change.
func (m *more) judgeChange(f *fetch) *fault {
	if m.changed == 0 || m.show {
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
