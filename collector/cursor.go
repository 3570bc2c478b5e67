package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"egovmon/agent/durable"
)

// A cursor is the first leaf that a store which keeps no cursor of its own has not taken in. It is saved now and then,
// behind the truth: what is fed again does no harm there.
type cursor struct {
	path string

	mu    sync.Mutex
	next  int64 // where the feed is
	saved int64 // what is safe on disk: a value that next had at the save before
}

func openCursor(path string) (*cursor, error) {
	c := &cursor{path: path}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("cursor: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("cursor %s holds %q: delete it, and everything is fed again", path, b)
	}
	c.next, c.saved = n, n
	return c, nil
}

func (c *cursor) value() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

func (c *cursor) set(next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = max(c.next, next)
}

// save writes the value that the cursor had at the save before, which the store has had time to make durable.
func (c *cursor) save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.saved
	c.saved = c.next
	return durable.Replace(c.path, []byte(strconv.FormatInt(at, 10)+"\n"))
}
