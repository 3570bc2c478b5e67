package intake

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/journal/journaltest"
	"egovmon/agent/plan"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// newBusyCentre is a collector for the machines of journaltest.
func newBusyCentre(t testing.TB, limits Limits) *centre {
	t.Helper()
	c := newCentre(t, limits)
	c.close()
	c.opts.Kinds = journaltest.Kinds()
	c.open(t)
	return c
}

// A busy machine measures twenty checks a minute, as journaltest has it.
type busy struct {
	*agent
	m    *journaltest.Machine
	dict []byte
}

func (c *centre) busy(t testing.TB, unit string, opening bool) *busy {
	t.Helper()
	b := &busy{agent: c.agent(t, unit)}
	b.m = journaltest.New(b.id.Machine, 7)
	text := b.m.Plan(1)
	if err := b.SetPlan(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if opening {
		if code, ans := b.push(t, b.opens(t)); code != http.StatusOK {
			t.Fatal(code, ans)
		}
	}
	return b
}

func (b *busy) opens(t testing.TB) journal.Batch {
	t.Helper()
	sum := sha256.Sum256(b.m.Plan(1))
	return b.seal(t, begin(b.now()), journal.Record{Plan: &journal.PlanApplied{Version: 1, SHA256: hex.EncodeToString(sum[:]), At: b.now()}})
}

// measures is a batch of what the machine measures in the d before now, with its dictionary, after the clock moved on.
func (b *busy) measures(t testing.TB, d time.Duration) journal.Batch {
	t.Helper()
	from := b.now()
	b.set(from.Add(d))
	return b.measured(t, from, d)
}

func (b *busy) measured(t testing.TB, from time.Time, d time.Duration) journal.Batch {
	t.Helper()
	h := b.header()
	tree := b.log.Tree()
	h.Clock = &journal.Clock{Offset: -12 * time.Millisecond, Measured: from.Add(-31234 * time.Millisecond)}
	h.Checkpoint = &journal.Checkpoint{Origin: "egovmon/tu-ky/log/1", Size: tree.N, Hash: tree.Hash}
	x, err := journal.SealWith(h, b.m.Records(from, d), b.dict, b.signer)
	if err != nil {
		t.Fatal(err)
	}
	b.seq, b.previous = b.seq+1, x.Hash()
	return x
}

// sends sends a batch and returns what the collector says of dictionaries.
func (b *busy) sends(t testing.TB, x journal.Batch) (status int, said string) {
	t.Helper()
	res, _ := b.call(t, http.MethodPost, wire.PathBatches, frames(x), "Content-Type", wire.TypeBatches)
	b.flush(t)
	return res.StatusCode, res.Header.Get(wire.HeaderDictionary)
}

// takes fetches the dictionary that was offered, and uses it.
func (b *busy) takes(t testing.TB, name string) {
	t.Helper()
	res, data := b.call(t, http.MethodGet, wire.PathDictionary+name, nil)
	if sum := sha256.Sum256(data); res.StatusCode != http.StatusOK || hex.EncodeToString(sum[:]) != name {
		t.Fatalf("GET dictionary: %s, %d bytes", res.Status, len(data))
	}
	b.dict = data
}

// offered sends measurements until a dictionary is offered.
func (b *busy) offered(t testing.TB) string {
	t.Helper()
	for range 4 {
		if _, said := b.sends(t, b.measures(t, time.Minute)); len(said) == 64 {
			return said
		}
	}
	t.Fatal("no dictionary was offered")
	return ""
}

func dictionaryLeaves(t testing.TB, c *centre) (leaves []evidence.Stored) {
	t.Helper()
	for e, err := range c.log.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Leaf.Type() == evidence.Dictionary {
			leaves = append(leaves, e)
		}
	}
	return leaves
}

// wantWhole fails for every result that enters no figure.
func (c *centre) wantWhole(t testing.TB, results int) {
	t.Helper()
	n := 0
	for _, a := range c.accepted() {
		for _, e := range a.Events {
			if e.Observation != nil {
				n++
			}
		}
		if len(a.Rejected) > 0 {
			t.Errorf("batch %d of %s: rejected %v", a.Header.Seq, a.Machine, a.Rejected)
		}
	}
	if n != results {
		t.Errorf("%d results were accepted, want %d", n, results)
	}
}

// The collector makes a dictionary of what came first, puts it into the log, offers it to every machine with the same
// checks, and reads what comes compressed with it, also after a start and in a computation from the log alone.
func TestDictionary(t *testing.T) {
	c := newBusyCentre(t, Limits{})
	one := c.busy(t, "an-thanh", true)
	plain := one.measures(t, time.Minute)
	one.sends(t, plain)
	name := one.offered(t)
	leaves := dictionaryLeaves(t, c)
	if len(leaves) != 1 || len(leaves[0].Blob) > wire.MaxDictionary {
		t.Fatalf("%d dictionaries are in the log", len(leaves))
	}
	one.takes(t, name)
	x := one.measures(t, time.Minute)
	if h := len(x.Body); h*2 > len(plain.Body) {
		t.Errorf("a batch has %d bytes with the dictionary, %d without", h, len(plain.Body))
	}
	if code, said := one.sends(t, x); code != http.StatusOK || said != wire.DictionaryKeep {
		t.Errorf("%d, dictionary %q; want 200 and %q", code, said, wire.DictionaryKeep)
	}
	other := c.busy(t, "dai-son", true)
	if got := other.offered(t); got != name {
		t.Errorf("another machine with the same checks is offered %.8s, want %.8s", got, name)
	}
	other.takes(t, name)
	other.sends(t, other.measures(t, time.Minute))

	text := string(leaves[0].Blob)
	for _, own := range []string{`"mem_total_bytes":8276502016`, `"boot_unix":17`} {
		if strings.Contains(text, own) {
			t.Errorf("the dictionary tells %s of one machine to others", own)
		}
	}
	if !strings.Contains(text, `"mem_total_bytes":0`) || !strings.Contains(text, `"status_code":200`) {
		t.Error("the dictionary does not have the lines of all kinds")
	}

	c.close() // without its snapshot, the server reads it all from the log
	if err := os.RemoveAll(c.opts.Dir); err != nil {
		t.Fatal(err)
	}
	c.open(t)
	if code, said := one.sends(t, one.measures(t, time.Minute)); code != http.StatusOK || said != wire.DictionaryKeep {
		t.Errorf("after a start: %d, dictionary %q", code, said)
	}
	c.close()
	c.open(t) // with its snapshot
	if code, said := one.sends(t, one.measures(t, time.Minute)); code != http.StatusOK || said != wire.DictionaryKeep {
		t.Errorf("after another start: %d, dictionary %q", code, said)
	}
	if n := len(dictionaryLeaves(t, c)); n != 1 {
		t.Errorf("%d dictionaries after two starts, want 1", n)
	}
	want := int(one.seq+other.seq-2) * 20
	c.wantWhole(t, want)

	fold, err := NewFold(c.opts.Kinds, c.log.Blob)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = Replay(t.Context(), c.log, fold, 0, func(a Accepted) error {
		for _, e := range a.Events {
			if e.Observation != nil {
				n++
			}
		}
		return nil
	})
	if err != nil || n != want {
		t.Errorf("computed from the log alone: %d results, want %d, %v", n, want, err)
	}
	c.flushed(t)
}

// flushed does nothing but wait, so that the log is not closed under the feed.
func (c *centre) flushed(t testing.TB) {
	t.Helper()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// After two weeks another one is made, and what the machines use until they have it is read.
func TestDictionaryRenewed(t *testing.T) {
	c := newBusyCentre(t, Limits{})
	b := c.busy(t, "an-thanh", true)
	first := b.offered(t)
	b.takes(t, first)
	b.sends(t, b.measures(t, time.Minute))
	b.set(b.now().Add(dictionaryAge))
	var second string
	for range 3 {
		if _, said := b.sends(t, b.measures(t, time.Minute)); said != wire.DictionaryKeep {
			second = said
		}
	}
	if len(second) != 64 || second == first {
		t.Fatalf("two weeks later the offer is %q, the first was %q", second, first)
	}
	b.takes(t, second)
	if code, said := b.sends(t, b.measures(t, time.Minute)); code != http.StatusOK || said != wire.DictionaryKeep {
		t.Errorf("%d, dictionary %q", code, said)
	}
	if n := len(dictionaryLeaves(t, c)); n != 2 {
		t.Errorf("%d dictionaries, want 2", n)
	}
	c.wantWhole(t, int(b.seq-1)*20)
}

// A batch that nobody could read is refused, so that it is recorded again.
func TestDictionaryUnknown(t *testing.T) {
	c := newBusyCentre(t, Limits{})
	b := c.busy(t, "an-thanh", true)
	b.dict = bytes.Repeat([]byte("nobody has this"), 100)
	x := b.measures(t, time.Minute)
	if code, said := b.sends(t, x); code != http.StatusConflict || said != wire.DictionaryNone {
		t.Errorf("%d, dictionary %q; want 409 and %q", code, said, wire.DictionaryNone)
	}
	if st := c.Status()[0]; st.Refused[RefusedDictionary] != 1 || st.Head.Seq != 1 {
		t.Errorf("status %+v", st)
	}
	res, _ := b.call(t, http.MethodGet, wire.PathDictionary+strings.Repeat("0", 64), nil)
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("a dictionary that nobody has: %s", res.Status)
	}
}

// A plan of few checks gets none, and the number of dictionaries is bounded whatever the plans are.
func TestDictionariesAreBounded(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	if code, _ := a.push(t, a.seal(t, append(a.opening(t), result(slot(a.id.Machine, start)))...)); code != http.StatusOK {
		t.Fatal(code)
	}
	a.flush(t)
	if n := len(dictionaryLeaves(t, c)); n != 0 {
		t.Errorf("%d dictionaries for a plan of one check", n)
	}
	c.stop()
	for i := range 3 * maxMadeAtOnce {
		c.makeDictionary(t.Context(), strings.Repeat("a", i+1), bytes.Repeat([]byte{byte(i), 1}, 600), start)
	}
	if n := len(dictionaryLeaves(t, c)); n != maxMadeAtOnce {
		t.Errorf("%d dictionaries, want %d", n, maxMadeAtOnce)
	}
	c.makeDictionary(t.Context(), "b", bytes.Repeat([]byte{77, 1}, 600), start.Add(dictionaryAge))
	if n := len(dictionaryLeaves(t, c)); n != maxMadeAtOnce+1 {
		t.Errorf("%d dictionaries two weeks later, want one more", n)
	}
	c.stop = func() {}
}

// A kept snapshot of the version before is not believed: it knows of no dictionaries.
func TestSnapshotOfVersionOne(t *testing.T) {
	c := newBusyCentre(t, Limits{})
	b := c.busy(t, "an-thanh", true)
	b.takes(t, b.offered(t))
	b.sends(t, b.measures(t, time.Minute))
	c.close()
	path := filepath.Join(c.opts.Dir, snapshotFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, fmt.Appendf(nil, `"version":%d`, snapshotVersion), []byte(`"version":1`), 1)
	data = regexp.MustCompile(`"dictionaries":\{[^}]*\}`).ReplaceAll(data, []byte(`"dictionaries":{}`))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c.opts.Logger = slog.New(slog.DiscardHandler)
	c.open(t)
	if code, said := b.sends(t, b.measures(t, time.Minute)); code != http.StatusOK || said != wire.DictionaryKeep {
		t.Errorf("%d, dictionary %q", code, said)
	}
	c.wantWhole(t, int(b.seq-1)*20)
}

func TestTypical(t *testing.T) {
	r := check.Because(check.OK, "from 10.0.0.5")
	r.Check, r.Facts = "a.b", check.Facts{{Name: "x_count", Value: 7}}
	kinds := journaltest.Kinds()
	remote, _ := kinds.Lookup("http")
	own, _ := kinds.Lookup("host")
	o := &Observation{Result: r, Path: plan.Internet}
	if got := typical(o, remote); got.Detail == "" || got.Facts[0].Value != 7 {
		t.Errorf("of a target: %+v", got)
	}
	if got := typical(&Observation{Result: r, Path: plan.LAN}, remote); got.Detail != "" {
		t.Errorf("of a neighbour: %+v", got)
	}
	if got := typical(o, own); got.Detail != "" || got.Facts[0].Value != 0 || r.Facts[0].Value != 7 {
		t.Errorf("of the machine: %+v, from %+v", got, r)
	}
}
