package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
	"egovmon/collector/restore"
)

// restoredFile says that the state was restored and no agent has been heard since.
const restoredFile = "restored.json"

func runRestore(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("restore", "Puts a backup in place of the state. It refuses while the collector runs, verifies everything before it replaces anything,\n"+
		"and moves what was there into a folder beside it. With --mirror, the log is taken from a newer mirror as far as it continues the backup.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	key := fs.String("recovery-key", "", "`FILE` with the recovery key, which opens the keys in the backup; - reads it from the standard input")
	mirror := fs.String("mirror", "", "`FOLDER` of a mirror of the same log")
	check := fs.Bool("check", false, "only verify the backup, unpacked in the system's folder for temporary files; nothing is replaced")
	goOn := fs.Bool("continue", false, "complete a restore that was broken off while it put things in place")
	if err := fs.Parse(args); err != nil {
		return usageOf(err)
	}
	if fs.NArg() != 1 && !*goOn || fs.NArg() > 0 && *goOn {
		fmt.Fprintln(stderr, "collector restore: name one backup FILE: collector restore --data DIR --recovery-key FILE egovmon-….tar")
		return exitUsage
	}
	s, err := newSetup(*data, "", stderr, false)
	if err != nil {
		fmt.Fprintf(stderr, "collector restore: %v\n", err)
		return exitUsage
	}
	r := restoring{setup: s, file: fs.Arg(0), mirror: *mirror, checkOnly: *check, stdout: stdout, stderr: stderr}
	if r.key, err = readRecoveryKey(*key, os.Stdin); err == nil {
		err = r.run(ctx, *goOn)
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector restore: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// A restoring is one run of the command.
type restoring struct {
	setup
	file, mirror   string
	key            *restore.PrivateKey
	checkOnly      bool
	stdout, stderr io.Writer
}

func (r restoring) run(ctx context.Context, goOn bool) error {
	if r.checkOnly {
		return r.check(ctx)
	}
	if err := durable.MkdirAll(r.dir); err != nil {
		return err
	}
	unlock, err := r.alone(ctx)
	if err != nil {
		return err
	}
	if goOn {
		defer unlock()
		return r.place(ctx)
	}
	staged, err := restore.Stage(r.dir)
	if err != nil {
		unlock()
		return err
	}
	m, sum, err := r.stage(ctx, staged)
	unlock()
	if err != nil {
		return errors.Join(err, os.RemoveAll(staged))
	}
	r.compare(sum)
	if err := r.place(ctx); err != nil {
		return err
	}
	return r.tell(m, sum)
}

// check only verifies. It may run beside a collector.
func (r restoring) check(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "egovmon-check-")
	if err != nil {
		return err
	}
	_, _, err = r.stage(ctx, dir)
	return errors.Join(err, os.RemoveAll(dir))
}

// alone makes sure that no collector works on the state, and keeps others out until it is released.
func (r restoring) alone(ctx context.Context) (release func(), err error) {
	err = call(ctx, r.dir, "GET", pathFleet, nil, new(any))
	if !errors.Is(err, errNotRunning) {
		return nil, errors.Join(errors.New("a collector runs on this state folder: stop it first"), err)
	}
	dir := filepath.Join(r.dir, evidenceDir)
	if _, err := os.Stat(dir); err != nil {
		return func() {}, nil
	}
	lock, err := evidence.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("a collector or another command works on this state folder: stop it first: %w", err)
	}
	return func() { _ = lock.Close() }, nil
}

// stage unpacks and verifies everything.
func (r restoring) stage(ctx context.Context, staged string) (m restore.Manifest, sum evidence.Summary, err error) {
	f, err := os.Open(r.file)
	if err != nil {
		return m, sum, err
	}
	show := newProgress(r.stderr, "unpacked")
	m, err = restore.Read(ctx, f, staged, show.at)
	show.end()
	if err = errors.Join(err, f.Close()); err != nil {
		return m, sum, err
	}
	if !r.checkOnly {
		if err := r.openKeys(m, staged); err != nil {
			return m, sum, err
		}
	}
	if sum, err = restore.Verify(m, staged); err != nil {
		return m, sum, err
	}
	fmt.Fprintf(r.stdout, "The backup is whole: %s with %d leaves, as of %s; %d batches of machines.\n", m.Origin, sum.Tree.N,
		m.Made.In(profile.Zone()).Format("15:04:05 02/01/2006"), sum.LeafCounts[evidence.Batch])
	if r.mirror == "" {
		return m, sum, nil
	}
	return m, sum, r.fromMirror(ctx, m, staged, &sum)
}

// openKeys puts the private keys in place, and makes sure that they are those of the log.
func (r restoring) openKeys(m restore.Manifest, staged string) error {
	if err := restore.OpenKeys(m, staged, r.dir, r.key); err != nil {
		return err
	}
	dir := filepath.Join(staged, keysDir)
	keys, err := enrol.OpenKeys(dir, m.District, r.now)
	if err == nil {
		err = keys.UseLog(dir, m.Origin)
	}
	if err == nil && keys.LogKey != m.LogKey {
		err = fmt.Errorf("the key of %s in the backup is %s, its log was signed by %s", m.Origin, keys.LogKey, m.LogKey)
	}
	return err
}

// fromMirror brings the staged log up to that of a mirror.
func (r restoring) fromMirror(ctx context.Context, m restore.Manifest, staged string, sum *evidence.Summary) (err error) {
	v, err := note.NewVerifier(m.LogKey)
	if err != nil {
		return err
	}
	dir, err := restore.MirrorDir(r.mirror, m.Origin)
	if err != nil {
		return err
	}
	source, err := evidence.OpenReader(dir, v)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	log, err := evidence.OpenMirror(evidence.Options{Dir: filepath.Join(staged, evidenceDir), Verifier: v, Logger: r.log})
	if err != nil {
		return err
	}
	show := newProgress(r.stderr, "taken from the mirror")
	n, err := log.Sync(ctx, source, show.leaves)
	show.end()
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	fmt.Fprintf(r.stdout, "The mirror continues the backup: %d leaves more.\n", n)
	*sum, err = evidence.Verify(filepath.Join(staged, evidenceDir), v)
	return err
}

// compare says what the state that is there has beyond what is about to replace it.
func (r restoring) compare(sum evidence.Summary) {
	dir := filepath.Join(r.dir, evidenceDir)
	origin, err := evidence.ReadOrigin(dir)
	if err != nil || origin == "" {
		return
	}
	size, err := evidence.ReadSize(dir)
	if err == nil && origin == sum.Origin && size > sum.Tree.N {
		fmt.Fprintf(r.stdout, "The log that is there has %d leaves, %d more than what replaces it: if it can be read, it is the better one.\n", size, size-sum.Tree.N)
	}
}

// place puts everything in place and derives what is derived.
func (r restoring) place(ctx context.Context) error {
	before, err := restore.Place(r.dir, r.now())
	if err != nil {
		return err
	}
	if before != "" {
		fmt.Fprintf(r.stdout, "What was there before is in %s.\n", before)
	}
	b, err := json.Marshal(map[string]time.Time{"at": r.now().UTC()})
	if err == nil {
		err = durable.Replace(filepath.Join(r.dir, restoredFile), b)
	}
	if err != nil {
		return err
	}
	s, err := r.again()
	if err != nil {
		return err
	}
	return rebuild(ctx, s, r.stderr)
}

// again reads the configuration that was put in place. A profile that is not on this machine is taken from the backup.
func (r restoring) again() (setup, error) {
	s, err := newSetup(r.dir, "", r.stderr, false)
	if err != nil {
		return s, err
	}
	last, ok, err := readLast(s.dir)
	if err != nil || !ok {
		return s, err
	}
	s.config.Profile = last.Profile
	if last.Profile == "" {
		return s, nil
	}
	if _, err := os.Stat(last.Profile); err == nil {
		return s, nil
	}
	s.config.Profile = filepath.Join(s.dir, "profile")
	fmt.Fprintf(r.stdout, "The profile %s is not on this machine: that of the backup is in %s. Start the collector with --profile, or name it in collector.yaml.\n", last.Profile, s.config.Profile)
	b, err := json.Marshal(lastRun{Profile: s.config.Profile})
	if err == nil {
		err = durable.Replace(filepath.Join(s.dir, lastFile), b)
	}
	return s, err
}

// tell says what the state is now, and what is still missing.
func (r restoring) tell(m restore.Manifest, sum evidence.Summary) error {
	_, err := fmt.Fprintf(r.stdout, `The state is that of %s: %s with %d leaves.
Missing is what came after it: batches, which the machines send again as far as they keep them (14 days); and incidents,
acknowledgements, attestations, tokens and machines that enrolled since: those enrol again.
Now start the collector. Should the machines have seen more of the log than was restored, it says so, signs nothing, and waits
for `+"`collector successor`"+`.
`, m.Made.In(profile.Zone()).Format("15:04:05 02/01/2006"), sum.Origin, sum.Tree.N)
	return err
}

func runSuccessor(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("successor", "Begins the log that comes after one that was set back behind what machines have seen. Everything in the old log is copied\n"+
		"into the new one, whose first leaf says which log ended, at which size, and why, signed by the recovery key. The collector must be stopped.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	key := fs.String("recovery-key", "", "`FILE` with the recovery key; - reads it from the standard input")
	why := fs.String("why", "", "`REASON` for people and auditors, one line")
	anyway := fs.Bool("anyway", false, "also when no machine has shown that the log cannot go on")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if *key == "" || strings.TrimSpace(*why) == "" {
		fmt.Fprintln(stderr, "collector successor: --recovery-key FILE or --why REASON is missing")
		return exitUsage
	}
	s, err := offlineSetup(*data, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "collector successor: %v\n", err)
		return exitUsage
	}
	recovery, err := readRecoveryKey(*key, os.Stdin)
	if err == nil {
		err = succeed(ctx, s, recovery, strings.TrimSpace(*why), *anyway, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector successor: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// succeed begins the next log.
func succeed(ctx context.Context, s setup, recovery *restore.PrivateKey, why string, anyway bool, stdout, stderr io.Writer) (err error) {
	known, err := isRecovery(s.dir, recovery)
	if err != nil {
		return err
	}
	old, keys, err := openEnding(s, anyway)
	if err != nil {
		return err
	}
	defer func() {
		if e := old.Close(); !errors.Is(e, evidence.ErrClosed) {
			err = errors.Join(err, e)
		}
	}()
	n, _ := wire.LogNumber(keys.District, old.Origin())
	if err := keys.NewLog(filepath.Join(s.dir, keysDir), n); err != nil {
		return err
	}
	x := wire.Succession{Old: old.Origin(), Tree: old.Tree(), New: keys.LogSigner.Name(), Key: keys.LogKey, At: s.now().UTC().Truncate(time.Second), Why: why}
	if err := copyLog(ctx, s, old, keys, x, recovery, known, stderr); err != nil {
		return err
	}
	seen, overtaken := old.Overtaken()
	if err := old.Close(); err != nil {
		return err
	}
	kept, err := restore.Succeed(s.dir, n)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s ended with %d leaves; %s goes on with all of them.\n", x.Old, x.Tree.N, x.New)
	if overtaken {
		fmt.Fprintf(stdout, "Machines have seen %d leaves of the old log: what is missing they send again.\n", seen.N)
	}
	fmt.Fprintf(stdout, "The old log is kept in %s; it may be removed once the next backup is made.\n", kept)
	return rebuild(ctx, s, stderr)
}

// isRecovery makes sure that a key is the district's recovery key, and returns what checks its signatures.
func isRecovery(dir string, key *restore.PrivateKey) (note.Verifier, error) {
	known, ok, err := restore.ReadPublic(filepath.Join(dir, keysDir))
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errors.New("this district has no recovery key, so that no machine would follow: let the machines enrol again with new tokens after a fresh start")
	case known != key.Public:
		return nil, fmt.Errorf("this is the key %s, the district's is %s", key.Public.Verifier, known.Verifier)
	}
	return known.NoteVerifier()
}

// openEnding opens the log that is to end, and keeps every other process out.
func openEnding(s setup, anyway bool) (*evidence.Store, *enrol.Keys, error) {
	p, err := openProfile(s.config.Profile)
	if err != nil {
		return nil, nil, err
	}
	keys, err := s.openKeys(p.District)
	if err != nil {
		return nil, nil, err
	}
	v, err := keys.LogVerifier()
	if err != nil {
		return nil, nil, err
	}
	old, err := evidence.Open(evidence.Options{Dir: filepath.Join(s.dir, evidenceDir), Origin: v.Name(), Signer: keys.LogSigner, Verifier: v, Logger: s.log})
	if err != nil {
		return nil, nil, err
	}
	if _, overtaken := old.Overtaken(); !overtaken && !anyway {
		err := fmt.Errorf("no machine has shown that %s cannot go on: start the collector and wait for them; --anyway begins the next log all the same", old.Origin())
		return nil, nil, errors.Join(err, old.Close())
	}
	return old, keys, nil
}

// copyLog makes the next log beside the one that ends.
func copyLog(ctx context.Context, s setup, old *evidence.Store, keys *enrol.Keys, x wire.Succession, recovery *restore.PrivateKey, known note.Verifier, stderr io.Writer) error {
	if err := x.Check(); err != nil {
		return err
	}
	msg, err := note.Sign(&note.Note{Text: x.Text()}, recovery.Signer)
	if err != nil {
		return err
	}
	v, err := keys.LogVerifier()
	if err != nil {
		return err
	}
	fresh, err := restore.FreshLog(s.dir)
	if err != nil {
		return err
	}
	show := newProgress(stderr, "copied")
	defer show.end()
	return evidence.Succeed(ctx, old, evidence.Options{Dir: fresh, Origin: v.Name(), Signer: keys.LogSigner, Verifier: v, Logger: s.log}, msg, known, show.leaves)
}

func usageOf(err error) int {
	if strings.Contains(err.Error(), "help requested") {
		return exitDone
	}
	return exitUsage
}
