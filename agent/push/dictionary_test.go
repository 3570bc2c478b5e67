package push

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/wire"
)

// says makes the collector say in every answer which dictionary to use; "" for a collector that reads none.
func (r *rig) says(value string) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.change = func(_ *wire.Answer, h http.Header) {
		if value != "" {
			h.Set(wire.HeaderDictionary, value)
		}
	}
}

// dictionary is one that the collector has from now on.
func (r *rig) dictionary(b []byte) string {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.c.dicts == nil {
		r.c.dicts = map[string][]byte{}
	}
	r.c.dicts[nameOf(b)] = b
	return nameOf(b)
}

// uses measures and sends, twice, and checks which dictionary the second batch has: the first was sealed before the
// answer.
func (r *rig) uses(want string) {
	r.Helper()
	for range 2 {
		r.measure()
		r.round()
	}
	r.arrived()
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if got := r.c.used[len(r.c.used)-1]; got != want {
		r.Errorf("the batch has dictionary %.8q, want %.8q", got, want)
	}
}

func (r *rig) fetched() (n int) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for _, c := range r.c.calls {
		if strings.HasPrefix(c, "GET dictionary/") {
			n++
		}
	}
	return n
}

func TestDictionary(t *testing.T) {
	r := newRig(t)
	r.uses("")
	one := r.dictionary([]byte(strings.Repeat(`{"attempts":1,"check":"a"`, 20)))
	r.says(one)
	r.uses(one)
	r.says(wire.DictionaryKeep)
	r.uses(one)
	two := r.dictionary([]byte(strings.Repeat(`{"attempts":1,"check":"a","reason":"ok"`, 20)))
	r.says(two)
	r.uses(two)
	if n := r.fetched(); n != 2 {
		t.Errorf("dictionaries were fetched %d times, want once each", n)
	}
	r.restart() // the batch at hand has none: nobody has said yet that it is read
	r.says(wire.DictionaryKeep)
	r.uses(two)
	if n := r.fetched(); n != 2 {
		t.Errorf("after a start, %d fetches: the one that is kept was not used", n)
	}
	r.says("") // a collector of the version before
	r.uses("")
	r.says(wire.DictionaryKeep)
	r.uses(two)
	r.says(wire.DictionaryNone)
	r.uses("")
	r.says(wire.DictionaryKeep)
	r.uses("")
}

// What is wrong with a dictionary costs room, never results.
func TestDictionaryRefused(t *testing.T) {
	good := []byte(strings.Repeat("x", 2000))
	for _, tt := range []struct {
		name  string
		says  string
		serve []byte // under the name that is said
		calls bool   // whether it is asked for at all
	}{
		{"another", nameOf(good), good[1:], true},
		{"empty", nameOf(nil), nil, true},
		{"too large", nameOf(make([]byte, wire.MaxDictionary+1)), make([]byte, wire.MaxDictionary+1), true},
		{"not there", nameOf(good), nil, true},
		{"no name", "hello", nil, false},
		{"upper case", strings.ToUpper(nameOf(good)), good, false},
		{"a path", "../plan", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			if tt.serve != nil {
				r.c.dicts = map[string][]byte{tt.says: tt.serve}
			}
			r.says(tt.says)
			r.uses("")
			if n := r.fetched(); (n == 1) != tt.calls || n > 1 {
				t.Errorf("asked for it %d times within a minute", n)
			}
			if r.j.Dictionary() != "" {
				t.Error("it is used")
			}
		})
	}
}

// One that was spoilt on disk is fetched again.
func TestDictionarySpoilt(t *testing.T) {
	r := newRig(t)
	one := r.dictionary([]byte(strings.Repeat("x", 2000)))
	r.says(one)
	r.uses(one)
	path := filepath.Join(r.o.Dir, DictionaryFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.uses(one)
	if n := r.fetched(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

// The collector was restored to a state before the dictionary: it has lost batches that were acknowledged, and cannot
// read those that follow. The agent records them again without, each once, in a new journal.
func TestDictionaryLost(t *testing.T) {
	r := newRig(t)
	r.uses("")
	one := r.dictionary([]byte(strings.Repeat("x", 2000)))
	r.says(one)
	r.uses(one)
	r.uses(one)
	old := r.j.ID()
	r.c.mu.Lock()
	delete(r.c.dicts, one)
	// Only what has no dictionary is left there; the rest is asked for again.
	n := slices.Index(r.c.used, one)
	kept, err := r.j.Batches(wire.Head{Journal: old, Seq: uint64(n - 1)}, 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r.c.heads[old], r.c.notes[old] = kept[0].Head.Seq, kept[0].Batch.Hash()
	r.c.results, r.c.used = r.c.results[:n], nil
	r.c.mu.Unlock()
	r.says(wire.DictionaryNone)
	r.measure()
	r.round() // refused, with the head that is held
	r.measure()
	r.round()
	r.arrived()
	if r.j.ID() == old {
		t.Error("the journal that the collector cannot read goes on")
	}
}

// A busy collector says nothing of dictionaries.
func TestDictionaryWhileBusy(t *testing.T) {
	r := newRig(t)
	one := r.dictionary([]byte(strings.Repeat("x", 2000)))
	r.says(one)
	r.uses(one)
	r.c.before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	r.measure()
	if err := r.p.Round(t.Context()); err == nil {
		t.Fatal("no error")
	}
	r.c.before = nil
	r.clock = r.clock.Add(time.Hour)
	r.uses(one)
	if r.j.Dictionary() != one {
		t.Error("the dictionary was given up")
	}
}
