package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/words"
)

func runJournal(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := newFlags("journal", "Looks at what this machine has recorded; it changes nothing and may be used while the agent runs.\n"+
		"  agent journal verify   checks every signature, the chain of batches and every line; exits 0 when all is well and 1 when not\n"+
		"  agent journal show     writes what is recorded, oldest first; exits 1 when a part of it cannot be read", stderr)
	data := flags.String("data", "", "data folder `DIR`")
	lang := flags.String("lang", "vi", "language: vi or en")
	only := flags.String("check", "", "show: only the records of the check with this `ID`")
	asJSON := flags.Bool("json", false, "verify: write one JSON object; show: write the records as they stand in the journal, one JSON object a line")
	verb, args := positional(args)
	if ok, code := parse(flags, args, 0); !ok {
		return code
	}
	if verb != "verify" && verb != "show" {
		fmt.Fprintf(stderr, "agent journal: say what to do: agent journal verify, or agent journal show\n")
		return exitUsage
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "agent journal: %v\n", err)
		return exitUsage
	}
	if _, err := os.Stat(daemon.JournalDir(dir)); err != nil {
		fmt.Fprintf(stderr, "agent journal: there is no journal in %s: name the agent's data folder with --data\n", dir)
		return exitUsage
	}
	l := words.ParseLang(*lang)
	if verb == "verify" {
		return verifyJournal(dir, l, *asJSON, stdout, stderr)
	}
	s := shower{l: l, only: *only, asJSON: *asJSON, stdout: stdout, stderr: stderr}
	return s.show(ctx, daemon.JournalDir(dir))
}

func verifyJournal(dir string, l words.Lang, asJSON bool, stdout, stderr io.Writer) int {
	id, err := host.LoadIdentity(dir)
	if err != nil {
		fmt.Fprintf(stderr, "agent journal verify: whose signatures to expect is not known: %v\n", err)
		return exitUsage
	}
	keys, err := id.JournalVerifiers()
	if err != nil {
		fmt.Fprintf(stderr, "agent journal verify: %v\n", err)
		return exitUsage
	}
	r, err := journal.Verify(daemon.JournalDir(dir), keys)
	if err != nil {
		fmt.Fprintf(stderr, "agent journal verify: %v\n", err)
		return exitFailed
	}
	if asJSON {
		if err := json.NewEncoder(stdout).Encode(newVerdict(id.Machine, l, r)); err != nil {
			return exitFailed
		}
	} else {
		writeReport(stdout, l, id.Machine, r)
	}
	if len(r.Problems) > 0 {
		return exitFailed
	}
	return exitDone
}

// writeReport tells a person what was found: what, where, and what to do.
func writeReport(w io.Writer, l words.Lang, machine string, r journal.Report) {
	fmt.Fprintln(w, words.Tell(l, "journal.sums", machine, r.Journals, r.Batches, r.Records, r.Open))
	for _, p := range r.Notes {
		fmt.Fprintln(w, words.Tell(l, "journal.note", words.Tell(l, "journal."+string(p.Kind))))
		fmt.Fprintln(w, "  "+words.Tell(l, "journal.where", p.File, p.Offset, p.Err))
	}
	for i, p := range r.Problems {
		fmt.Fprintln(w, words.Tell(l, "journal.wrong", i+1, words.Tell(l, "journal."+string(p.Kind))))
		fmt.Fprintln(w, "  "+words.Tell(l, "journal.where", p.File, p.Offset, p.Err))
		// What to do is said once for each kind.
		if slices.IndexFunc(r.Problems, func(q journal.Problem) bool { return q.Kind == p.Kind }) == i {
			fmt.Fprintln(w, "  "+words.Tell(l, "journal.advice", words.Tell(l, "journal."+string(p.Kind)+".advice")))
		}
	}
	switch {
	case r.More > 0:
		fmt.Fprintln(w, words.Tell(l, "journal.more", r.More))
	case len(r.Problems) == 0:
		fmt.Fprintln(w, words.Tell(l, "journal.fine"))
	}
}

// A verdict is a report as a program reads it.
type verdict struct {
	OK       bool    `json:"ok"`
	Machine  string  `json:"machine"`
	Journals int     `json:"journals"`
	Batches  int     `json:"batches"`
	Records  int     `json:"records"`
	Open     int     `json:"open_records"`
	Problems []place `json:"problems"`
	More     int     `json:"more_problems"`
	Notes    []place `json:"notes"`
}

// A place is something found in a journal, and where.
type place struct {
	Kind   string `json:"kind"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Error  string `json:"error"`
	Advice string `json:"advice,omitempty"`
}

func newVerdict(machine string, l words.Lang, r journal.Report) verdict {
	v := verdict{OK: len(r.Problems) == 0, Machine: machine, Journals: r.Journals, Batches: r.Batches, Records: r.Records, Open: r.Open,
		Problems: []place{}, More: r.More, Notes: []place{}}
	for _, p := range r.Problems {
		v.Problems = append(v.Problems, place{string(p.Kind), p.File, p.Offset, p.Err.Error(), words.Tell(l, "journal."+string(p.Kind)+".advice")})
	}
	for _, p := range r.Notes {
		v.Notes = append(v.Notes, place{string(p.Kind), p.File, p.Offset, p.Err.Error(), ""})
	}
	return v
}

// A shower writes what a journal holds.
type shower struct {
	l              words.Lang
	only           string // id of a check; "" for all
	asJSON         bool
	stdout, stderr io.Writer
	line           []byte
}

// show returns the exit code.
func (s *shower) show(ctx context.Context, dir string) int {
	code, opened := exitDone, false
	for e := range journal.Read(dir) {
		if ctx.Err() != nil {
			return exitFailed
		}
		if e.Err != nil && !errors.Is(e.Err, fs.ErrNotExist) {
			kind := e.Problem()
			if kind == journal.BrokenOff {
				fmt.Fprintln(s.stderr, words.Tell(s.l, "journal.note", words.Tell(s.l, "journal."+string(kind))))
			} else {
				code = exitFailed
				fmt.Fprintln(s.stderr, words.Tell(s.l, "journal.wrong", 1, words.Tell(s.l, "journal."+string(kind))))
				fmt.Fprintln(s.stderr, "  "+words.Tell(s.l, "journal.advice", words.Tell(s.l, "journal."+string(kind)+".advice")))
			}
			fmt.Fprintln(s.stderr, "  "+words.Tell(s.l, "journal.where", e.File, e.Offset, e.Err))
		}
		if h := e.Header; !s.asJSON && s.only == "" && h.Seq > 0 {
			fmt.Fprintln(s.stdout, words.Tell(s.l, "journal.batch", h.Seq, h.Journal, words.DateTime(s.l, h.Sealed), h.Records))
		} else if !s.asJSON && s.only == "" && !opened && len(e.Records) > 0 {
			opened = true
			fmt.Fprintln(s.stdout, words.Tell(s.l, "journal.open"))
		}
		s.records(e.Records)
	}
	return code
}

func (s *shower) records(recs []journal.Record) {
	for i := range recs {
		r := &recs[i]
		if s.only != "" && !about(r, s.only) {
			continue
		}
		if s.asJSON {
			s.line, _ = journal.AppendLine(s.line[:0], r)
			_, _ = s.stdout.Write(s.line)
		} else {
			fmt.Fprintln(s.stdout, recordLine(s.l, r))
		}
	}
}

// about reports whether a record speaks of a check.
func about(r *journal.Record, id string) bool {
	switch {
	case r.Result != nil:
		return r.Result.Check == id
	case r.Range != nil:
		return r.Range.Check == id || r.Range.Check == "*"
	}
	return false
}

// recordLine writes a record for a person, with the codes that help is asked with.
func recordLine(l words.Lang, r *journal.Record) string {
	line := func(at time.Time, what, id string, text ...string) string {
		return fmt.Sprintf("  %s  %-9s %-24s %s", words.DateTime(l, at), what, id, strings.Join(text, ""))
	}
	switch {
	case r.Result != nil:
		x := r.Result
		s := line(x.Slot, x.State.String(), x.Check, words.Reason(l, x.Reason).Title, " (", string(x.Reason), ")")
		if x.Detail != "" {
			s += ": " + check.CleanDetail(x.Detail)
		}
		return s
	case r.Range != nil:
		x := r.Range
		return line(x.From, x.Reason.State().String(), x.Check, words.Reason(l, x.Reason).Title, " (", string(x.Reason), "): ",
			words.Tell(l, "journal.range", x.Slots, words.DateTime(l, x.To)))
	case r.Plan != nil:
		return line(r.Plan.At, "plan", "-", words.Tell(l, "journal.plan", r.Plan.Version, r.Plan.SHA256))
	case r.Begin != nil:
		b := r.Begin
		s := line(b.At, "begin", "-", words.Tell(l, "journal.begin", check.CleanDetail(b.Cause), check.CleanDetail(b.Build)))
		if b.PreviousJournal != "" {
			s += ", " + words.Tell(l, "journal.after", b.PreviousJournal, check.CleanDetail(b.PreviousHead))
		}
		return s
	case r.End != nil:
		return line(r.End.At, "end", "-", words.Tell(l, "journal.end", check.CleanDetail(r.End.Cause)))
	}
	return ""
}
