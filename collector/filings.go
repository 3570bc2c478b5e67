package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"egovmon/collector/access"
)

// A keptBook holds what leaves of the log say, read as the log grows.
type keptBook[L, D any] interface {
	Update(log L) error
	All() []D
}

// readBook brings a book up to the log, and lists what it holds.
func readBook[L, D any](mu *sync.Mutex, b keptBook[L, D], log L) ([]D, error) {
	mu.Lock()
	defer mu.Unlock()
	if err := b.Update(log); err != nil {
		return nil, err
	}
	return b.All(), nil
}

// ofLeaf finds the document that somebody names by its leaf. Who is bound to a unit reaches those of that unit alone.
func ofLeaf[D any](list []D, leaf int64, unit string, at func(d D) (leaf int64, unit string), what string) (d D, err error) {
	i := slices.IndexFunc(list, func(d D) bool { l, _ := at(d); return l == leaf })
	if i < 0 {
		return d, fmt.Errorf("leaf %d is no %s list` shows them", leaf, what)
	}
	if _, u := at(list[i]); unit != "" && u != unit {
		return d, errForeign
	}
	return list[i], nil
}

// entersDocuments names who may enter documents, and the only unit of which, "" for every one: people, never programs.
func entersDocuments(ctx context.Context) (name, unit string) {
	if w := access.Of(ctx); w.Person && w.May(access.ScopeAttest) {
		return w.Name, w.Unit
	}
	return "", ""
}

// change answers a request of at most so many bytes that changes documents. foreign is what who acts for another unit is told.
func change[Q, A any](w http.ResponseWriter, r *http.Request, most int64, foreign string, do func(req Q) (A, error)) {
	var req Q
	if !readRequest(w, r, most, &req) {
		return
	}
	a, err := do(req)
	if errors.Is(err, errForeign) || errors.Is(err, errForeignCerts) {
		http.Error(w, foreign, http.StatusForbidden)
		return
	}
	answer(w, a, err)
}

// readRequest reads a request of at most so many bytes; one that cannot be read is answered. A key that is none of the
// request's and anything behind the object are errors: who misspells an option is told so, rather than getting something else.
func readRequest[Q any](w http.ResponseWriter, r *http.Request, most int64, req *Q) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	err := d.Decode(req)
	if err == nil {
		if _, more := d.Token(); more == nil {
			err = errors.New("something stands behind the object")
		} else if !errors.Is(more, io.EOF) {
			err = more
		}
	}
	if err != nil {
		answer(w, nil, fmt.Errorf("the request cannot be read: %w", err))
	}
	return err == nil
}

// A subcommand works on the state folder, through the collector that runs on it or without one.
type subcommand struct {
	*flag.FlagSet
	name           string
	data           *string
	asJSON         *bool
	stdout, stderr io.Writer
}

// newCommand makes a subcommand with the options that all of them have.
func newCommand(name, about, asJSON string, stdout, stderr io.Writer) subcommand {
	fs := newFlags(name, about, stderr)
	return subcommand{fs, name, fs.String("data", "", "folder of the state `DIR`"), fs.Bool("json", false, asJSON), stdout, stderr}
}

// fail says what is wrong, and returns the exit code.
func (c subcommand) fail(code int, err error) int {
	fmt.Fprintf(c.stderr, "collector %s: %v\n", c.name, err)
	return code
}

// deed reads the names of a command line: what to do, or without any first, and what to do it with.
func (c subcommand) deed(args []string, most int, first string) (do string, with []string, ok bool, code int) {
	names, ok, code := parseNamed(c.FlagSet, args, most)
	if len(names) == 0 {
		return first, nil, ok, code
	}
	return names[0], names[1:], ok, code
}

// leaf reads a leaf that was named; word shows those that there are.
func (c subcommand) leaf(s, word string) (*int64, error) {
	leaf, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%.40q is no leaf; `collector %s %s` shows them", s, c.name, word)
	}
	return &leaf, nil
}

// consult asks the collector that runs on the state folder, with a request where there is one, or does the work without
// one, and shows what came of it.
func consult[A any](ctx context.Context, c subcommand, path string, req any, work func(*center) (A, error), print func(A) int) int {
	a, err := atCenter(ctx, *c.data, c.stderr, path, req, work)
	switch {
	case err != nil:
		return c.fail(exitFailed, err)
	case *c.asJSON:
		return printJSON(c.stdout, c.stderr, a)
	}
	return print(a)
}

// atCenter asks the collector that runs on a state folder, with a request where there is one, or does the work without one.
func atCenter[A any](ctx context.Context, data string, stderr io.Writer, path string, req any, work func(*center) (A, error)) (a A, err error) {
	method := http.MethodPost
	if req == nil {
		method = http.MethodGet
	}
	err = withCenter(ctx, data, stderr, func(dir string) error { return call(ctx, dir, method, path, req, &a) }, func(c *center) (err error) {
		a, err = work(c)
		return err
	})
	return a, err
}
