package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// pathRevoke is for the subcommand of that name.
const pathRevoke = "/api/local/revoke"

// maxWhy bounds what is said of a revocation in the log, in bytes.
const maxWhy = 200

// A revokeRequest ends a machine's identity.
type revokeRequest struct {
	Machine string `json:"machine"`
	Why     string `json:"why"`
}

func (q revokeRequest) check() error {
	switch {
	case q.Machine == "":
		return fmt.Errorf("--machine NAME is missing")
	case strings.TrimSpace(q.Why) == "":
		return fmt.Errorf("--why TEXT is missing: it stands in the log for good")
	case len(q.Why) > maxWhy || !utf8.ValidString(q.Why) || strings.ContainsFunc(q.Why, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("--why: at most %d bytes on one line", maxWhy)
	}
	return nil
}

func (c *center) revoke(ctx context.Context, q revokeRequest) error {
	if err := q.check(); err != nil {
		return err
	}
	return c.registry.Revoke(ctx, q.Machine, q.Why)
}

func (c *center) revokeHandler(w http.ResponseWriter, r *http.Request) {
	var q revokeRequest
	if !readRequest(w, r, 4<<10, &q) {
		return
	}
	answer(w, struct{}{}, c.revoke(r.Context(), q))
}

func runRevoke(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("revoke", "Ends a machine's identity at once, also on connections that are open, and the tokens that were made for it: for one that was\n"+
		"lost or stolen. What it has measured stays. It comes back with a new token.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	machine := fs.String("machine", "", "the machine's `NAME`")
	why := fs.String("why", "", "the reason, a `TEXT` for the log")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	q := revokeRequest{*machine, *why}
	if err := q.check(); err != nil {
		fmt.Fprintf(stderr, "collector revoke: %v\n", err)
		return exitUsage
	}
	err := withCenter(ctx, *data, stderr, func(dir string) error {
		return call(ctx, dir, http.MethodPost, pathRevoke, q, new(struct{}))
	}, func(c *center) error { return c.revoke(ctx, q) })
	if err != nil {
		fmt.Fprintf(stderr, "collector revoke: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "The identity of %s has ended. It comes back with a new token: collector token --unit ID --machine %s\n", q.Machine, q.Machine)
	return exitDone
}
