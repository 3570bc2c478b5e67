package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/notes"
)

// A check finds after a restart what it has kept, for as long as it is in the plan, and some time longer.
func TestChecksRemember(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	counter := check.Kind{Name: "counter", Family: "test", New: func(_ check.Options, env check.Env) (check.Func, error) {
		return func(context.Context) check.Result {
			n, _ := strconv.Atoi(string(env.Kept().Note("n")))
			env.Kept().Keep("n", []byte(strconv.Itoa(n+1)))
			return check.Because(check.OK, "")
		}, nil
	}}
	options := r.options()
	options.Kinds = append(kinds.Table(), counter)
	counted := func(d *Daemon) int { n, _ := strconv.Atoi(string(d.notes.Of("a.n", "counter").Note("n"))); return n }
	run := func(at int) *Daemon {
		d, err := Open(options)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		r.until("another run", func() bool { return counted(d) >= at })
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return d
	}
	r.c.SetPlan(machine, 1, r.plan(1, "  - {id: a.n, kind: counter, every: 10s, timeout: 2s}\n"))
	was := counted(run(1))
	d := run(was + 1)

	file := filepath.Join(r.dir, notes.Folder, "check-a.n.notes")
	long := time.Now().AddDate(0, 0, -31)
	swept := func(told bool) bool {
		if err := os.Chtimes(file, long, long); err != nil {
			t.Fatal(err)
		}
		p := d.told
		if !told {
			d.told = nil
			defer func() { d.told = p }()
		}
		d.sweepNotesOnce()
		_, err := os.Stat(file)
		return err != nil
	}
	if swept(true) {
		t.Error("what a check of the plan has kept is removed")
	}
	if swept(false) {
		t.Error("what checks have kept is removed before there is a plan")
	}
	d.told.Checks = d.told.Checks[:1]
	if !swept(true) {
		t.Error("what a check has kept stays for ever")
	}
}
