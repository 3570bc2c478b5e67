package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/push"
	"egovmon/collector/evidence"
	"egovmon/collector/history/index"
	"egovmon/collector/intake"
	"egovmon/exporter"
)

// says runs a subcommand that is to end with a code, and returns what it says.
func says(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &out, &errs); code != want {
		t.Fatalf("collector %s exits %d, want %d:\n%s%s", strings.Join(args, " "), code, want, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// A commune is a machine of another unit with its agent.
type commune struct {
	*testing.T
	dir string
	id  *host.Identity
}

func newCommune(t *testing.T, c *centre, name string) *commune {
	t.Helper()
	token, _ := says(t, exitDone, "token", "--data", c.dir, "--unit", "xa-tu-ky", "--machine", name)
	id, err := push.Enrol(t.Context(), c.agent, strings.TrimSpace(token), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &commune{t, filepath.Join(t.TempDir(), "agent"), id}
}

// run lets the agent work until the returned function is called.
func (m *commune) run() (d *daemon.Daemon, stop func()) {
	m.Helper()
	d, err := daemon.Open(daemon.Options{Dir: m.dir, Identity: m.id, Kinds: kinds.Table(), Config: daemon.Config{Listen: "-"},
		Build: exporter.ThisBuild(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		m.Fatal(err)
	}
	ctx, cancel := context.WithCancel(m.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, func() {
		m.Helper()
		cancel()
		if err := <-done; err != nil {
			m.Error(err)
		}
	}
}

// work runs the agent once, from its start until it has recorded and sent something, and until ok.
func (m *commune) work(what string, ok func(d *daemon.Daemon) bool) {
	m.Helper()
	d, stop := m.run()
	defer stop()
	eventually(m.T, what, func() bool { return ok(d) })
}

// sealed are the batches in the agent's journal, as hashes of their notes.
func (m *commune) sealed() (hashes []string) {
	m.Helper()
	for e := range journal.Read(daemon.JournalDir(m.dir)) {
		if e.Batch.Note != nil {
			hashes = append(hashes, e.Batch.Hash())
		}
	}
	return hashes
}

// archived are the batches of a machine in the log of a collector that is stopped.
func archived(t *testing.T, dir, machine string) (hashes []string) {
	t.Helper()
	store := openLog(t, dir)
	defer store.Close()
	for e, err := range store.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Leaf.Type() == evidence.Batch && e.Leaf.Field("machine") == machine {
			hashes = append(hashes, journal.Batch{Note: e.Blob}.Hash())
		}
	}
	return hashes
}

func openLog(t *testing.T, dir string) *evidence.Store {
	t.Helper()
	p, err := openProfile("")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := setup{dir: dir, now: time.Now}.openKeys(p.District)
	if err != nil {
		t.Fatal(err)
	}
	v, err := keys.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.Verify(filepath.Join(dir, evidenceDir), v); err != nil {
		t.Fatal(err)
	}
	store, err := evidence.OpenReader(filepath.Join(dir, evidenceDir), v)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// onceEach fails unless everything the agent has sealed is archived, once.
func (m *commune) onceEach(dir string) {
	m.Helper()
	got := map[string]int{}
	for _, h := range archived(m.T, dir, m.id.Machine) {
		got[h]++
	}
	sealed := m.sealed()
	if len(sealed) == 0 {
		m.Fatal("the agent has sealed nothing")
	}
	for i, h := range sealed {
		if got[h] != 1 {
			m.Errorf("batch %d of %d is archived %d times", i+1, len(sealed), got[h])
		}
	}
}

// drained reports whether an agent has sent all it has, and has seen the log as the collector says it is.
func drained(c *centre) func(d *daemon.Daemon) bool {
	return func(d *daemon.Daemon) bool {
		s := d.State()
		return len(s.Checks) > 0 && s.SpoolBatches == 0 && s.LogLeaves > 0 && !s.PushLastSuccess.IsZero()
	}
}

// recoveryKey makes the district's recovery key and returns a file with it.
func recoveryKey(t *testing.T, dir string) string {
	t.Helper()
	key, errs := says(t, exitDone, "recovery-key", "--data", dir)
	if !strings.HasPrefix(key, "PRIVATE+KEY+egovmon/huyen-tu-ky/recovery") || !strings.Contains(errs, "shown once") {
		t.Fatalf("%s%s", key, errs)
	}
	for _, again := range [][]string{{"recovery-key", "--data", dir}} {
		if _, errs := says(t, exitFailed, again...); !strings.Contains(errs, "already") {
			t.Errorf("a second key: %s", errs)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // what is replaced meanwhile
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(strings.TrimSpace(key))) {
			t.Errorf("%s holds the recovery key", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "recovery.txt")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDiskLost loses the collector's disk and restores yesterday's backup while a machine has seen more of the log. The
// restored collector signs nothing that contradicts that; after the successor has begun, all comes again, once.
func TestDiskLost(t *testing.T) {
	t.Parallel()
	dir, backup := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "backup.tar")
	c := start(t, dir)
	key := recoveryKey(t, dir)
	m := newCommune(t, c, "pc-thu-01")
	m.work("the first batches", drained(c))
	_, said := says(t, exitDone, "backup", "--data", dir, "--out", backup)
	if !strings.Contains(said, "private keys: sealed") {
		t.Errorf("backup says %s", said)
	}
	if out, _ := says(t, exitDone, "restore", "--data", t.TempDir(), "--check", backup); !strings.Contains(out, "is whole") {
		t.Errorf("restore --check says %s", out)
	}
	if _, errs := says(t, exitFailed, "restore", "--data", dir, "--recovery-key", key, backup); !strings.Contains(errs, "stop it first") {
		t.Errorf("restore beside a running collector: %s", errs)
	}
	m.work("batches after the backup", drained(c))
	m.work("and more of them", drained(c))
	c.stop()
	m.onceEach(dir)
	addr := strings.TrimPrefix(c.agent, "https://")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}

	out, _ := says(t, exitDone, "restore", "--data", dir, "--recovery-key", key, backup)
	if !strings.Contains(out, "is whole") || !strings.Contains(out, "Missing is") {
		t.Errorf("restore says:\n%s", out)
	}
	restored, err := os.ReadFile(filepath.Join(dir, evidenceDir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c = start(t, dir, "--agents", addr)
	m.work("the collector is told", func(d *daemon.Daemon) bool {
		_, body := c.get(c.base()+"/metrics", true)
		return d.State().LogFailures > 0 && strings.Contains(body, "\negovmon_log_verification_failures_total 1\n")
	})
	if _, body := c.get(c.base()+"/api/board", true); !strings.Contains(body, "collector successor") {
		t.Errorf("the board does not say what to do: %.300s", body)
	}
	if _, errs := says(t, exitFailed, "successor", "--data", dir, "--recovery-key", key, "--why", "x"); !strings.Contains(errs, "stop it first") {
		t.Errorf("a successor beside a running collector: %s", errs)
	}
	c.stop()
	if now, err := os.ReadFile(filepath.Join(dir, evidenceDir, "checkpoint")); err != nil || !bytes.Equal(now, restored) {
		t.Fatalf("the restored collector signed what contradicts the machine:\n%s%s", restored, now)
	}

	out, _ = says(t, exitDone, "successor", "--data", dir, "--recovery-key", key, "--why", "đĩa hỏng, khôi phục bản của hôm qua")
	if !strings.Contains(out, "log/1 ended") || !strings.Contains(out, "log/2 goes on") {
		t.Errorf("successor says:\n%s", out)
	}
	c = start(t, dir, "--agents", addr)
	m.work("everything again", func(d *daemon.Daemon) bool {
		b, err := os.ReadFile(filepath.Join(m.dir, push.CheckpointFile))
		return err == nil && strings.HasPrefix(string(b), "egovmon/huyen-tu-ky/log/2\n") && drained(c)(d) && d.State().LogFailures == 0
	})
	eventually(t, "the collector's own machine again", func() bool { return c.query("egovmon_check_success")["may-chu-huyen thu_thap.tcp"] == "1" })
	c.stop()
	m.onceEach(dir)
	if out, _ := says(t, exitDone, "rebuild", "--data", dir, "--check"); !strings.Contains(out, "same history") {
		t.Errorf("rebuild --check says %s", out)
	}
	log := openLog(t, dir)
	defer log.Close()
	if notes, err := evidence.Successions(log); err != nil || len(notes) != 1 || !strings.Contains(string(notes[0]), "đĩa hỏng") {
		t.Errorf("%d successions, %v", len(notes), err)
	}
}

// TestSnapshot puts the collector back to an earlier snapshot of its machine, of which nothing on its disk tells.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	dir, snapshot := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "snapshot")
	c := start(t, dir)
	m := newCommune(t, c, "pc-thu-01")
	m.work("the first batches", drained(c))
	c.stop()
	addr := strings.TrimPrefix(c.agent, "https://")
	if err := os.CopyFS(snapshot, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	signed, err := os.ReadFile(filepath.Join(snapshot, evidenceDir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c = start(t, dir, "--agents", addr)
	m.work("batches after the snapshot", drained(c))
	m.work("which are in the log as the next start sees it", drained(c))
	c.stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(snapshot)); err != nil {
		t.Fatal(err)
	}
	c = start(t, dir, "--agents", addr)
	m.work("the collector is told", func(d *daemon.Daemon) bool {
		_, body := c.get(c.base()+"/metrics", true)
		return d.State().LogFailures > 0 && strings.Contains(body, "\negovmon_log_verification_failures_total 1\n")
	})
	c.stop()
	if now, err := os.ReadFile(filepath.Join(dir, evidenceDir, "checkpoint")); err != nil || !bytes.Equal(now, signed) {
		t.Errorf("the collector signed a fork:\n%s%s", signed, now)
	}
	if _, errs := says(t, exitFailed, "successor", "--data", dir, "--recovery-key", os.DevNull, "--why", "x"); !strings.Contains(errs, "recovery key") {
		t.Errorf("a successor without a key: %s", errs)
	}
}

// TestMirrorAndRestore loses the disk and takes the log from a mirror that has all of it: nothing is missing, and no
// successor is needed.
func TestMirrorAndRestore(t *testing.T) {
	t.Parallel()
	dir, tmp := filepath.Join(t.TempDir(), "state"), t.TempDir()
	backup, copies := filepath.Join(tmp, "backup.tar"), filepath.Join(tmp, "mirror")
	c := start(t, dir)
	key := recoveryKey(t, dir)
	m := newCommune(t, c, "pc-thu-01")
	m.work("the first batches", drained(c))
	says(t, exitDone, "backup", "--data", dir, "--out", backup)
	says(t, exitDone, "mirror", "--data", dir, "--to", copies, "--once")
	m.work("batches after the backup", drained(c))
	m.work("which are in the log as the next start sees it", drained(c))
	c.stop()
	if out, _ := says(t, exitDone, "mirror", "--data", dir, "--to", copies, "--once"); !strings.Contains(out, "leaves copied") {
		t.Errorf("mirror says %s", out)
	}
	addr := strings.TrimPrefix(c.agent, "https://")
	old := archived(t, dir, m.id.Machine)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	out, _ := says(t, exitDone, "restore", "--data", dir, "--recovery-key", key, "--mirror", copies, backup)
	if !strings.Contains(out, "continues the backup") {
		t.Errorf("restore says:\n%s", out)
	}
	if got := archived(t, dir, m.id.Machine); !slices.Equal(got, old) {
		t.Errorf("%d batches are restored, want %d", len(got), len(old))
	}
	c = start(t, dir, "--agents", addr)
	m.work("the same log goes on", func(d *daemon.Daemon) bool {
		_, body := c.get(c.base()+"/metrics", true)
		return drained(c)(d) && strings.Contains(body, "\negovmon_log_verification_failures_total 0\n")
	})
	c.stop()
	m.onceEach(dir)
	if _, errs := says(t, exitFailed, "mirror", "--data", restoredElsewhere(t, backup, key), "--to", copies, "--once"); !strings.Contains(errs, evidence.ErrRewritten.Error()) {
		t.Errorf("a mirror of a log that was set back: %s", errs)
	}
}

// restoredElsewhere restores a backup into a folder of its own.
func restoredElsewhere(t *testing.T, backup, key string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "elsewhere")
	says(t, exitDone, "restore", "--data", dir, "--recovery-key", key, backup)
	return dir
}

// TestRestoreReplacesNothingUnverified gives restore what it must not take: what is there stays as it is.
func TestRestoreReplacesNothingUnverified(t *testing.T) {
	t.Parallel()
	dir, tmp := filepath.Join(t.TempDir(), "state"), t.TempDir()
	backup := filepath.Join(tmp, "backup.tar")
	c := start(t, dir)
	key := recoveryKey(t, dir)
	says(t, exitDone, "backup", "--data", dir, "--out", backup)
	c.stop()
	whole, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	for name, data := range map[string][]byte{"cut": whole[:len(whole)-2000], "changed": flipped(whole, len(whole)/2), "empty": nil} {
		bad := filepath.Join(tmp, name)
		if err := os.WriteFile(bad, data, 0o600); err != nil {
			t.Fatal(err)
		}
		says(t, exitFailed, "restore", "--data", dir, "--recovery-key", key, bad)
	}
	says(t, exitFailed, "restore", "--data", dir, backup) // no key
	says(t, exitFailed, "restore", "--data", dir, "--recovery-key", key, "--mirror", tmp, backup)
	says(t, exitUsage, "restore", "--data", dir, "--recovery-key", key)
	says(t, exitUsage, "backup", "--data", dir, "--keys", "all")
	says(t, exitUsage, "mirror", "--data", dir)
	says(t, exitUsage, "successor", "--data", dir)
	if after := listing(t, dir); after != before {
		t.Errorf("the state has changed:\n%s---\n%s", before, after)
	}
	if _, errs := says(t, exitFailed, "successor", "--data", dir, "--recovery-key", key, "--why", "x"); !strings.Contains(errs, "--anyway") {
		t.Errorf("a successor that nobody needs: %s", errs)
	}
}

func flipped(data []byte, at int) []byte {
	c := bytes.Clone(data)
	c[at] ^= 1
	return c
}

// listing is every file of a folder with its size.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && filepath.Base(path) != "lock" {
			fmt.Fprintln(&b, path, info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRebuildCheck finds a history that is not what the evidence gives.
func TestRebuildCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	c := start(t, dir)
	eventually(t, "results", func() bool { return c.query("egovmon_check_success")["may-chu-huyen thu_thap.tcp"] == "1" })
	c.stop()
	file := filepath.Join(t.TempDir(), "dump")
	if out, _ := says(t, exitDone, "rebuild", "--data", dir, "--check", "--dump", file); !strings.Contains(out, "same history") {
		t.Errorf("says %s", out)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != dump(t, dir) {
		t.Errorf("the dump is not the history (%v)", err)
	}
	x, err := sql.Open("sqlite", filepath.Join(dir, indexFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Exec("DELETE FROM runs"); err != nil {
		t.Fatal(err)
	}
	_, err1 := x.Exec("UPDATE journals SET state = NULL")
	if err := errors.Join(err1, x.Close()); err != nil {
		t.Fatal(err)
	}
	if _, errs := says(t, exitFailed, "rebuild", "--data", dir, "--check"); !strings.Contains(errs, "gone bad") {
		t.Errorf("a history of which something is missing: %s", errs)
	}
	retell(t, dir)
	if _, errs := says(t, exitFailed, "rebuild", "--data", dir, "--check"); !strings.Contains(errs, "line ") {
		t.Errorf("a history that is whole and says something else: %s", errs)
	}
	says(t, exitDone, "rebuild", "--data", dir)
	says(t, exitDone, "rebuild", "--data", dir, "--check")
}

// retell puts in place of a collector's history one that is whole, and in which one result is another.
func retell(t *testing.T, dir string) {
	t.Helper()
	store, err := openEvidence(setup{dir: dir, log: slog.New(slog.DiscardHandler), now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	file := filepath.Join(dir, indexFile)
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	x, err := index.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	fold, err := intake.NewFold(kinds.Table(), store.Blob)
	if err != nil {
		t.Fatal(err)
	}
	told := false
	err = intake.Replay(t.Context(), store, fold, 0, func(a intake.Accepted) error {
		b := historyBatch(a)
		for _, e := range b.Events {
			if o := e.Observation; o != nil && o.Reason == check.OK && !told {
				o.Reason, told = check.Timeout, true
			}
		}
		return x.Add(t.Context(), b)
	})
	if err != nil || !told {
		t.Fatalf("told %v: %v", told, err)
	}
}
