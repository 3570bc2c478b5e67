package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"egovmon/agent/check/kinds"
	"egovmon/agent/durable"
	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/audit"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
	"egovmon/collector/report"
	"egovmon/collector/retention"
)

const (
	pathRetention = "/api/local/retention"
	exportsDir    = "exports" // of periods whose year reports were issued
	longest       = 300 * 24 * time.Hour
)

// A retentionRequest asks what is due; Remove removes it, Erase one paper or certificate.
type retentionRequest struct {
	Remove bool   `json:"remove,omitempty"`
	Erase  *int64 `json:"erase,omitempty"`
	Why    string `json:"why,omitempty"` // of an erasure
}

// A retentionAnswer is what is kept, what is due, and what was removed.
type retentionAnswer struct {
	Space     retention.Space `json:"space"`
	Due       retention.Found `json:"due"`
	Tombstone int64           `json:"tombstone"` // leaf; -1 when nothing was removed
	Exports   []string        `json:"exports"`   // files that prove what was issued of years
}

// policy says how long bodies are kept here.
func (c *center) policy() (retention.Policy, error) {
	return c.config.Retention.Policy(profile.ParseDays)
}

// retention does what a request asks for.
func (c *center) retention(ctx context.Context, req retentionRequest, by string) (retentionAnswer, error) {
	a := retentionAnswer{Tombstone: -1, Exports: []string{}}
	p, err := c.policy()
	if err != nil {
		return a, err
	}
	if a.Due, err = retention.Find(ctx, c.store, kinds.Table(), p, c.now()); err != nil {
		return a, err
	}
	switch {
	case req.Erase != nil:
		if a.Tombstone, err = c.erasePiece(ctx, *req.Erase, req.Why, by); err != nil {
			return a, err
		}
	case req.Remove && a.Due.Bodies > 0:
		issued, err := c.desk.Issued()
		if err != nil {
			return a, err
		}
		for _, i := range issued { // before anything goes, what proves them is there
			if err := c.keepExport(ctx, i.Scope); err != nil {
				return a, err
			}
		}
		a.Tombstone, err = c.store.Remove(ctx, evidence.Removal{At: c.now(), By: by, Piece: evidence.BodyPiece, Leaves: evidence.Runs(a.Due.Leaves),
			Why: fmt.Sprintf("bodies of batches are kept for %d months", max(c.config.Retention.Months, retention.Months))})
		if err != nil {
			return a, err
		}
	}
	if a.Space, err = retention.Measure(c.store, p, c.now()); err != nil {
		return a, err
	}
	names, err := filepath.Glob(filepath.Join(c.dir, exportsDir, "*.zip"))
	a.Exports = append(a.Exports, names...)
	return a, err
}

// erasePiece removes the paper or certificate of one leaf, for the sake of a person whom it names.
func (c *center) erasePiece(ctx context.Context, leaf int64, why, by string) (int64, error) {
	if why == "" {
		return -1, errors.New("say why with --why: the tombstone holds it for ever")
	}
	l, err := c.store.Leaf(leaf)
	if err != nil {
		return -1, err
	}
	piece := evidence.BlobPiece
	if l.Type() == evidence.Certificate {
		piece = evidence.BodyPiece
	}
	if l.Type() == evidence.Batch {
		return -1, fmt.Errorf("leaf %d is a batch: its body is removed when its time is up, with all others", leaf)
	}
	return c.store.Remove(ctx, evidence.Removal{At: c.now(), By: by, Why: why, Piece: piece, Leaves: evidence.Runs([]int64{leaf})})
}

// keepExport keeps the export that proves an issued report of a year, unless it is there.
func (c *center) keepExport(ctx context.Context, s report.Scope) error {
	from, to, err := profile.ParsePeriod(s.Period, s.Calendar)
	if err != nil || to.Sub(from) < longest {
		return err
	}
	whole := report.Scope{Period: s.Period, Calendar: s.Calendar} // one export proves the reports of units and services, too
	path := filepath.Join(c.dir, exportsDir, whole.ID()+".zip")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = audit.Export(ctx, c.store, audit.ExportOptions{From: from, To: to, Key: c.keys.LogKey, Kinds: kinds.Table()}, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("the export of %s cannot be kept: %w", whole.ID(), err), os.Remove(path+".part"))
	}
	return durable.Rename(path+".part", path)
}

func (c *center) retentionHandler(w http.ResponseWriter, r *http.Request) {
	var req retentionRequest
	if !readRequest(w, r, 64<<10, &req) {
		return
	}
	a, err := c.retention(r.Context(), req, access.User(r.Context()))
	answer(w, a, err)
}

func runRetention(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("retention", "Shows how much the log holds, how fast it grows and what is due: bodies of batches after 25 months (retention in collector.yaml).\n"+
		"Leaves, headers, incidents, attestations and reports stay for ever. A tombstone in the log says what was removed, and by whom.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	asJSON := fs.Bool("json", false, "write one JSON object")
	lang := fs.String("lang", "vi", "language: vi or en")
	var req retentionRequest
	fs.BoolVar(&req.Remove, "remove", false, "remove what is due, for ever")
	erase := fs.Int64("erase", -1, "remove the paper or the certificate of one `LEAF`, for the sake of a person whom it names; --why says why")
	fs.StringVar(&req.Why, "why", "", "of an erasure: why, `TEXT`")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if *erase >= 0 {
		req.Erase = erase
	}
	var a retentionAnswer
	err := withCenter(ctx, *data, stderr, func(dir string) error {
		return call(ctx, dir, http.MethodPost, pathRetention, req, &a)
	}, func(c *center) (err error) {
		a, err = c.retention(ctx, req, access.Operator)
		return err
	})
	if err != nil {
		fmt.Fprintf(stderr, "collector retention: %v\n", err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, a)
	}
	l := words.ParseLang(*lang)
	num := func(n int64) string { return words.Number(l, n) }
	fmt.Fprintln(stdout, words.Say(l, "retention.space", num(a.Space.Leaves), num(a.Space.Forever), num(a.Space.Bodies)))
	fmt.Fprintln(stdout, words.Say(l, "retention.forecast", num(a.Space.ForeverYear), num(a.Space.BodiesYear), num(a.Space.InAYear), num(a.Space.Most)))
	fmt.Fprintln(stdout, words.Say(l, "retention.due", num(int64(a.Due.Bodies)), num(a.Due.Bytes)))
	if a.Tombstone >= 0 {
		fmt.Fprintln(stdout, words.Say(l, "retention.removed", num(a.Tombstone)))
	}
	for _, e := range a.Exports {
		fmt.Fprintln(stdout, words.Say(l, "retention.export", e))
	}
	return exitDone
}
