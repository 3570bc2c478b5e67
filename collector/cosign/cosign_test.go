package cosign_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
	"egovmon/collector/cosign"
	"egovmon/collector/evidence"
)

const origin = "egovmon/tu-ky/log/1"

var begin = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

// A district is a log with its gatherer and machines that cosign.
type district struct {
	testing.TB
	log      *evidence.Store
	key      string // verifier key of the log
	signer   note.Signer
	verifier note.Verifier
	g        *cosign.Gatherer
	o        cosign.Options
	now      time.Time
	keys     map[string]string // private keys of machines
}

func newDistrict(t testing.TB, machines ...string) *district {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	d := &district{TB: t, key: vkey, now: begin, keys: map[string]string{}}
	if d.signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if d.verifier, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	d.log = d.store(t.TempDir())
	d.o = cosign.Options{Dir: filepath.Join(t.TempDir(), "cosign"), Log: d.log, Now: func() time.Time { return d.now }}
	var named []cosign.Machine
	for _, m := range machines {
		signer, w := newKey(t, wire.WitnessName("tu-ky", m))
		d.keys[m] = signer
		named = append(named, cosign.Machine{ID: m, Keys: []*wire.Witness{w}})
	}
	d.o.Machines = func() []cosign.Machine { return named }
	d.open()
	return d
}

func newKey(t testing.TB, name string) (signer string, w *wire.Witness) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := wire.VerifierKey(name, append([]byte{wire.AlgCosign}, pub...))
	if err != nil {
		t.Fatal(err)
	}
	if w, err = wire.NewWitness(vkey); err != nil {
		t.Fatal(err)
	}
	return wire.SignerKey(name, wire.AlgCosign, priv), w
}

func (d *district) store(dir string) *evidence.Store {
	d.Helper()
	s, err := evidence.Open(evidence.Options{Dir: dir, Origin: origin, Signer: d.signer, Verifier: d.verifier, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = s.Close() })
	return s
}

func (d *district) open() {
	d.Helper()
	var err error
	if d.g, err = cosign.Open(d.o); err != nil {
		d.Fatal(err)
	}
}

func grow(t testing.TB, log *evidence.Store, n int, word string) {
	t.Helper()
	for i := range n {
		e, err := evidence.NewEntry(evidence.Rule, map[string]string{"rule": word + strconv.Itoa(i)}, nil, nil)
		if err == nil {
			_, err = log.Append(t.Context(), e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (d *district) turn() {
	d.Helper()
	if err := d.g.Turn(d.Context()); err != nil {
		d.Fatal(err)
	}
}

// sign lets a machine cosign what it is asked for, or another text.
func (d *district) sign(machine, text string) error {
	d.Helper()
	if text == "" {
		asked := d.g.Asked(machine)
		if asked == "" {
			d.Fatalf("%s is asked for nothing", machine)
		}
		n, err := note.Open([]byte(asked), note.VerifierList(d.verifier))
		if err != nil {
			d.Fatalf("what is asked for is not signed by the log: %v", err)
		}
		text = n.Text
	}
	c, err := wire.Cosign(text, d.keys[machine], d.now)
	if err != nil {
		d.Fatal(err)
	}
	return d.g.TakeMachine(machine, wire.Cosigned(text, c))
}

// cosigned lists the leaves that say what was cosigned.
func (d *district) cosigned() (out []evidence.Stored) {
	d.Helper()
	for e, err := range d.log.Entries(0) {
		if err != nil {
			d.Fatal(err)
		}
		if e.Leaf.Type() == evidence.Cosigned {
			out = append(out, e)
		}
	}
	return out
}

func TestRounds(t *testing.T) {
	d := newDistrict(t, "pc-1", "pc-2", "pc-3")
	d.turn()
	if got := d.g.Asked("pc-1"); got != "" {
		t.Errorf("of an empty log %q is asked for", got)
	}
	grow(t, d.log, 5, "a")
	d.turn()
	if d.g.Asked("pc-9") != "" {
		t.Error("a machine is asked that is not named")
	}
	for _, m := range []string{"pc-1", "pc-2"} {
		if err := d.sign(m, ""); err != nil {
			t.Fatal(err)
		}
		if d.g.Asked(m) != "" {
			t.Errorf("%s has signed, and is asked again", m)
		}
	}
	d.turn()
	if n := len(d.cosigned()); n != 0 {
		t.Fatalf("%d rounds are in the log before the last one signed", n)
	}
	d.open() // a restart forgets nothing
	if d.g.Asked("pc-1") != "" || d.g.Asked("pc-3") == "" {
		t.Error("after a restart the machines are asked that have signed")
	}
	if err := d.sign("pc-3", ""); err != nil {
		t.Fatal(err)
	}
	d.turn()
	leaves := d.cosigned()
	if len(leaves) != 1 || leaves[0].Leaf.Field("size") != "5" || leaves[0].Leaf.Field("cosignatures") != "3" {
		t.Fatalf("leaves of rounds: %d", len(leaves))
	}
	var ws []*wire.Witness
	for _, m := range d.o.Machines() {
		ws = append(ws, m.Keys...)
	}
	if _, cs, err := wire.ReadCosignatures(leaves[0].Blob, ws...); err != nil || len(cs) != 3 {
		t.Errorf("the leaf holds %d cosignatures, %v", len(cs), err)
	}
	if _, err := note.Open(leaves[0].Blob, note.VerifierList(d.verifier)); err != nil {
		t.Errorf("the leaf holds no signature of the log: %v", err)
	}
	d.turn()
	d.now = d.now.Add(time.Hour)
	d.turn()
	if n := len(d.cosigned()); n != 1 {
		t.Errorf("the same round is in the log %d times", n)
	}
	if s := d.g.Status(); s.Size != 6 || len(s.Signed) != 0 || len(s.Expected) != 3 {
		t.Errorf("the next round is of %d leaves, %d of %d signed", s.Size, len(s.Signed), len(s.Expected))
	}
	d.open() // nor who signed before
	if s := d.g.Status(); len(s.Last) != 3 {
		t.Errorf("in the next round it is known of %d of 3 when they signed last: %v", len(s.Last), s.Last)
	}
	if err := d.sign("pc-2", ""); err != nil { // only one of three
		t.Fatal(err)
	}
	d.now = d.now.Add(time.Hour)
	d.turn()
	if n := len(d.cosigned()); n != 2 {
		t.Errorf("a round in which some did not sign is not in the log")
	}
}

func TestTakeRefuses(t *testing.T) {
	d := newDistrict(t, "pc-1", "pc-2")
	grow(t, d.log, 5, "a")
	old := string(d.log.Checkpoint())
	oldText, _, _ := strings.Cut(old, "\n\n")
	grow(t, d.log, 2, "b")
	d.turn()
	asked, _, _ := strings.Cut(d.g.Asked("pc-1"), "\n\n")
	if err := d.sign("pc-1", oldText+"\n"); err != nil {
		t.Errorf("an older state of this log: %v", err)
	}
	if d.g.Asked("pc-1") == "" {
		t.Error("an older state is taken for the one that was asked for")
	}
	c, err := wire.Cosign(asked+"\n", d.keys["pc-2"], d.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.g.TakeMachine("pc-1", wire.Cosigned(asked+"\n", c)); !errors.Is(err, cosign.ErrForeign) {
		t.Errorf("by another machine's key: %v", err)
	}
	if err := d.g.TakeMachine("pc-9", wire.Cosigned(asked+"\n", c)); !errors.Is(err, cosign.ErrForeign) {
		t.Errorf("by a machine that is not named: %v", err)
	}
	if err := d.g.TakeWitness(wire.Cosigned(asked+"\n", c)); !errors.Is(err, cosign.ErrForeign) {
		t.Errorf("a machine in the place of a witness: %v", err)
	}
	for name, tree := range map[string]tlog.Tree{"another history": {N: 5, Hash: tlog.Hash{1}}, "more leaves than there are": {N: 99, Hash: tlog.Hash{1}}} {
		if err := d.sign("pc-1", wire.FormatCheckpoint(origin, tree)); !errors.Is(err, cosign.ErrSplit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := d.g.Splits(); got != 2 {
		t.Errorf("%d split views were counted, want 2", got)
	}
	if err := d.sign("pc-1", wire.FormatCheckpoint("egovmon/other/log/1", tlog.Tree{N: 5})); err == nil || errors.Is(err, cosign.ErrSplit) {
		t.Errorf("another log: %v", err)
	}
	if s := d.g.Status(); len(s.Signed) != 0 {
		t.Errorf("%d have signed", len(s.Signed))
	}
	for range 3 {
		if err := d.sign("pc-1", asked+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if got := wire.Signers(d.g.Published()); len(got) != 2 {
		t.Errorf("signed three times by one, the checkpoint has the signatures of %v", got)
	}
}

func TestWitnessesElsewhere(t *testing.T) {
	d := newDistrict(t)
	grow(t, d.log, 3, "a")
	d.turn()
	if d.g.Published() != nil {
		t.Error("a round begins though nobody is to sign")
	}
	signer, w := newKey(t, "egovmon/tu-ky/witness/thanh-tra")
	if _, err := d.g.Accept(t.Context(), "nonsense", "an"); err == nil {
		t.Error("nonsense is accepted as a key")
	}
	k, err := d.g.Accept(t.Context(), w.Key(), "an")
	if err != nil || k.Name() != w.Name() || k.By != "an" {
		t.Fatalf("accepted: %+v, %v", k, err)
	}
	if _, err := d.g.Accept(t.Context(), w.Key(), "an"); err == nil {
		t.Error("it is accepted twice")
	}
	d.turn()
	text, _, _ := strings.Cut(string(d.g.Published()), "\n\n")
	c, err := wire.Cosign(text+"\n", signer, d.now)
	if err != nil {
		t.Fatal(err)
	}
	d.open()
	if err := d.g.TakeWitness(wire.Cosigned(text+"\n", c)); err != nil {
		t.Fatal(err)
	}
	d.turn()
	if n := len(d.cosigned()); n != 1 {
		t.Errorf("%d rounds in the log", n)
	}
	d.now = d.now.Add(time.Minute)
	if k, err := d.g.End(t.Context(), w.Name(), "binh"); err != nil || k.Until.IsZero() {
		t.Fatalf("ended: %+v, %v", k, err)
	}
	if _, err := d.g.End(t.Context(), w.Name(), "binh"); err == nil {
		t.Error("it ends twice")
	}
	if err := d.g.TakeWitness(wire.Cosigned(text+"\n", c)); !errors.Is(err, cosign.ErrForeign) {
		t.Errorf("after its end: %v", err)
	}
}

// A site answers what a collector answers to those who witness its log, from any store.
type site struct {
	log      func() *evidence.Store
	shown    []string
	brought  []string
	badProof int // that many proofs are wrong
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := wire.ReadAll(r.Body, wire.MaxAnswer)
	switch r.Method + " " + r.URL.Path {
	case "GET " + wire.PathLogCheckpoint:
		log := s.log()
		size := log.Size()
		from, _ := strconv.ParseInt(r.FormValue(wire.ParamFrom), 10, 64)
		if to, err := strconv.ParseInt(r.FormValue(wire.ParamSize), 10, 64); err == nil {
			size = to
		}
		if r.FormValue(wire.ParamFrom) != "" {
			p, err := log.ProveTree(from, size)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			if s.badProof > 0 && len(p) > 0 {
				s.badProof--
				p[0][0]++
			}
			w.Header().Set(wire.HeaderProof, wire.EncodeProof([]tlog.Hash(p)))
		}
		_, _ = w.Write(log.Checkpoint())
	case "POST " + wire.PathLogCheckpoint:
		s.shown = append(s.shown, string(body))
		http.Error(w, "overtaken", http.StatusConflict)
	case "POST " + wire.PathLogCosignature:
		s.brought = append(s.brought, string(body))
	}
}

// A watch is a witness that polls a site.
type watch struct {
	*district
	*site
	p   *cosign.Poller
	dir string
	now *evidence.Store
	url string
}

func newWatch(t *testing.T) *watch {
	d := newDistrict(t)
	w := &watch{district: d, site: &site{}, dir: t.TempDir(), now: d.log}
	w.site.log = func() *evidence.Store { return w.now }
	srv := httptest.NewTLSServer(w.site)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	if _, err := cosign.NewWitnessKey(w.dir, "egovmon/tu-ky/witness/thanh-tra"); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

// start opens the witness anew, as after a kill.
func (w *watch) start() {
	w.Helper()
	x, err := cosign.OpenWitness(w.dir, []string{w.key}, func() time.Time { return begin })
	if err != nil {
		w.Fatal(err)
	}
	w.p = &cosign.Poller{Witness: x, Origin: origin, Collector: w.url, Client: cosign.NewClient(nil), Logger: slog.New(slog.DiscardHandler)}
}

func (w *watch) poll() error {
	_, _, err := w.p.Poll(w.Context())
	return err
}

func TestWitness(t *testing.T) {
	w := newWatch(t)
	for i := range 4 {
		grow(t, w.now, 3, "a"+strconv.Itoa(i))
		if err := w.poll(); err != nil {
			t.Fatal(err)
		}
		w.start()
	}
	if err := w.poll(); err != nil { // the same once more
		t.Fatal(err)
	}
	key, err := wire.NewWitness(w.p.Witness.Key())
	if err != nil {
		t.Fatal(err)
	}
	if len(w.brought) != 5 {
		t.Fatalf("%d cosignatures were brought", len(w.brought))
	}
	for _, msg := range w.brought {
		if _, cs, err := wire.ReadCosignatures([]byte(msg), key); err != nil || len(cs) != 1 {
			t.Errorf("%d cosignatures, %v", len(cs), err)
		}
	}
	if _, err := cosign.NewWitnessKey(w.dir, "x"); err == nil {
		t.Error("a second key takes the place of the first")
	}
}

// A witness signs one history. Whatever the collector shows later, it neither follows another one nor a shorter one, and
// what contradicts is kept and shown.
func TestWitnessRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		turn  func(w *watch)
		split bool
	}{
		{"set back", func(w *watch) {
			w.now = w.store(w.TempDir())
			grow(w, w.now, 4, "a")
		}, true},
		{"set back, and grown differently", func(w *watch) {
			w.now = w.store(w.TempDir())
			grow(w, w.now, 4, "a")
			grow(w, w.now, 9, "other")
		}, true},
		{"another log of the same size", func(w *watch) {
			w.now = w.store(w.TempDir())
			grow(w, w.now, 6, "other")
		}, true},
		{"a proof that was hurt on the way once", func(w *watch) { grow(w, w.now, 2, "b"); w.badProof = 1 }, false},
		{"another key", func(w *watch) {
			x := newDistrict(w.TB)
			grow(w, x.log, 8, "a")
			w.now = x.log
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWatch(t)
			grow(t, w.now, 6, "a")
			if err := w.poll(); err != nil {
				t.Fatal(err)
			}
			before, signed, err := w.p.Witness.Last(origin)
			if err != nil {
				t.Fatal(err)
			}
			tt.turn(w)
			w.start()
			if err := w.poll(); err == nil || errors.Is(err, cosign.ErrSplit) != tt.split {
				t.Errorf("split %v: %v", tt.split, err)
			}
			if after, _, err := w.p.Witness.Last(origin); err != nil || after != before {
				t.Errorf("the last one signed went from %v to %v, %v", before, after, err)
			}
			if len(w.brought) != 1 {
				t.Errorf("%d cosignatures were brought, want the first alone", len(w.brought))
			}
			if got := len(w.shown) == 1 && w.shown[0] == string(signed); got != tt.split {
				t.Errorf("the collector was shown %d checkpoints", len(w.shown))
			}
			kept, err := w.p.Witness.Splits(origin)
			if err != nil || (kept != nil) != tt.split {
				t.Errorf("%d bytes are kept as proof, %v", len(kept), err)
			}
			if tt.split {
				if _, err := note.Open(kept, note.VerifierList(w.verifier)); err != nil {
					t.Errorf("the proof is not signed by the log: %v", err)
				}
			}
			if tt.name == "a proof that was hurt on the way once" {
				if err := w.poll(); err != nil {
					t.Errorf("and then: %v", err)
				}
			}
		})
	}
}

// A witness without its memory signs nothing: it could be made to sign a second history.
func TestWitnessForgets(t *testing.T) {
	w := newWatch(t)
	grow(t, w.now, 6, "a")
	if err := w.poll(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "log-*", "last"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	if err := w.poll(); err == nil || len(w.brought) != 1 {
		t.Errorf("it signs on with a damaged memory: %v", err)
	}
}

// TestAddCheckpoint speaks to a witness as C2SP tlog-witness has it.
func TestAddCheckpoint(t *testing.T) {
	w := newWatch(t)
	grow(t, w.now, 6, "a")
	srv := httptest.NewServer(w.p.Witness.Server().Handler)
	t.Cleanup(srv.Close)
	post := func(body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+cosign.PathAdd, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := wire.ReadAll(res.Body, wire.MaxAnswer)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	first := string(w.now.Checkpoint())
	status, line := post("old 0\n\n" + first)
	key, err := wire.NewWitness(w.p.Witness.Key())
	if err != nil {
		t.Fatal(err)
	}
	if _, cs, err := wire.ReadCosignatures([]byte(first+line), key); status != 200 || err != nil || len(cs) != 1 {
		t.Fatalf("%d %q: %v", status, line, err)
	}
	grow(t, w.now, 3, "b")
	p, err := w.now.ProveTree(6, 9)
	if err != nil {
		t.Fatal(err)
	}
	var proof strings.Builder
	for _, h := range p {
		fmt.Fprintln(&proof, h)
	}
	second := string(w.now.Checkpoint())
	other := newDistrict(t)
	grow(t, other.log, 3, "a")
	for _, tt := range []struct {
		name, body string
		want       int
		answer     string
	}{
		{"a wrong size", "old 5\n" + proof.String() + "\n" + second, 409, "6\n"},
		{"no proof", "old 6\n\n" + second, 422, ""},
		{"another proof", "old 6\n" + strings.Repeat(strings.SplitAfter(proof.String(), "\n")[0], len(p)) + "\n" + second, 422, ""},
		{"another log", "old 0\n\n" + strings.Replace(second, origin, "example.com/log", 1), 404, ""},
		{"another key", "old 6\n\n" + string(other.log.Checkpoint()), 403, ""},
		{"too many hashes", "old 6\n" + strings.Repeat(strings.SplitAfter(proof.String(), "\n")[0], 64) + "\n" + second, 400, ""},
		{"no size", "ald 6\n\n" + second, 400, ""},
		{"a size with a plus", "old +6\n\n" + second, 400, ""},
		{"nothing", "", 400, ""},
		{"too much", "old 6\n\n" + strings.Repeat("x", wire.MaxAnswer), 413, ""},
		{"as it is to be", "old 6\n" + proof.String() + "\n" + second, 200, ""},
		{"and again", "old 9\n\n" + second, 200, ""},
	} {
		if got, answer := post(tt.body); got != tt.want || tt.answer != "" && answer != tt.answer {
			t.Errorf("%s: %d %.100q, want %d %q", tt.name, got, answer, tt.want, tt.answer)
		}
	}
}
