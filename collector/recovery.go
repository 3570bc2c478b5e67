package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/restore"
)

// pathRecovery takes the public half of a recovery key.
const pathRecovery = "/api/local/recovery"

// openKeys opens the keys of the state, with that of the log which is there.
func (s setup) openKeys(district string) (*enrol.Keys, error) {
	if restore.Interrupted(s.dir) {
		return nil, fmt.Errorf("a restore of %s was broken off: run `collector restore --continue --data %s`", s.dir, s.dir)
	}
	if err := restore.FinishSuccession(s.dir); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, keysDir)
	keys, err := enrol.OpenKeys(dir, district, s.now)
	if err != nil {
		return nil, err
	}
	origin, err := evidence.ReadOrigin(filepath.Join(s.dir, evidenceDir))
	if err != nil {
		return nil, err
	}
	return keys, keys.UseLog(dir, origin)
}

// recoveryEntry is the leaf that names a recovery key.
func recoveryEntry(p restore.PublicKey, at string) (evidence.Entry, error) {
	return evidence.NewEntry(evidence.LogKey, map[string]string{"at": at, "recovery": p.Verifier, "seal": p.Seal}, nil, nil)
}

// setRecovery makes a key the district's recovery key, for ever.
func (c *center) setRecovery(ctx context.Context, p restore.PublicKey) error {
	if err := p.Check(c.keys.District); err != nil {
		return err
	}
	dir := filepath.Join(c.dir, keysDir)
	switch known, ok, err := restore.ReadPublic(dir); {
	case err != nil:
		return err
	case ok:
		return fmt.Errorf("there is a recovery key already: %s. A second one would not be believed by any machine", known.Verifier)
	}
	e, err := recoveryEntry(p, wire.FormatTime(c.now()))
	if err != nil {
		return err
	}
	if err := restore.SavePublic(dir, p); err != nil { // what a kill leaves is recorded by the next start
		return err
	}
	if _, err := c.store.Append(ctx, e); err != nil {
		return errors.Join(err, os.Remove(filepath.Join(dir, "recovery.pub")))
	}
	return nil
}

// recordRecovery puts the recovery key into the log, if it was made and is not there.
func (c *center) recordRecovery(ctx context.Context) error {
	p, ok, err := restore.ReadPublic(filepath.Join(c.dir, keysDir))
	if err != nil || !ok || c.intake.RecoveryKey() != "" {
		return err
	}
	e, err := recoveryEntry(p, wire.FormatTime(c.now()))
	if err == nil {
		_, err = c.store.Append(ctx, e)
	}
	return err
}

func runRecoveryKey(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("recovery-key", "Makes the district's recovery key and prints it, once: write it down or print it, and lock it away in two places. It is\n"+
		"not kept anywhere else. Without it no collector can go on after its disk was lost, and sealed backups cannot be opened.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	show := fs.Bool("show", false, "only print the public half of the key that was made")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	fail := func(err error) int {
		fmt.Fprintf(stderr, "collector recovery-key: %v\n", err)
		return exitFailed
	}
	dir, err := dataDir(*data)
	if err != nil {
		return fail(err)
	}
	known, ok, err := restore.ReadPublic(filepath.Join(dir, keysDir))
	switch {
	case err != nil:
		return fail(err)
	case *show && !ok:
		return fail(fmt.Errorf("there is no recovery key yet in %s", dir))
	case *show:
		fmt.Fprintln(stdout, known.Verifier)
		return exitDone
	case ok:
		return fail(fmt.Errorf("there is a recovery key already: %s. A second one would not be believed by any machine", known.Verifier))
	}
	s, err := offlineSetup(*data, stderr)
	if err != nil {
		return fail(err)
	}
	p, err := openProfile(s.config.Profile)
	if err != nil {
		return fail(err)
	}
	key, err := restore.NewKey(p.District)
	if err != nil {
		return fail(err)
	}
	// It is printed first: a key that was recorded and not seen by anybody would be lost for ever.
	fmt.Fprintln(stdout, key.Text())
	err = withCenter(ctx, *data, stderr, func(dir string) error {
		return call(ctx, dir, http.MethodPost, pathRecovery, key.Public, new(struct{}))
	}, func(c *center) error { return c.setRecovery(ctx, key.Public) })
	if err != nil {
		return fail(fmt.Errorf("%w. The key above was NOT recorded: throw it away", err))
	}
	fmt.Fprintf(stderr, "This is the recovery key of district %s. It is shown once and kept nowhere: print it, lock it away in two places, and clear the screen.\n"+
		"It opens the keys in backups, and signs the log that comes after a restore. Its public half: %s\n", p.District, key.Public.Verifier)
	return exitDone
}

// readRecoveryKey reads the recovery key from a file, or from the terminal.
func readRecoveryKey(name string, stdin io.Reader) (*restore.PrivateKey, error) {
	if name == "" {
		return nil, nil
	}
	if name != "-" {
		text, err := durable.Read(name, 4<<10)
		if err != nil {
			return nil, fmt.Errorf("recovery key: %w", err)
		}
		return restore.ParseKey(string(text))
	}
	var b strings.Builder
	if _, err := io.Copy(&b, io.LimitReader(stdin, 4<<10)); err != nil {
		return nil, fmt.Errorf("recovery key: %w", err)
	}
	return restore.ParseKey(b.String())
}
