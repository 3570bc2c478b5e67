package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v4"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/collector/confirm"
	"egovmon/collector/filing"
	"egovmon/collector/history"
	"egovmon/collector/profile"
	"egovmon/collector/suspend"
)

const pathSuspensions = "/api/local/suspensions"

const (
	maxNotices    = 200     // in one file
	maxNoticeFile = 1 << 20 // bytes
)

// suspended keeps what was announced, read from the log as it grows.
type suspended struct {
	mu   sync.Mutex
	book suspend.Book
}

// suspensions lists every notice of the log.
func (c *center) suspensions() ([]suspend.Notice, error) {
	return readBook[filing.Reader, suspend.Notice](&c.notices.mu, &c.notices.book, c.store)
}

// held lists what is or was announced not to work, for those who tell people.
func (c *center) held() []suspend.Notice {
	list, err := c.suspensions()
	if err != nil {
		c.log.Error("announced suspensions cannot be read; alerts are not held", "err", err)
	}
	return list
}

// catalogue is what the accounts are worked out from: the terms of the profile, what was announced, and what people confirmed.
func (c *center) catalogue(p *profile.Profile, from, to time.Time) (history.Catalogue, error) {
	list, err := c.suspensions()
	cat := suspend.Apply(catalogue(p, from, to), p, list)
	said, wrong := c.confirmations()
	return confirm.Apply(cat, said), errors.Join(err, wrong)
}

// A suspendRequest is what people do with notices; exactly one of Add and Withdraw is set.
type suspendRequest struct {
	Add      []suspend.Form `json:"add,omitempty"`
	Document []byte         `json:"document,omitempty"` // of the one that is added
	Withdraw *int64         `json:"withdraw,omitempty"` // the notice's leaf
	From     string         `json:"from,omitempty"`     // of a withdrawal: from when on; "" is the whole
	Note     string         `json:"note,omitempty"`     // of a withdrawal: why
}

// A suspension is a notice as it is shown.
type suspension struct {
	Leaf      int64            `json:"leaf"`
	Ground    suspend.Ground   `json:"ground"`
	Service   string           `json:"service,omitempty"`
	Unit      string           `json:"unit,omitempty"`
	From      time.Time        `json:"from"`
	To        time.Time        `json:"to"` // after what was taken back
	Number    string           `json:"number"`
	Announced string           `json:"announced"`
	Last      string           `json:"announce_by,omitempty"` // the last day on which it would have been in time
	Place     string           `json:"place"`
	Note      string           `json:"note,omitempty"`
	Document  string           `json:"document,omitempty"` // SHA-256 and size
	EnteredBy string           `json:"entered_by"`
	EnteredAt time.Time        `json:"entered_at"`
	Withdrawn time.Time        `json:"withdrawn,omitzero"`
	Standing  suspend.Standing `json:"standing"`
	Running   bool             `json:"running"`
}

func suspensionOf(n *suspend.Notice, p *profile.Profile, now time.Time) suspension {
	s, last := suspend.Judge(n, p)
	out := suspension{Leaf: n.Leaf, Ground: n.Ground, Service: n.Service, Unit: n.Unit, From: n.From, To: n.End(), Number: n.Number, Announced: n.Announced.String(),
		Last: last.String(), Place: n.Place, Note: n.Note, EnteredBy: n.EnteredBy, EnteredAt: n.EnteredAt, Withdrawn: n.Withdrawn, Standing: s, Running: n.Covers(now)}
	if n.Document.Size > 0 {
		out.Document = n.Document.String()
	}
	return out
}

// errForeign is the error of who enters something for another unit.
var errForeign = errors.New("you enter notices of your own unit alone")

// suspend does what a request asks for, and lists the notices that it concerned. who is bound to a unit, or to none.
func (c *center) suspend(ctx context.Context, req suspendRequest, by, unit string) ([]suspension, error) {
	p, now := c.district(), c.now()
	if req.Withdraw != nil {
		return c.withdraw(ctx, req, by, unit)
	}
	switch {
	case len(req.Add) == 0:
		return nil, errors.New("there is no notice in it")
	case len(req.Add) > maxNotices:
		return nil, fmt.Errorf("%d notices at once, at most %d", len(req.Add), maxNotices)
	case len(req.Add) > 1 && len(req.Document) > 0:
		return nil, errors.New("a document belongs to one notice: enter it alone")
	}
	var list []suspend.Notice
	var wrong []error
	for i, f := range req.Add {
		if unit != "" && f.Unit != unit {
			return nil, errForeign
		}
		n, err := suspend.New(f, suspend.Setting{Profile: p, By: by, Now: now, Document: len(req.Document) > 0})
		if err != nil && len(req.Add) > 1 {
			err = fmt.Errorf("number %d: %w", i+1, err)
		}
		list, wrong = append(list, n), append(wrong, err)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err // all or none
	}
	var out []suspension
	for _, n := range list {
		n, err := suspend.Add(ctx, c.store, n, req.Document)
		if err != nil {
			return out, err
		}
		out = append(out, suspensionOf(&n, p, now))
	}
	return out, nil
}

func (c *center) withdraw(ctx context.Context, req suspendRequest, by, unit string) ([]suspension, error) {
	find := func() (n suspend.Notice, err error) {
		list, err := c.suspensions()
		if err != nil {
			return n, err
		}
		return ofLeaf(list, *req.Withdraw, unit, func(n suspend.Notice) (int64, string) { return n.Leaf, n.Unit }, "notice; `collector suspension")
	}
	n, err := find()
	if err != nil {
		return nil, err
	}
	var from time.Time
	if req.From != "" {
		if from, err = suspend.ParseTime(req.From); err != nil {
			return nil, err
		}
	}
	if err := suspend.Withdraw(ctx, c.store, n, from, by, req.Note, c.now()); err != nil {
		return nil, err
	}
	if n, err = find(); err != nil {
		return nil, err
	}
	return []suspension{suspensionOf(&n, c.district(), c.now())}, nil
}

// listed lists the notices as they are shown, those that end last first.
func (c *center) listed() ([]suspension, error) {
	list, err := c.suspensions()
	out := []suspension{}
	for _, n := range slices.Backward(list) {
		out = append(out, suspensionOf(&n, c.district(), c.now()))
	}
	return out, err
}

func (c *center) suspensionsHandler(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		list, err := c.listed()
		answer(w, list, err)
		return
	}
	change(w, r, filing.MaxDocument*3/2, errForeign.Error(), func(req suspendRequest) ([]suspension, error) {
		return c.suspend(r.Context(), req, access.User(r.Context()), access.Of(r.Context()).Unit)
	})
}

// readNotices reads a file of notices: YAML, a list under `suspensions`.
func readNotices(name string) ([]suspend.Form, error) {
	text, err := readBounded(name, maxNoticeFile)
	if err != nil {
		return nil, err
	}
	var file struct {
		Suspensions []suspend.Form `yaml:"suspensions"`
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file.Suspensions, nil
}

func runSuspension(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newCommand("suspension", "Announced suspensions, force majeure and power cuts: `suspension list`, `suspension add` with the announcement's data or a file of\n"+
		"them, `suspension withdraw LEAF` with the reason. What was announced in time is left out of the figures; alerts are held meanwhile.", "write JSON", stdout, stderr)
	lang := fs.String("lang", "vi", "language: vi or en")
	file := fs.String("file", "", "add: a `FILE` with several notices, a YAML list under suspensions:")
	document := fs.String("document", "", "add: the announcement itself, a `FILE` of at most 16 MiB")
	var form suspend.Form
	fs.StringVar(&form.Ground, "ground", string(suspend.Announced), "add: announced, force_majeure or power_cut")
	fs.StringVar(&form.Service, "service", "", "add: the service's `ID`")
	fs.StringVar(&form.Unit, "unit", "", "add: the unit's `ID`; without it everywhere")
	fs.StringVar(&form.From, "from", "", "`TIME` in Vietnam, \"YYYY-MM-DD HH:MM\"; withdraw: from when on, without it the whole")
	fs.StringVar(&form.To, "to", "", "add: the expected recovery, a `TIME`")
	fs.StringVar(&form.Number, "number", "", "add: `NUMBER` and symbol of the announcement")
	fs.StringVar(&form.Announced, "announced", "", "add: the day of the announcement, `YYYY-MM-DD`")
	fs.StringVar(&form.Place, "place", "", "add: `WHERE` it was announced")
	fs.StringVar(&form.Note, "note", "", "a remark; withdraw: `WHY`")
	word, rest, ok, code := fs.deed(args, 2, "list")
	if !ok {
		return code
	}
	var req any
	switch add := (suspendRequest{Add: []suspend.Form{form}}); {
	case word == "list" && len(rest) == 0:
	case word == "add" && len(rest) == 0:
		var err error
		if *file != "" {
			add.Add, err = readNotices(*file)
		}
		if *document != "" && err == nil {
			add.Document, err = readBounded(*document, filing.MaxDocument)
		}
		if err != nil {
			return fs.fail(exitUsage, err)
		}
		req = add
	case word == "withdraw" && len(rest) == 1:
		leaf, err := fs.leaf(rest[0], "list")
		if err != nil {
			return fs.fail(exitUsage, err)
		}
		req = suspendRequest{Withdraw: leaf, From: form.From, Note: form.Note}
	default:
		return fs.fail(exitUsage, errors.New("write list, add or withdraw LEAF"))
	}
	return consult(ctx, fs, pathSuspensions, req, func(c *center) ([]suspension, error) {
		if req, ok := req.(suspendRequest); ok {
			return c.suspend(ctx, req, access.Program, "")
		}
		return c.listed()
	}, func(list []suspension) int { return printSuspensions(stdout, list, words.ParseLang(*lang)) })
}

// readBounded reads a file of at most so many bytes.
func readBounded(name string, most int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return b, err
}

func printSuspensions(w io.Writer, list []suspension, l words.Lang) int {
	if len(list) == 0 {
		fmt.Fprintln(w, words.Say(l, "suspend.none"))
		return exitDone
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, words.Say(l, "suspend.head"))
	for _, s := range list {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Leaf, words.Say(l, "suspend.ground."+string(s.Ground)), strings.TrimSpace(s.Service+" "+s.Unit),
			words.DateTime(l, s.From), words.DateTime(l, s.To), s.Number, words.Say(l, "suspend."+string(s.Standing)))
	}
	if t.Flush() != nil {
		return exitFailed
	}
	return exitDone
}

// An announcer is the board's page of what was announced.
type announcer struct{ c *center }

// Enters names who may enter notices.
func (a announcer) Enters(ctx context.Context) (name, unit string) { return entersDocuments(ctx) }

// Suspensions lists the notices, those that begin last first.
func (a announcer) Suspensions() ([]board.Suspension, error) {
	list, err := a.c.suspensions()
	return boarded(list, a.c.district()), err
}

// boarded are notices as the board shows them, those that begin last first.
func boarded(list []suspend.Notice, p *profile.Profile) []board.Suspension {
	var out []board.Suspension
	for _, n := range slices.Backward(list) {
		s, last := suspend.Judge(&n, p)
		out = append(out, board.Suspension{Notice: n, Standing: s, Last: last.String()})
	}
	return out
}

// Suspend enters a notice.
func (a announcer) Suspend(ctx context.Context, by, unit string, f suspend.Form, document []byte) error {
	_, err := a.c.suspend(ctx, suspendRequest{Add: []suspend.Form{f}, Document: document}, by, unit)
	return err
}

// Withdraw takes a notice back.
func (a announcer) Withdraw(ctx context.Context, by, unit string, leaf int64, note string) error {
	_, err := a.c.suspend(ctx, suspendRequest{Withdraw: &leaf, Note: note}, by, unit)
	return err
}
