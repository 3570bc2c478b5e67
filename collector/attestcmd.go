package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"egovmon/collector/access"
	"egovmon/collector/attest"
)

// maxDocument is the largest document that a command hands over.
const maxDocument = 64 << 20

// An attestRequest is a form with its document.
type attestRequest struct {
	Form     attest.Form `json:"form"`
	Document []byte      `json:"document,omitempty"`
}

// An attestAnswer says what was recorded.
type attestAnswer struct {
	Leaf    int64  `json:"leaf"`
	SHA256  string `json:"sha256,omitempty"`
	Stored  bool   `json:"stored"`
	ValidTo string `json:"valid_to,omitempty"`
}

// attest records that a document proves a control.
func (c *center) attest(ctx context.Context, req attestRequest, by string) (attestAnswer, error) {
	p, now := c.district(), c.now()
	a, err := attest.New(req.Form, attest.Setting{Controls: attest.Controls(p.LawAt(now), now), By: by, Now: now,
		Unit: func(id string) bool { _, ok := p.Unit(id); return ok }})
	if err != nil {
		return attestAnswer{}, err
	}
	var document io.Reader
	if len(req.Document) > 0 {
		document = bytes.NewReader(req.Document)
	}
	if a, err = attest.Add(ctx, c.store, a, document); err != nil {
		return attestAnswer{}, err
	}
	out := attestAnswer{Leaf: a.Leaf, Stored: a.Stored, ValidTo: a.ValidTo.String()}
	if a.Document.Size > 0 {
		out.SHA256 = fmt.Sprintf("%x", a.Document.SHA256)
	}
	return out, nil
}

func (c *center) attestHandler(w http.ResponseWriter, r *http.Request) {
	var req attestRequest
	if !readRequest(w, r, maxDocument*3/2, &req) {
		return
	}
	if unit := access.Of(r.Context()).Unit; unit != "" && unit != req.Form.Unit {
		http.Error(w, "You enter documents of unit "+unit+" alone.", http.StatusForbidden)
		return
	}
	a, err := c.attest(r.Context(), req, access.User(r.Context()))
	answer(w, a, err)
}

func runAttest(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newCommand("attest", "Records that a document proves a control that cannot be measured. The document goes into the log, whole or, above\n"+
		"64 MiB, as its hash.", "write one JSON object", stdout, stderr)
	file := fs.String("file", "", "the document, a `FILE`")
	var req attestRequest
	req.Form.Flags(fs.FlagSet)
	if ok, code := parse(fs.FlagSet, args); !ok {
		return code
	}
	if *file != "" {
		st, err := os.Stat(*file)
		if err == nil && st.Size() > maxDocument {
			err = fmt.Errorf("%s has %d bytes: a document has at most %d here; give its hash with --sha256 and --size instead", *file, st.Size(), maxDocument)
		}
		if err == nil {
			req.Document, err = os.ReadFile(*file)
		}
		if err != nil {
			return fs.fail(exitUsage, err)
		}
	}
	return consult(ctx, fs, pathAttest, req, func(c *center) (attestAnswer, error) { return c.attest(ctx, req, access.Program) }, func(a attestAnswer) int {
		fmt.Fprintf(stdout, "Recorded as leaf %d of the log", a.Leaf)
		if a.SHA256 != "" {
			fmt.Fprintf(stdout, ", SHA-256 %s", a.SHA256)
		}
		if a.ValidTo != "" {
			fmt.Fprintf(stdout, ", in force until %s", a.ValidTo)
		}
		fmt.Fprintln(stdout, ".")
		return exitDone
	})
}
