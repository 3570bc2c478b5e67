package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"egovmon/agent/durable"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
	"egovmon/collector/restore"
)

func runBackup(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("backup", "Writes a backup of everything that was acknowledged, while the collector runs: the whole log, the keys, and what is not in\n"+
		"the log. Private keys are sealed, so that only the recovery key opens them. A backup that was not read back is none: see restore --check.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	out := fs.String("out", "", "`FILE` to write; - for the standard output; default egovmon-DISTRICT-TIME.tar in the current folder")
	keys := fs.String("keys", "", "sealed (default; needs a recovery key), none, or clear: whoever has the file can then act as this collector")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	b := backup{out: *out, keys: *keys, stdout: stdout, stderr: stderr}
	switch b.keys {
	case "", restore.KeysSealed, restore.KeysNone, restore.KeysClear:
	default:
		fmt.Fprintf(stderr, "collector backup: --keys %q: choose sealed, none or clear\n", *keys)
		return exitUsage
	}
	s, err := offlineSetup(*data, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "collector backup: %v\n", err)
		return exitUsage
	}
	if err := b.run(ctx, s); err != nil {
		fmt.Fprintf(stderr, "collector backup: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// A backup is one run of the command.
type backup struct {
	out, keys      string
	stdout, stderr io.Writer
}

func (b backup) run(ctx context.Context, s setup) error {
	p, log, key, err := openForReading(s)
	if err != nil {
		return err
	}
	defer log.Close()
	src := restore.Source{Dir: s.dir, District: p.District, Log: log, LogKey: key, Keys: b.keys, Now: s.now()}
	if s.config.Profile != "" {
		src.Profile = os.DirFS(s.config.Profile)
	}
	_, recovery, err := restore.ReadPublic(filepath.Join(s.dir, keysDir))
	if err != nil {
		return err
	}
	switch {
	case src.Keys == "" && recovery:
		src.Keys = restore.KeysSealed
	case src.Keys == "":
		src.Keys = restore.KeysNone
		fmt.Fprintln(b.stderr, "Without a recovery key (collector recovery-key) the private keys are left out: keep a copy of the folder keys apart, or no machine will know a restored collector.")
	case src.Keys == restore.KeysClear:
		fmt.Fprintln(b.stderr, "The private keys are in this backup in clear: whoever reads the file can act as this collector.")
	}
	show := newProgress(b.stderr, "written")
	if b.out == "-" {
		m, err := restore.Write(ctx, src, b.stdout, show.at)
		show.end()
		return errors.Join(err, b.done(m, "the standard output", err))
	}
	name := cmp.Or(b.out, fmt.Sprintf("egovmon-%s-%s.tar", p.District, src.Now.UTC().Format("20060102T150405Z")))
	m, err := b.toFile(ctx, src, name, show)
	return errors.Join(err, b.done(m, name, err))
}

// toFile writes the backup beside its name, reads it back, and gives it its name when it is whole.
func (b backup) toFile(ctx context.Context, src restore.Source, name string, show *progress) (m restore.Manifest, err error) {
	temp := name + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	m, err = restore.Write(ctx, src, f, show.at)
	if err == nil {
		err = f.Sync()
	}
	show.end()
	if err == nil {
		show = newProgress(b.stderr, "read back")
		err = restore.Check(ctx, f, show.at)
		show.end()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return m, err
	}
	if err := os.Rename(temp, name); err != nil {
		return m, err
	}
	return m, durable.SyncDir(filepath.Dir(name))
}

func (b backup) done(m restore.Manifest, name string, err error) error {
	if err != nil {
		return nil
	}
	_, err = fmt.Fprintf(b.stderr, "%s: %s with %d leaves as of %s; private keys: %s\n", name, m.Origin, m.Size, m.Made.In(profile.Zone()).Format("15:04:05 02/01/2006"), m.Keys)
	return err
}

// openForReading opens the log beside the collector, if one runs. key is its verifier key.
func openForReading(s setup) (p *profile.Profile, log *evidence.Store, key string, err error) {
	dir := filepath.Join(s.dir, evidenceDir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, "", fmt.Errorf("there is no evidence in %s: name the state folder with --data DIR", s.dir)
	}
	if p, err = openProfile(s.config.Profile); err != nil {
		return nil, nil, "", err
	}
	keys, err := s.openKeys(p.District)
	if err != nil {
		return nil, nil, "", err
	}
	v, err := keys.LogVerifier()
	if err != nil {
		return nil, nil, "", err
	}
	log, err = evidence.OpenReader(dir, v)
	return p, log, keys.LogKey, err
}

// A progress tells on a terminal how far something is, a few times a second.
type progress struct {
	w     io.Writer
	what  string
	shown time.Time
}

func newProgress(w io.Writer, what string) *progress { return &progress{w: w, what: what} }

// at is told the bytes so far.
func (p *progress) at(n int64) {
	if now := time.Now(); now.Sub(p.shown) > 500*time.Millisecond {
		p.shown = now
		fmt.Fprintf(p.w, "\r%.1f MB %s", float64(n)/1e6, p.what)
	}
}

// leaves is told the leaves so far.
func (p *progress) leaves(n int64) {
	if now := time.Now(); now.Sub(p.shown) > 500*time.Millisecond {
		p.shown = now
		fmt.Fprintf(p.w, "\r%d leaves %s", n, p.what)
	}
}

func (p *progress) end() {
	if !p.shown.IsZero() {
		fmt.Fprintln(p.w)
	}
}

func runMirror(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("mirror", "Keeps a second copy of the log in another folder, on another disk or machine, beside the running collector. The copy only\n"+
		"ever grows: a log that was set back or rewritten is told of (exit code 1) and not copied. It has no keys: restore takes it beside a backup.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	to := fs.String("to", "", "`FOLDER` of the copy; each log has a folder in it")
	every := fs.Duration("every", time.Minute, "how often to look for what is new")
	once := fs.Bool("once", false, "copy what is there and end")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if *to == "" || *every < time.Second {
		fmt.Fprintln(stderr, "collector mirror: --to FOLDER is missing, or --every is below 1s")
		return exitUsage
	}
	s, err := offlineSetup(*data, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "collector mirror: %v\n", err)
		return exitUsage
	}
	for {
		n, size, err := mirror(ctx, s, *to, stderr)
		if ctx.Err() != nil {
			return exitDone
		}
		if err != nil {
			fmt.Fprintf(stderr, "collector mirror: %v\n", err)
			return exitFailed
		}
		if n > 0 || *once {
			fmt.Fprintf(stdout, "%s %d leaves copied, %d in all\n", s.now().UTC().Format(time.RFC3339), n, size)
		}
		if *once {
			return exitDone
		}
		select {
		case <-ctx.Done():
			return exitDone
		case <-time.After(*every):
		}
	}
}

// mirror copies once what is new.
func mirror(ctx context.Context, s setup, to string, stderr io.Writer) (copied, size int64, err error) {
	_, log, _, err := openForReading(s)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	dir, err := restore.MirrorDir(to, log.Origin())
	if err != nil {
		return 0, 0, err
	}
	v := log.Verifier()
	m, err := evidence.OpenMirror(evidence.Options{Dir: dir, Verifier: v, Logger: s.log})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	show := newProgress(stderr, "copied")
	copied, err = m.Sync(ctx, log, show.leaves)
	show.end()
	return copied, m.Size(), err
}
