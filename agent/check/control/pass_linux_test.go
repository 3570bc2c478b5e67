package control

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
)

// TestPass bounds what reading all controls of this machine once takes: 300 ms of processor time, once an hour, and 10 MB of
// memory that is not given back.
func TestPass(t *testing.T) {
	var pass []check.Func
	for _, id := range ids() {
		o := check.Options{"id": id}
		switch id {
		case listeningPorts:
			o["allowed_ports"] = []string{}
		case backupAge:
			o["path"] = t.TempDir()
		}
		f, err := controlKind().New(o, check.Env{})
		if err != nil {
			t.Fatal(err)
		}
		pass = append(pass, f)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, begin := heap(), processorTime(t)
	for _, f := range pass {
		f(t.Context())
	}
	took, after := processorTime(t)-begin, heap()
	t.Logf("%d controls: %v of processor time, %d bytes kept", len(pass), took, int64(after)-int64(before))
	if took > 300*time.Millisecond {
		t.Errorf("a pass takes %v of processor time, at most 300ms", took)
	}
	if after > before+10<<20 {
		t.Errorf("a pass keeps %d bytes", after-before)
	}
}

// processorTime is what this process has used so far (getrusage(2)), which other programs do not change.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
