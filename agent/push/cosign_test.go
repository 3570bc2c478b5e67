package push

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/wire"
)

// asksFor lets the collector ask for a cosignature of what is says, and keeps what is brought.
func (r *rig) asksFor(what func() string) (brought *[]string) {
	brought = new([]string)
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	r.o.CosignKey = wire.SignerKey(wire.WitnessName("tu-ky", machine), wire.AlgCosign, key)
	r.c.change = func(a *wire.Answer, _ http.Header) { a.Cosign = what() }
	r.c.before = func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path != wire.PathCosign {
			return false
		}
		b, _ := io.ReadAll(q.Body)
		*brought = append(*brought, string(b))
		_, _ = io.WriteString(w, "{}\n")
		return true
	}
	r.restart()
	return brought
}

func (r *rig) grow(rounds int) {
	for range rounds {
		r.measure()
		r.round()
	}
}

func TestCosign(t *testing.T) {
	for _, prove := range []time.Duration{-1, time.Hour} { // with each answer, and once in a while
		t.Run(fmt.Sprint(prove), func(t *testing.T) {
			r := newRig(t)
			r.o.Prove = prove
			asked := ""
			brought := r.asksFor(func() string { return asked })
			r.grow(3)
			asked = r.c.log.prefix(2).checkpoint() // older than what was seen
			r.grow(1)
			asked = r.c.log.checkpoint()
			r.grow(2)
			vkey, err := wire.VerifierKey(wire.WitnessName("tu-ky", machine),
				append([]byte{wire.AlgCosign}, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)...))
			if err != nil {
				t.Fatal(err)
			}
			w, err := wire.NewWitness(vkey)
			if err != nil {
				t.Fatal(err)
			}
			if len(*brought) < 2 {
				t.Fatalf("%d checkpoints were cosigned, want 2", len(*brought))
			}
			for _, msg := range *brought {
				if _, cs, err := wire.ReadCosignatures([]byte(msg), w); err != nil || len(cs) != 1 {
					t.Errorf("%q: %d cosignatures, %v", msg, len(cs), err)
				}
			}
			if text, _, _ := strings.Cut(asked, "\n\n"); !strings.HasPrefix((*brought)[len(*brought)-1], text) {
				t.Error("another checkpoint was cosigned than the one asked for")
			}
			r.refused(0)
			r.arrived()
		})
	}
}

// What a machine has cosigned holds for ever: neither a shorter nor another history is cosigned after it, also not after
// a restart, and what was asked for is kept as proof.
func TestCosignRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ask   func(r *rig) string
		proof bool // it is kept as proof against the collector
	}{
		{"one that is older than the last", func(r *rig) string { return r.c.log.prefix(2).checkpoint() }, false},
		{"another of the same size", func(r *rig) string {
			other := r.c.log.prefix(r.c.log.n - 1)
			other.add("another leaf")
			return other.checkpoint()
		}, true},
		{"one of another history, larger", func(r *rig) string {
			other := r.c.log.prefix(2)
			for i := range 40 {
				other.add(fmt.Sprint("another leaf ", i))
			}
			msg := other.checkpoint()
			for i := range 60 { // the collector has as many leaves, and proves what it has
				r.c.log.add(fmt.Sprint("leaf ", i))
			}
			return msg
		}, true},
		{"one of another key", func(r *rig) string {
			other := r.c.log.prefix(r.c.log.n)
			other.signer, _ = newKey(r, r.c.log.signer.Name())
			return other.checkpoint()
		}, false},
		{"what is no checkpoint", func(*rig) string { return "sign this\n\n— x y\n" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			asked := ""
			brought := r.asksFor(func() string { return asked })
			r.grow(4)
			asked = r.c.log.checkpoint()
			r.grow(1)
			if len(*brought) != 1 {
				t.Fatalf("%d checkpoints were cosigned before, want 1", len(*brought))
			}
			r.restart()
			if got := r.p.Stats().Cosigned; got != r.p.cosigned.N || got == 0 {
				t.Fatalf("after a start %d leaves were cosigned, %v", got, r.p.cosigned)
			}
			last := r.p.cosigned
			asked = tt.ask(r)
			r.grow(3)
			if len(*brought) != 1 || r.p.cosigned != last {
				t.Errorf("it was cosigned")
			}
			_, err := os.Stat(filepath.Join(r.o.Dir, RefusedFile))
			if kept := err == nil; kept != tt.proof {
				t.Errorf("kept as proof: %v, want %v", kept, tt.proof)
			}
			r.arrived()
		})
	}
}

// A cosignature leaves the machine only when it is on disk.
func TestCosignIsKeptFirst(t *testing.T) {
	r := newRig(t)
	asked := ""
	brought := r.asksFor(func() string { return asked })
	r.grow(3)
	if err := os.Mkdir(filepath.Join(r.o.Dir, CosignedFile), 0o700); err != nil { // nothing can be put in its place
		t.Fatal(err)
	}
	asked = r.c.log.checkpoint()
	r.grow(2)
	if len(*brought) != 0 {
		t.Error("a cosignature was sent that is not kept")
	}
	r.arrived()
}
