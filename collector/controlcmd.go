package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"egovmon/agent/durable"
	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/attest"
)

const (
	pathControls = "/api/local/controls"
	pathDossier  = "/api/local/dossier"
)

// A controlsRequest is what people do with controls; exactly one of its fields is set.
type controlsRequest struct {
	Except   *attest.ExceptionForm `json:"except,omitempty"`
	Approve  *int64                `json:"approve,omitempty"`  // leaf of an exception or an attestation
	Withdraw *int64                `json:"withdraw,omitempty"` // leaf of an exception
}

// A controlsDone says what was recorded.
type controlsDone struct {
	Leaf    int64  `json:"leaf"` // of the exception or attestation
	Control string `json:"control"`
	Unit    string `json:"unit"`
	ValidTo string `json:"valid_to,omitempty"`
}

// A layerShare is the parts of one layer's controls by state, measured and attested apart.
type layerShare struct {
	Layer    int          `json:"layer"`
	Measured attest.Share `json:"measured"`
	Attested attest.Share `json:"attested"`
}

// A unitCoverage is how one unit covers the four layers.
type unitCoverage struct {
	Unit   string       `json:"unit"`
	Layers []layerShare `json:"layers"`
}

// A controlTask is one thing to do.
type controlTask struct {
	Unit     string       `json:"unit"`
	Control  string       `json:"control"`
	Name     string       `json:"name"` // Vietnamese
	State    attest.State `json:"state"`
	Machines int          `json:"machines,omitempty"`
	Basis    string       `json:"basis"`
	Score    float64      `json:"score"`
}

// A controlsView is how the layers stand and what waits for a person.
type controlsView struct {
	At         time.Time          `json:"at"`
	Units      []unitCoverage     `json:"units"`
	Tasks      []controlTask      `json:"tasks"`      // what to do first goes first
	Exceptions []attest.Exception `json:"exceptions"` // ended and unapproved ones too
	Unapproved []controlsDone     `json:"unapproved"` // documents that no second person has approved
}

// controlsView is what GET answers; unit "" for all.
func (c *center) controlsView(unit string) (controlsView, error) {
	now := c.now()
	m, err := c.matrix(c.district(), now)
	if err != nil {
		return controlsView{}, err
	}
	v := controlsView{At: now.UTC(), Units: []unitCoverage{}, Tasks: []controlTask{}, Exceptions: []attest.Exception{}, Unapproved: []controlsDone{}}
	for _, row := range m.Units {
		if unit != "" && row.Unit != unit {
			continue
		}
		u := unitCoverage{Unit: row.Unit}
		for i, l := range row.Layers {
			u.Layers = append(u.Layers, layerShare{i + 1, l.Measured.Tally.Share(), l.Attested.Tally.Share()})
		}
		v.Units = append(v.Units, u)
	}
	for _, t := range m.Worklist(unit) {
		v.Tasks = append(v.Tasks, controlTask{t.Unit, t.Control.ID, t.Control.Name.VI, t.State, t.Machines, t.Control.Basis, t.Score})
	}
	c.layers.mu.Lock()
	defer c.layers.mu.Unlock()
	for _, x := range c.layers.fold.Exceptions() {
		if unit == "" || x.Unit == unit {
			v.Exceptions = append(v.Exceptions, x)
		}
	}
	for _, a := range c.layers.fold.Current() {
		if (unit == "" || a.Unit == unit) && !a.Acted {
			v.Unapproved = append(v.Unapproved, controlsDone{a.Leaf, a.Control, a.Unit, a.ValidTo.String()})
		}
	}
	return v, nil
}

// actOnControls does what a request asks for. who acts is bound to a unit, or to none ("").
func (c *center) actOnControls(ctx context.Context, req controlsRequest, by, unit string) (controlsDone, error) {
	c.layers.mu.Lock()
	defer c.layers.mu.Unlock()
	if err := c.updateLayers(); err != nil {
		return controlsDone{}, err
	}
	p, now := c.district(), c.now()
	if req.Except != nil {
		if unit != "" && req.Except.Unit != unit {
			return controlsDone{}, errForeign
		}
		x, err := attest.NewException(*req.Except, attest.Setting{Controls: attest.Controls(p.LawAt(now), now), By: by, Now: now,
			Unit: func(id string) bool { _, ok := p.Unit(id); return ok }})
		if err == nil {
			x, err = attest.AddException(ctx, c.store, x)
		}
		return controlsDone{x.Leaf, x.Control, x.Unit, x.ValidTo.String()}, err
	}
	leaf := req.Approve
	if leaf == nil {
		leaf = req.Withdraw
	}
	if leaf == nil {
		return controlsDone{}, errors.New("there is nothing to do in it")
	}
	xs := c.layers.fold.Exceptions()
	if i := slices.IndexFunc(xs, func(x attest.Exception) bool { return x.Leaf == *leaf }); i >= 0 {
		x := xs[i]
		if unit != "" && x.Unit != unit {
			return controlsDone{}, errForeign
		}
		do := attest.ApproveException
		if req.Approve == nil {
			do = attest.WithdrawException
		}
		return controlsDone{x.Leaf, x.Control, x.Unit, x.ValidTo.String()}, do(ctx, c.store, x, by, now)
	}
	list := c.layers.fold.Current()
	i := slices.IndexFunc(list, func(a attest.Attestation) bool { return a.Leaf == *leaf })
	if i < 0 || req.Approve == nil {
		return controlsDone{}, fmt.Errorf("leaf %d is nothing that this can be done with; `collector control status` shows what is", *leaf)
	}
	if unit != "" && list[i].Unit != unit {
		return controlsDone{}, errForeign
	}
	a, err := attest.Approve(ctx, c.store, list[i], by, now)
	return controlsDone{a.Leaf, a.Control, a.Unit, a.ValidTo.String()}, err
}

func (c *center) controlsHandler(w http.ResponseWriter, r *http.Request) {
	unit := access.Of(r.Context()).Unit
	if r.Method == http.MethodGet {
		asked := r.FormValue("unit")
		if unit != "" {
			asked = unit
		}
		v, err := c.controlsView(asked)
		answer(w, v, err)
		return
	}
	change(w, r, 64<<10, "You act for your own unit alone.", func(req controlsRequest) (controlsDone, error) {
		return c.actOnControls(r.Context(), req, access.User(r.Context()), unit)
	})
}

// dossier writes the evidence file of a unit.
func (c *center) dossier(unit string, w io.Writer) error {
	now := c.now()
	m, err := c.matrix(c.district(), now)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(m.Units, func(r attest.Row) bool { return r.Unit == unit })
	if i < 0 {
		return fmt.Errorf("unit %q: nothing is measured or attested there; `collector control status` lists the units", unit)
	}
	return attest.WriteDossier(w, m.Units[i], now, c.store)
}

func (c *center) dossierHandler(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := c.dossier(r.FormValue("unit"), &b); err != nil {
		answer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="ho-so-minh-chung.zip"`)
	_, _ = b.WriteTo(w) // who asked has gone
}

func runControl(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "attest" {
		return runAttest(ctx, args[1:], stdout, stderr)
	}
	fs := newCommand("control", "The four layers (\"4 lớp\"): `control status` says how they stand and what to do first, `control attest` records a document\n"+
		"(as `collector attest`), `control approve LEAF` stands behind a document or an exception as a second person, `control except` enters an\n"+
		"exception, `control withdraw LEAF` ends one, `control file` writes a unit's evidence file as a ZIP, `control verify FILE` compares one with\n"+
		"its hashes.", "write JSON", stdout, stderr)
	lang := fs.String("lang", "vi", "language: vi or en")
	out := fs.String("out", "ho-so-minh-chung.zip", "file: where to write, a `FILE`")
	var form attest.ExceptionForm
	fs.StringVar(&form.Unit, "unit", "", "the unit's `ID`; status: of all without it")
	fs.StringVar(&form.Control, "control", "", "except: the control's `ID`, e.g. m04")
	fs.StringVar(&form.Machine, "machine", "", "except: the only machine that it is about, an `ID`; without it all of the unit")
	fs.StringVar(&form.Reason, "reason", "", "except: `WHY` the control cannot be met")
	fs.StringVar(&form.Measure, "measure", "", "except: `WHAT` is done instead")
	fs.StringVar(&form.ValidTo, "valid-to", "", "except: the last day of the exception, `YYYY-MM-DD`, at most a year ahead")
	word, rest, ok, code := fs.deed(args, 2, "status")
	if !ok {
		return code
	}
	var req controlsRequest
	switch {
	case word == "status" && len(rest) == 0:
		return consult(ctx, fs, pathControls+"?unit="+url.QueryEscape(form.Unit), nil, func(c *center) (controlsView, error) { return c.controlsView(form.Unit) }, func(v controlsView) int {
			v.print(stdout, words.ParseLang(*lang))
			return exitDone
		})
	case word == "verify" && len(rest) == 1:
		return verifyDossier(fs, rest[0])
	case word == "file" && len(rest) == 0:
		return writeDossier(ctx, fs, form.Unit, *out)
	case word == "except" && len(rest) == 0:
		req.Except = &form
	case (word == "approve" || word == "withdraw") && len(rest) == 1:
		leaf, err := fs.leaf(rest[0], "status")
		if err != nil {
			return fs.fail(exitUsage, err)
		}
		if req.Approve = leaf; word == "withdraw" {
			req = controlsRequest{Withdraw: leaf}
		}
	default:
		return fs.fail(exitUsage, errors.New("write status, attest, approve LEAF, except, withdraw LEAF, file or verify FILE"))
	}
	return consult(ctx, fs, pathControls, req, func(c *center) (controlsDone, error) { return c.actOnControls(ctx, req, access.Program, "") }, func(done controlsDone) int {
		fmt.Fprintf(stdout, "Recorded: %s of %s, leaf %d.\n", done.Control, done.Unit, done.Leaf)
		return exitDone
	})
}

// print writes the view for a person.
func (v controlsView) print(w io.Writer, l words.Lang) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, u := range v.Units {
		for _, s := range u.Layers {
			fmt.Fprintf(t, "%s\t%s\t%s: %s\t%s: %s\n", u.Unit, words.Say(l, "control.layer"+strconv.Itoa(s.Layer)),
				words.Say(l, "control.measured"), shares(s.Measured, l), words.Say(l, "control.attested"), shares(s.Attested, l))
		}
	}
	fmt.Fprintf(t, "\n%s\n", words.Say(l, "control.first"))
	for i, k := range v.Tasks {
		fmt.Fprintf(t, "%d.\t%s\t%s %s\t%s\t%s\n", i+1, k.Unit, k.Control, k.Name, words.Say(l, "control."+string(k.State)), k.Basis)
	}
	for _, x := range v.Exceptions {
		approved := x.ApprovedBy
		if approved == "" {
			approved = words.Say(l, "control.unapproved")
		}
		fmt.Fprintf(t, "%s %d\t%s %s\t%s\t%s\t%s\n", words.Say(l, "control.exception"), x.Leaf, x.Unit, x.Machine, x.Control, x.ValidTo, approved)
	}
	for _, a := range v.Unapproved {
		fmt.Fprintf(t, "%s: %d\t%s\t%s\n", words.Say(l, "control.unapproved"), a.Leaf, a.Unit, a.Control)
	}
	_ = t.Flush() // stdout is gone
}

func shares(s attest.Share, l words.Lang) string {
	var parts []string
	for _, state := range attest.States() {
		if s[state] > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", words.Say(l, "control."+string(state)), 100*s[state]))
		}
	}
	if len(parts) == 0 {
		return words.Say(l, "layer.none")
	}
	return strings.Join(parts, ", ")
}

func writeDossier(ctx context.Context, cmd subcommand, unit, out string) int {
	var b bytes.Buffer
	err := withCenter(ctx, *cmd.data, cmd.stderr, func(dir string) error {
		return streamTo(ctx, dir, pathDossier+"?unit="+url.QueryEscape(unit), &b)
	}, func(c *center) error { return c.dossier(unit, &b) })
	if err == nil {
		err = attest.VerifyDossier(bytes.NewReader(b.Bytes()), int64(b.Len()))
	}
	if err == nil {
		err = durable.Replace(out, b.Bytes())
	}
	if err != nil {
		return cmd.fail(exitFailed, err)
	}
	fmt.Fprintf(cmd.stdout, "%s: %d bytes.\n", out, b.Len())
	return exitDone
}

func verifyDossier(cmd subcommand, name string) int {
	f, err := os.Open(name)
	if err == nil {
		defer f.Close()
		var st os.FileInfo
		if st, err = f.Stat(); err == nil {
			err = attest.VerifyDossier(f, st.Size())
		}
	}
	if err != nil {
		return cmd.fail(exitFailed, err)
	}
	fmt.Fprintf(cmd.stdout, "%s: every file is as SHA256SUMS says.\n", name)
	return exitDone
}
