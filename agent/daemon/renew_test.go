package daemon

import (
	"os"
	"testing"
	"time"

	"egovmon/agent/host"
)

// The certificate renews itself in its last 30 days: the new one is kept and shown; one that cannot be kept is not used.
func TestRenewal(t *testing.T) {
	r := newRig(t)
	var ahead time.Duration
	o := r.options()
	o.Now = func() time.Time { return time.Now().Add(ahead) }
	if err := r.id.Save(r.dir); err != nil {
		t.Fatal(err)
	}
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.unlock)
	serial := func() string {
		t.Helper()
		id, err := host.LoadIdentity(r.dir)
		if err != nil {
			t.Fatal(err)
		}
		return id.TLS.Leaf.SerialNumber.String()
	}
	first := serial()
	if next := d.renew(t.Context()); next != renewEvery || serial() != first {
		t.Errorf("with 90 days to run: again in %s, certificate replaced: %t", next, serial() != first)
	}
	ahead = 61 * 24 * time.Hour
	aside := r.dir + ".aside"
	if err := os.Rename(r.dir, aside); err != nil { // the disk has gone
		t.Fatal(err)
	}
	if err := os.WriteFile(r.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if next := d.renew(t.Context()); next != renewAgain || d.id != r.id {
		t.Errorf("without a disk: again in %s, the identity in use is another: %t", next, d.id != r.id)
	}
	if err := os.Remove(r.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, r.dir); err != nil {
		t.Fatal(err)
	}
	if next := d.renew(t.Context()); next != renewEvery {
		t.Errorf("again in %s, want %s", next, renewEvery)
	}
	if second := serial(); second == first || d.id.TLS.Leaf.SerialNumber.String() != second {
		t.Errorf("kept is %s, in use is %s, before it was %s", second, d.id.TLS.Leaf.SerialNumber, first)
	}
	r.c.Close()
	ahead += 61 * 24 * time.Hour
	if next := d.renew(t.Context()); next != renewAgain {
		t.Errorf("while the collector is away: again in %s, want %s", next, renewAgain)
	}
}
