package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"egovmon/agent/check/kinds"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/history/index"
	"egovmon/collector/intake"
)

// errHistory says that the history is not what the evidence gives.
var errHistory = errors.New("the history is not what the evidence gives: `collector rebuild` makes it again")

// checkHistory makes the history again in a file of its own, from the leaves that the live one has taken in, and compares
// every run of both, byte for byte. Nothing is replaced.
func checkHistory(ctx context.Context, s setup, dump string, stdout, progress io.Writer) (err error) {
	if _, err := os.Stat(filepath.Join(s.dir, evidenceDir)); err != nil {
		return fmt.Errorf("there is no evidence in %s: name the state folder with --data DIR", s.dir)
	}
	store, err := openEvidence(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	live, err := index.Open(filepath.Join(s.dir, indexFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, live.Close()) }()
	next, err := live.Cursor(ctx)
	if err != nil {
		return err
	}
	if next > store.Size() {
		return fmt.Errorf("the history has taken %d leaves, the log has %d, as after a restore: %w", next, store.Size(), errHistory)
	}
	dir, err := os.MkdirTemp(s.dir, "check-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	again, err := index.Open(filepath.Join(dir, indexFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	if err := deriveHistory(ctx, store, again, next, progress); err != nil {
		return err
	}
	a, err := dumpTo(ctx, live, filepath.Join(dir, "live"))
	if err != nil {
		return err
	}
	b, err := dumpTo(ctx, again, filepath.Join(dir, "again"))
	if err != nil {
		return err
	}
	if dump != "" {
		if err := os.Rename(b.name, dump); err != nil {
			return err
		}
		b.name = dump
	}
	if a.sum != b.sum {
		return fmt.Errorf("%w: %s", errHistory, firstDifference(a.name, b.name))
	}
	_, err = fmt.Fprintf(stdout, "The evidence gives the same history: %d lines of the leaves up to %d, SHA-256 %s.\n", b.lines, next, b.sum)
	return err
}

// deriveHistory fills an index with what the leaves before next give.
func deriveHistory(ctx context.Context, store *evidence.Store, idx *index.Index, next int64, progress io.Writer) error {
	fold, err := intake.NewFold(kinds.Table(), store.Blob)
	if err != nil {
		return err
	}
	var held []history.Batch
	err = intake.Replay(ctx, store, fold, 0, func(a intake.Accepted) error {
		if a.Leaf >= next {
			return errEnough
		}
		if held = append(held, historyBatch(a)); len(held) < rebuildAtOnce {
			return nil
		}
		fmt.Fprintf(progress, "\rleaf %d of %d", a.Leaf+1, next)
		err := idx.Add(ctx, held...)
		held = held[:0]
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return errors.Join(err, idx.Add(ctx, held...))
}

// errEnough ends a replay before the end of the log.
var errEnough = errors.New("enough")

// A dumped index is its canonical text in a file.
type dumped struct {
	name, sum string
	lines     int
}

func dumpTo(ctx context.Context, x *index.Index, name string) (d dumped, err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return d, err
	}
	w := &lineCounter{sum: sha256.New()}
	err = x.Dump(ctx, io.MultiWriter(f, w))
	return dumped{name, hex.EncodeToString(w.sum.Sum(nil)), w.lines}, errors.Join(err, f.Close())
}

type lineCounter struct {
	sum   hash.Hash
	lines int
}

func (c *lineCounter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' {
			c.lines++
		}
	}
	return c.sum.Write(p)
}

// firstDifference names the first line in which two dumps differ.
func firstDifference(live, again string) string {
	a, err1 := os.Open(live)
	b, err2 := os.Open(again)
	if err := errors.Join(err1, err2); err != nil {
		return err.Error()
	}
	defer a.Close()
	defer b.Close()
	x, y := bufio.NewScanner(a), bufio.NewScanner(b)
	x.Buffer(nil, 1<<20)
	y.Buffer(nil, 1<<20)
	for n := 1; ; n++ {
		okX, okY := x.Scan(), y.Scan()
		if !okX && !okY {
			return "no line of theirs is longer than this program reads"
		}
		if okX != okY || x.Text() != y.Text() {
			return fmt.Sprintf("line %d is %.200q in the history and %.200q by the evidence", n, x.Text(), y.Text())
		}
	}
}
