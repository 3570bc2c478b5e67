package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"egovmon/agent/check/kinds"
	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/audit"
	"egovmon/collector/board"
	"egovmon/collector/cosign"
)

// prover is the board's page of proofs.
type prover struct {
	c    *center
	most int64 // bytes of an export
}

// may lets those through who may read figures of every unit.
func (a prover) may(ctx context.Context) error {
	if w := access.Of(ctx); !w.May(access.ScopeFigures) || w.Unit != "" {
		return board.ErrForbidden
	}
	return nil
}

// Standing tells how the log stands.
func (a prover) Standing(ctx context.Context) (board.Standing, error) {
	if err := a.may(ctx); err != nil {
		return board.Standing{}, err
	}
	t, round := a.c.store.Tree(), a.c.cosigned.Status()
	known, err := a.c.cosigned.Witnesses()
	if err != nil {
		return board.Standing{}, err
	}
	s := board.Standing{Origin: a.c.store.Origin(), Key: a.c.keys.LogKey, Size: t.N, Root: t.Hash.String(), Checkpoint: string(a.c.store.Checkpoint()),
		Round: round.Size, Begun: round.Begun, Every: cosign.Every, Stamping: a.c.stamper != nil}
	for _, name := range round.Expected {
		s.Signers = append(s.Signers, board.Signer{Name: name, At: round.Last[name]})
	}
	for _, k := range known {
		if !slices.ContainsFunc(s.Signers, func(x board.Signer) bool { return x.Name == k.Name() }) {
			s.Signers = append(s.Signers, board.Signer{Name: k.Name(), Ended: true})
		}
	}
	if s.Stamping {
		last := a.c.stamper.Status().Last
		s.Stamped, s.StampSize = last.At, last.Size
	}
	return s, nil
}

// Prove keeps an export in a file while it is proven, one at a time.
func (a prover) Prove(ctx context.Context, l words.Lang, key string, export io.Reader) (board.Proof, error) {
	if err := a.may(ctx); err != nil {
		return board.Proof{}, err
	}
	if !a.c.proving.TryLock() {
		return board.Proof{}, board.ErrProving
	}
	defer a.c.proving.Unlock()
	f, err := os.CreateTemp("", "egovmon-export-*.zip")
	if err != nil {
		return board.Proof{}, err
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(f, io.LimitReader(export, a.most+1))
	switch err = errors.Join(err, f.Close()); {
	case err != nil:
		return board.Proof{}, fmt.Errorf("it did not come whole: %w", err)
	case n > a.most:
		return board.Proof{}, board.ErrExportLarge
	}
	r, err := audit.Verify(ctx, f.Name(), audit.Options{Key: key, Kinds: kinds.Table(), Batch: historyBatch, Terms: termsAt})
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the name of our file
		}
		return board.Proof{}, err
	}
	var text strings.Builder
	err = r.Write(&text, l)
	return board.Proof{OK: r.OK(), Text: text.String()}, err
}
