package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"egovmon/agent/durable"
)

// withCenter asks the collector that runs on the state folder; where none runs, it opens the folder and works on it.
func withCenter(ctx context.Context, data string, stderr io.Writer, ask func(dir string) error, work func(*center) error) error {
	dir, err := dataDir(data)
	if err != nil {
		return err
	}
	if err := ask(dir); !errors.Is(err, errNotRunning) {
		return err
	}
	s, err := offlineSetup(data, stderr)
	if err != nil {
		return err
	}
	c, err := openCenter(ctx, s)
	if err != nil {
		return err
	}
	if err = c.catchUp(ctx); err == nil {
		err = work(c)
	}
	return errors.Join(err, c.close())
}

// catchUp brings into history and series what the log holds and a kill, or a rebuild that was broken off, kept out.
func (c *center) catchUp(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.intake.Run(ctx) })
	g.Go(func() error {
		defer stop()
		return c.intake.Flush(ctx)
	})
	return g.Wait()
}

// offlineSetup is the setup of a command that works on the state folder itself: with the profile that the collector had
// when it ran last, so that its figures are the same and no other profile gets into the log.
func offlineSetup(data string, stderr io.Writer) (setup, error) {
	s, err := newSetup(data, "", stderr, false)
	if err != nil {
		return s, err
	}
	if last, ok, err := readLast(s.dir); err != nil {
		return s, err
	} else if ok {
		s.config.Profile = last.Profile
	}
	return s, nil
}

// lastFile holds what the collector of a state folder ran with last.
const lastFile = "last.json"

// A lastRun is what offline commands cannot see otherwise, because it may have been said by a flag.
type lastRun struct {
	Profile string `json:"profile"` // absolute folder; "" is the sample in the program
}

func readLast(dir string) (l lastRun, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, lastFile))
	if errors.Is(err, fs.ErrNotExist) {
		return l, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		return l, false, fmt.Errorf("what the collector ran with last: %s: %w; start it once, which writes the file again", filepath.Join(dir, lastFile), err)
	}
	return l, true, nil
}

// keepLast writes down the profile in use, and says so when it is another one than at the last run.
func (s setup) keepLast() error {
	if last, ok, err := readLast(s.dir); err == nil && ok && last.Profile != s.config.Profile {
		name := func(p string) string { return cmp.Or(p, "the sample in the program") }
		s.log.Warn("the profile is another one than at the last run: name the one to use with --profile, or as `profile` in collector.yaml",
			"was", name(last.Profile), "is", name(s.config.Profile))
	}
	b, err := json.Marshal(lastRun{Profile: s.config.Profile})
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(s.dir, lastFile), b)
}

func printJSON(stdout, stderr io.Writer, v any) int {
	e := json.NewEncoder(stdout)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		fmt.Fprintf(stderr, "collector: %v\n", err)
		return exitFailed
	}
	return exitDone
}
