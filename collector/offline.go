package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	s, err := newSetup(data, "", stderr, false)
	if err != nil {
		return err
	}
	c, err := openCenter(ctx, s)
	if err != nil {
		return err
	}
	return errors.Join(work(c), c.close())
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
