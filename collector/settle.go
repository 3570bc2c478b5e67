package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/board"
	"egovmon/collector/evidence"
	"egovmon/collector/intake"
	"egovmon/collector/profile"
)

const (
	settleLook     = 100 * time.Millisecond
	settleQuiet    = time.Second      // from when enough were heard: a call is heard before it says what it has seen
	settleMachines = 2                // that must have been heard
	settleFor      = 15 * time.Second // at most, after a start like any other
	restoredFor    = 10 * time.Minute // at most, at the first start after a restore
	settleActive   = 24 * time.Hour   // a machine that sent something so lately is waited for
	settleClaim    = 10 * time.Second // for a machine that has seen more to show it
)

// A waiting is how long the log is held after a start, for machines to say what they have seen of it.
type waiting struct {
	machines int // that are to be heard
	most     time.Duration
}

// settling says whether the log is to be held. The state that this process has opened may be an older one, put back by a
// snapshot of the machine or by hand; whatever it signed then would contradict what machines hold. Only they can tell.
func (c *center) settling(own string) (w waiting, hold bool) {
	newest, active := time.Time{}, 0
	for _, st := range c.intake.Status() {
		if st.Machine != own && st.Received.After(newest) {
			newest = st.Received
		}
	}
	for _, st := range c.intake.Status() {
		if st.Machine != own && !st.Received.IsZero() && newest.Sub(st.Received) < settleActive {
			active++
		}
	}
	w = waiting{min(active, settleMachines), settleFor}
	if _, err := os.Stat(filepath.Join(c.dir, restoredFile)); err == nil {
		w = waiting{active, restoredFor}
	}
	return w, w.machines > 0
}

// settle lets the log go on once enough machines were heard and none has seen more of it than there is, or when the time
// is over.
func (c *center) settle(ctx context.Context, own string, w waiting) error {
	begun, started := time.Now(), c.now()
	var enough time.Time // since when enough machines were heard
	t := time.NewTicker(settleLook)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		heard := 0
		for _, st := range c.intake.Status() {
			if st.Machine != own && st.Contact.After(started) {
				heard++
			}
		}
		if heard >= w.machines && enough.IsZero() {
			enough = time.Now()
		}
		quiet := !enough.IsZero() && time.Since(enough) > settleQuiet || time.Since(begun) > w.most
		claimed := !c.intake.Claimed().IsZero() && time.Since(c.intake.Claimed()) < settleClaim
		if _, over := c.store.Overtaken(); !over && (claimed || !quiet) {
			continue
		}
		c.store.Release()
		err := os.Remove(filepath.Join(c.dir, restoredFile))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			c.log.Warn("the mark of a restore cannot be removed", "err", err)
		}
		c.log.Info("the log goes on", "heard", heard, "of", w.machines)
		return nil
	}
}

// unlessOvertaken passes over that nothing more can be recorded: the collector shows what it has, and says what to do.
func (c *center) unlessOvertaken(err error) error {
	if errors.Is(err, evidence.ErrOvertaken) {
		c.log.Error("nothing is recorded any more", "err", err)
		return nil
	}
	return err
}

// logNotices are what the operator must know of the log.
func (c *center) logNotices() []board.Name {
	seen, over := c.store.Overtaken()
	if !over {
		return slices.Concat(splitNotices(c.cosigned.Splits()), archiveNotices(c.intake.Archive()), c.watcherNotices())
	}
	size := c.store.Size()
	return []board.Name{said("notice.overtaken", size, seen.N)}
}

// splitNotices say that somebody has signed what is no beginning of the log: two histories were shown, or it was rewritten.
func splitNotices(n int64) []board.Name {
	if n == 0 {
		return nil
	}
	return []board.Name{said("notice.split", n)}
}

// archiveNotices say since when nothing can be archived. Why is for the log of the program: it names files.
func archiveNotices(a intake.Archive) []board.Name {
	if a.Failing.IsZero() {
		return nil
	}
	since := a.Failing.In(profile.Zone()).Format("15:04 02/01/2006")
	return []board.Name{said("notice.archive", since)}
}

// said is a text of the catalogue in both languages.
func said(key string, args ...any) board.Name {
	return board.Name{VI: words.Say(words.VI, key, args...), EN: words.Say(words.EN, key, args...)}
}

// unread are the errors of what books of the log could not read.
func (c *center) unread() (all []error) {
	for _, b := range []struct {
		mu   *sync.Mutex
		book interface{ Unreadable() []error }
	}{{&c.notices.mu, &c.notices.book}, {&c.confirmed.mu, &c.confirmed.book}, {&c.layers.mu, &c.layers.fold}, {&c.holders.mu, &c.holders.register}} {
		b.mu.Lock()
		all = append(all, b.book.Unreadable()...)
		b.mu.Unlock()
	}
	return all
}

// unreadNotices say how many entries of the log this version cannot read, and which is the first: figures are without them.
func unreadNotices(errs []error) []board.Name {
	if len(errs) == 0 {
		return nil
	}
	return []board.Name{said("notice.unread", len(errs), fmt.Sprintf("%.300s", errs[0]))}
}
