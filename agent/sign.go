package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"egovmon/agent/check/signature"
	"egovmon/agent/notes"
	"egovmon/agent/plan"
)

// runSign lets a person clear what keeps a check of the kind sign from trying a PIN. The running agent sees it at the
// check's next run: it reads its notes anew each time.
func runSign(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("sign reset CHECK", "After a token did not take its PIN, a check of the kind sign never tries it again by itself: a token is locked after\n"+
		"a few wrong ones. Once you know that the PIN is right, this lets the CHECK of that id try it once more. The token must\n"+
		"have been logged in to since by its own program, or it is still left alone.", stderr)
	data := fs.String("data", "", "data folder `DIR`")
	what, args := positional(args)
	id, args := positional(args)
	if ok, code := parse(fs, args, 0); !ok {
		return code
	}
	if what != "reset" || !plan.IsCheckID(id) {
		fmt.Fprintf(stderr, "agent sign: write agent sign reset CHECK, with the id of a check, e.g. ky_so.sign\n")
		return exitUsage
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "agent sign: %v\n", err)
		return exitUsage
	}
	if _, err := os.Stat(dir); err != nil {
		fmt.Fprintf(stderr, "agent sign: data folder: %v\n", err)
		return exitUsage
	}
	store := notes.New(filepath.Join(dir, notes.Folder), time.Now, slog.New(slog.NewTextHandler(stderr, nil)))
	token, stopped := signature.Stopped(store.Of(id, "sign"), store.Shared)
	if !stopped {
		fmt.Fprintf(stdout, "%s: nothing keeps its PIN from being tried\n", id)
		return exitDone
	}
	err = store.Forget(id)
	if err == nil && token != "" {
		err = store.ForgetShared(token)
	}
	if err != nil {
		fmt.Fprintf(stderr, "agent sign: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "%s: what was kept of it is forgotten; its PIN is tried once at the next run\n", id)
	return exitDone
}
