package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"egovmon/agent/check/kinds"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/history/index"
	"egovmon/collector/intake"
	"egovmon/collector/series"
)

func runRebuild(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("rebuild", "Makes history and series again from the evidence, which is the only truth. It refuses while the collector runs.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	check := fs.Bool("check", false, "replace nothing: make the history again beside the one there is, and compare every run of both")
	dump := fs.String("dump", "", "with --check: `FILE` for every run of the history made again, sorted, as text")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	s, err := offlineSetup(*data, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "collector rebuild: %v\n", err)
		return exitUsage
	}
	if *check {
		err = checkHistory(ctx, s, *dump, stdout, stderr)
	} else {
		err = rebuild(ctx, s, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector rebuild: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// rebuildAtOnce is how many batches go into the index in one transaction.
const rebuildAtOnce = 200

// rebuild throws away what is derived and derives it again.
func rebuild(ctx context.Context, s setup, progress io.Writer) (err error) {
	if _, err := os.Stat(filepath.Join(s.dir, evidenceDir)); err != nil {
		return fmt.Errorf("there is no evidence in %s: name the state folder with --data DIR", s.dir)
	}
	store, err := openEvidence(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	seriesPath, indexPath := filepath.Join(s.dir, seriesDir), filepath.Join(s.dir, indexFile)
	if err := index.Remove(indexPath); err != nil {
		return err
	}
	if err := series.Wipe(seriesPath); err != nil {
		return err
	}
	for _, name := range []string{filepath.Join(seriesPath, "cursor"), filepath.Join(seriesPath, "rolled")} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	idx, err := index.Open(indexPath)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, idx.Close()) }()
	db, err := series.Open(series.Options{Dir: seriesPath, Retention: s.config.Series.Retention, MaxBytes: s.config.Series.MaxBytes, Logger: s.log, Now: s.now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	fold, err := intake.NewFold(kinds.Table(), store.Blob)
	if err != nil {
		return err
	}
	var held []history.Batch
	batches, results := 0, 0
	flush := func() error {
		err := idx.Add(ctx, held...)
		held = held[:0]
		return err
	}
	err = intake.Replay(ctx, store, fold, 0, func(a intake.Accepted) error {
		batches++
		points := seriesPoints(a)
		results += len(points)
		if _, _, err := db.AddPoints(ctx, points); err != nil {
			return err
		}
		if held = append(held, historyBatch(a)); len(held) < rebuildAtOnce {
			return nil
		}
		fmt.Fprintf(progress, "\r%d batches, %d results, leaf %d of %d", batches, results, a.Leaf+1, store.Size())
		return flush()
	})
	if err = errors.Join(err, flush()); err != nil {
		return err
	}
	c := &cursor{path: filepath.Join(seriesPath, "cursor"), next: store.Size(), saved: store.Size()}
	if err := errors.Join(db.Sweep(ctx), c.save()); err != nil {
		return err
	}
	fmt.Fprintf(progress, "\r%d batches and %d results of %d leaves are in history and series again.\n", batches, results, store.Size())
	return nil
}

// openEvidence opens the log. Its lock keeps a running collector out.
func openEvidence(s setup) (*evidence.Store, error) {
	p, err := openProfile(s.config.Profile)
	if err != nil {
		return nil, err
	}
	keys, err := s.openKeys(p.District)
	if err != nil {
		return nil, err
	}
	verifier, err := keys.LogVerifier()
	if err != nil {
		return nil, err
	}
	return evidence.Open(evidence.Options{Dir: filepath.Join(s.dir, evidenceDir), Origin: keys.LogSigner.Name(), Signer: keys.LogSigner, Verifier: verifier, Logger: s.log})
}
