package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/confirm"
	"egovmon/collector/filing"
)

const pathConfirm = "/api/local/confirmations"

// confirmed keeps what people confirmed, read from the log as it grows.
type confirmed struct {
	mu   sync.Mutex
	book confirm.Book
}

// confirmations lists every confirmation of the log.
func (c *center) confirmations() ([]confirm.Word, error) {
	return readBook[filing.Reader, confirm.Word](&c.confirmed.mu, &c.confirmed.book, c.store)
}

// A confirmRequest is what people do with confirmations; exactly one of Add and Withdraw is set.
type confirmRequest struct {
	Add      *confirm.Form `json:"add,omitempty"`
	Document []byte        `json:"document,omitempty"` // of the one that is added
	Withdraw *int64        `json:"withdraw,omitempty"` // the confirmation's leaf
	Note     string        `json:"note,omitempty"`     // of a withdrawal: why
}

// A confirmation is one as it is shown.
type confirmation struct {
	Leaf      int64     `json:"leaf"`
	Service   string    `json:"service"`
	Unit      string    `json:"unit,omitempty"`
	State     string    `json:"state"`
	From      time.Time `json:"from"`
	ValidTo   string    `json:"valid_to"`
	Number    string    `json:"number"`
	Issued    string    `json:"issued"`
	Issuer    string    `json:"issuer"`
	Note      string    `json:"note,omitempty"`
	Document  string    `json:"document,omitempty"` // SHA-256 and size
	EnteredBy string    `json:"entered_by"`
	EnteredAt time.Time `json:"entered_at"`
	Withdrawn bool      `json:"withdrawn,omitempty"`
	Expired   bool      `json:"expired,omitempty"`
}

func confirmationOf(w *confirm.Word, now time.Time) confirmation {
	out := confirmation{Leaf: w.Leaf, Service: w.Service, Unit: w.Unit, State: w.State.String(), From: w.From, ValidTo: w.ValidTo.String(), Number: w.Number, Issued: w.Issued.String(),
		Issuer: w.Issuer, Note: w.Note, EnteredBy: w.EnteredBy, EnteredAt: w.EnteredAt, Withdrawn: w.Withdrawn, Expired: !now.Before(w.End())}
	if w.Document.Size > 0 {
		out.Document = w.Document.String()
	}
	return out
}

// confirm does what a request asks for, and returns the confirmation that it concerned. who is bound to a unit, or to none.
func (c *center) confirm(ctx context.Context, req confirmRequest, by, unit string) ([]confirmation, error) {
	now := c.now()
	var w confirm.Word
	switch {
	case req.Withdraw != nil:
		list, err := c.confirmations()
		if err != nil {
			return nil, err
		}
		if w, err = ofLeaf(list, *req.Withdraw, unit, func(w confirm.Word) (int64, string) { return w.Leaf, w.Unit }, "confirmation; `collector confirm"); err != nil {
			return nil, err
		}
		if err := confirm.Withdraw(ctx, c.store, w, by, req.Note, now); err != nil {
			return nil, err
		}
		w.Withdrawn, w.WithdrawnBy = true, by
	case req.Add != nil:
		if unit != "" && req.Add.Unit != unit {
			return nil, errForeign
		}
		var err error
		if w, err = confirm.New(*req.Add, confirm.Setting{Profile: c.district(), By: by, Now: now}); err != nil {
			return nil, err
		}
		if w, err = confirm.Add(ctx, c.store, w, req.Document); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("there is no confirmation in it")
	}
	return []confirmation{confirmationOf(&w, now)}, nil
}

// allConfirmations lists them as they are shown, the latest first.
func (c *center) allConfirmations() ([]confirmation, error) {
	list, err := c.confirmations()
	out := []confirmation{}
	for _, w := range slices.Backward(list) {
		out = append(out, confirmationOf(&w, c.now()))
	}
	return out, err
}

func (c *center) confirmHandler(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		list, err := c.allConfirmations()
		answer(w, list, err)
		return
	}
	change(w, r, filing.MaxDocument*3/2, "You confirm for your own unit alone.", func(req confirmRequest) ([]confirmation, error) {
		return c.confirm(r.Context(), req, access.User(r.Context()), access.Of(r.Context()).Unit)
	})
}

func runConfirm(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newCommand("confirm", "What documents say of services that nothing can measure (kind attested): `confirm list`, `confirm add` with the document's data,\n"+
		"`confirm withdraw LEAF` with the reason. A confirmation counts until its last day; afterwards the service is not known.", "write JSON", stdout, stderr)
	lang := fs.String("lang", "vi", "language: vi or en")
	document := fs.String("document", "", "add: the document itself, a `FILE` of at most 16 MiB")
	var form confirm.Form
	fs.StringVar(&form.Service, "service", "", "add: the service's `ID`")
	fs.StringVar(&form.Unit, "unit", "", "add: the only unit that it is about, an `ID`; without it every one")
	fs.StringVar(&form.State, "state", "", "add: up, degraded or down")
	fs.StringVar(&form.From, "from", "", "add: since when it is so, a `TIME` in Vietnam, \"YYYY-MM-DD HH:MM\"; without it from now on")
	fs.StringVar(&form.ValidTo, "valid-to", "", "add: the last day on which it counts, `YYYY-MM-DD`")
	fs.StringVar(&form.Number, "number", "", "add: `NUMBER` and symbol of the document")
	fs.StringVar(&form.Issued, "issued", "", "add: its day of issue, `YYYY-MM-DD`")
	fs.StringVar(&form.Issuer, "issuer", "", "add: `WHO` issued it")
	fs.StringVar(&form.Note, "note", "", "a remark; withdraw: `WHY`")
	word, rest, ok, code := fs.deed(args, 2, "list")
	if !ok {
		return code
	}
	var req any
	switch add := (confirmRequest{Add: &form}); {
	case word == "list" && len(rest) == 0:
	case word == "add" && len(rest) == 0:
		if *document != "" {
			var err error
			if add.Document, err = readBounded(*document, filing.MaxDocument); err != nil {
				return fs.fail(exitUsage, err)
			}
		}
		req = add
	case word == "withdraw" && len(rest) == 1:
		leaf, err := fs.leaf(rest[0], "list")
		if err != nil {
			return fs.fail(exitUsage, err)
		}
		req = confirmRequest{Withdraw: leaf, Note: form.Note}
	default:
		return fs.fail(exitUsage, errors.New("write list, add or withdraw LEAF"))
	}
	return consult(ctx, fs, pathConfirm, req, func(c *center) ([]confirmation, error) {
		if req, ok := req.(confirmRequest); ok {
			return c.confirm(ctx, req, access.Program, "")
		}
		return c.allConfirmations()
	}, func(list []confirmation) int { return printConfirmations(stdout, list, words.ParseLang(*lang)) })
}

// stateWord is the state that a word names.
func stateWord(word string) check.State {
	for _, s := range []check.State{check.Up, check.Degraded, check.Down} {
		if s.String() == word {
			return s
		}
	}
	return check.Unknown
}

func printConfirmations(w io.Writer, list []confirmation, l words.Lang) int {
	if len(list) == 0 {
		fmt.Fprintln(w, words.Say(l, "confirm.none"))
		return exitDone
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, words.Say(l, "confirm.head"))
	for _, s := range list {
		standing := "confirm.counts"
		switch {
		case s.Withdrawn:
			standing = "confirm.withdrawn"
		case s.Expired:
			standing = "confirm.expired"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Leaf, strings.TrimSpace(s.Service+" "+s.Unit), words.State(l, stateWord(s.State)), words.DateTime(l, s.From), s.ValidTo, s.Number, words.Say(l, standing))
	}
	if t.Flush() != nil {
		return exitFailed
	}
	return exitDone
}

// A confirmer lets the board show and change what documents say.
type confirmer struct{ c *center }

// Confirms names who may enter confirmations.
func (a confirmer) Confirms(ctx context.Context) (name, unit string) { return entersDocuments(ctx) }

// Confirmations lists them in the order of the log.
func (a confirmer) Confirmations() ([]confirm.Word, error) { return a.c.confirmations() }

// Confirm enters one.
func (a confirmer) Confirm(ctx context.Context, by, unit string, f confirm.Form, document []byte) error {
	_, err := a.c.confirm(ctx, confirmRequest{Add: &f, Document: document}, by, unit)
	return err
}

// TakeBack takes one back.
func (a confirmer) TakeBack(ctx context.Context, by, unit string, leaf int64, note string) error {
	_, err := a.c.confirm(ctx, confirmRequest{Withdraw: &leaf, Note: note}, by, unit)
	return err
}
