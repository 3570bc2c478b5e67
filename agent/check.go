package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/check/network"
	"egovmon/agent/host"
	"egovmon/agent/notes"
	"egovmon/agent/plan"
	"egovmon/agent/schedule"
	"egovmon/agent/words"
)

func runCheck(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("check", "Runs every check of a plan once, now, and shows one line each, in the order of the plan. No result is recorded\n"+
		"or sent. It exits 0 when every check ran, whatever its state, 1 when one could not be run, 2 on a bad plan.", stderr)
	file := fs.String("plan", "", "the plan, a YAML `FILE`; - for standard input")
	only := fs.String("check", "", "run only the check with this `ID`")
	asJSON := fs.Bool("json", false, "write one JSON object a line")
	lang := fs.String("lang", "vi", "language of the reasons: vi or en")
	data := fs.String("data", "", "data folder, for its secrets and what checks remember `DIR`")
	if ok, code := parse(fs, args, 0); !ok {
		return code
	}
	if *file == "" {
		fmt.Fprintln(stderr, "agent check: --plan FILE is missing: name the plan to run; `agent kinds` shows what may stand in one")
		return exitUsage
	}
	text, err := readPlan(*file)
	if err != nil {
		fmt.Fprintf(stderr, "agent check: %v\n", err)
		return exitUsage
	}
	p, err := plan.Parse(text, kinds.Table())
	if err != nil {
		fmt.Fprintf(stderr, "agent check: the plan %s cannot be used:\n%v\n", *file, err)
		return exitUsage
	}
	if _, ok := p.Check(*only); *only != "" && !ok {
		fmt.Fprintf(stderr, "agent check: the plan %s has no check %q\n", *file, *only)
		return exitUsage
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "agent check: %v\n", err)
		return exitUsage
	}
	o := schedule.Options{
		Machine: p.For, Kinds: kinds.Table(), Anchors: network.ProbeAnchors,
		Secret: func(name string) (string, error) { return host.Secret(dir, name) },
	}
	if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
		kept := notes.New(filepath.Join(dir, notes.Folder), time.Now, slog.New(slog.NewTextHandler(stderr, nil)))
		o.Notes, o.Shared = kept.Of, kept.Shared
	}
	results := schedule.Once(ctx, o, p, func(id string) bool { return *only == "" || id == *only })
	code := exitDone
	for _, r := range results {
		if r.Reason == check.Internal {
			code = exitFailed
		}
		if *asJSON {
			writeJSON(stdout, r)
		} else {
			writeLine(stdout, words.ParseLang(*lang), r)
		}
	}
	return code
}

// readPlan reads a plan of bounded size.
func readPlan(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, plan.MaxBytes+1))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && st.Size() > plan.MaxBytes {
		return nil, fmt.Errorf("the plan %s has %d bytes: a plan has at most %d", file, st.Size(), plan.MaxBytes)
	}
	return io.ReadAll(io.LimitReader(f, plan.MaxBytes+1))
}

func writeLine(w io.Writer, l words.Lang, r check.Result) {
	fmt.Fprintf(w, "%-9s %-28s %8s  %s (%s)", r.State, r.Check, words.Milliseconds(l, r.Took), words.Reason(l, r.Reason).Title, r.Reason)
	if ended, _ := r.Facts.Get("os_ended_code"); ended == 1 {
		fmt.Fprintf(w, "; %s", words.Tell(l, "check.osended"))
	}
	if r.Detail != "" {
		fmt.Fprintf(w, ": %s", r.Detail)
	}
	fmt.Fprintln(w)
}

// writeJSON writes a result with the field names of the journal.
func writeJSON(w io.Writer, r check.Result) {
	phases, facts := map[string]float64{}, map[string]float64{}
	for _, p := range r.Phases {
		phases[p.Name] = p.Took.Seconds()
	}
	for _, f := range r.Facts {
		facts[f.Name] = f.Value
	}
	b, err := json.Marshal(struct {
		Check    string             `json:"check"`
		Start    string             `json:"start"`
		Took     float64            `json:"took_s"`
		State    string             `json:"state"`
		Reason   check.Reason       `json:"reason"`
		Detail   string             `json:"detail,omitempty"`
		Attempts int                `json:"attempts"`
		Phases   map[string]float64 `json:"phases,omitempty"`
		Facts    map[string]float64 `json:"facts,omitempty"`
	}{r.Check, r.Start.Format("2006-01-02T15:04:05.000Z07:00"), r.Took.Seconds(), r.State.String(), r.Reason, r.Detail, r.Attempts, phases, facts})
	if err != nil {
		fmt.Fprintf(w, `{"check":%q,"error":%q}`+"\n", r.Check, err)
		return
	}
	fmt.Fprintf(w, "%s\n", b)
}
