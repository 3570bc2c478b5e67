package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

func runJournal(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := newFlags("journal", "Looks at what this machine has recorded; it changes nothing and may be used while the agent runs.\n"+
		"  agent journal verify   checks every signature, the chain of batches and every line; exits 1 when something is wrong\n"+
		"  agent journal show     writes what is recorded, oldest first", stderr)
	data := flags.String("data", "", "data folder `DIR`")
	only := flags.String("check", "", "show: only the records of the check with this `ID`")
	asJSON := flags.Bool("json", false, "show: write the records as they stand in the journal, one JSON object a line")
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
	if verb == "verify" {
		return verifyJournal(dir, stdout, stderr)
	}
	return showJournal(ctx, daemon.JournalDir(dir), *only, *asJSON, stdout, stderr)
}

func verifyJournal(dir string, stdout, stderr io.Writer) int {
	id, err := host.LoadIdentity(dir)
	if err != nil {
		fmt.Fprintf(stderr, "agent journal verify: whose signatures to expect is not known: %v\n", err)
		return exitUsage
	}
	key, err := journalKey(id)
	if err != nil {
		fmt.Fprintf(stderr, "agent journal verify: %v\n", err)
		return exitUsage
	}
	r, err := journal.Verify(daemon.JournalDir(dir), note.VerifierList(key))
	if err != nil {
		fmt.Fprintf(stderr, "agent journal verify: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "%d journals, %d signed batches with %d records, %d records not sealed yet\n", r.Journals, r.Batches, r.Records, r.Open)
	for _, p := range r.Problems {
		fmt.Fprintf(stdout, "wrong: %v\n", p)
	}
	if r.More > 0 {
		fmt.Fprintf(stdout, "and %d more\n", r.More)
	}
	if len(r.Problems) > 0 {
		return exitFailed
	}
	fmt.Fprintln(stdout, "all is as it was signed")
	return exitDone
}

// journalKey returns the public side of the key that signs this machine's batches.
func journalKey(id *host.Identity) (note.Verifier, error) {
	name, alg, key, err := wire.ParseSignerKey(id.JournalKey)
	if err != nil {
		return nil, fmt.Errorf("journal key: %w", err)
	}
	text, err := wire.VerifierKey(name, append([]byte{alg}, key[32:]...))
	if err != nil {
		return nil, fmt.Errorf("journal key: %w", err)
	}
	return note.NewVerifier(text)
}

func showJournal(ctx context.Context, dir, only string, asJSON bool, stdout, stderr io.Writer) int {
	code := exitDone
	var line []byte
	for e := range journal.Read(dir) {
		if ctx.Err() != nil {
			return exitFailed
		}
		if e.Err != nil && !errors.Is(e.Err, fs.ErrNotExist) {
			fmt.Fprintf(stderr, "agent journal show: %s, byte %d: %v\n", e.File, e.Offset, e.Err)
			code = exitFailed
		}
		if !asJSON && only == "" && e.Header.Seq > 0 {
			h := e.Header
			fmt.Fprintf(stdout, "batch %d of journal %s, sealed %s, %d records\n", h.Seq, h.Journal, h.Sealed.Format(time.RFC3339), h.Records)
		}
		for i := range e.Records {
			r := &e.Records[i]
			if only != "" && !about(r, only) {
				continue
			}
			if asJSON {
				line, _ = journal.AppendLine(line[:0], r)
				_, _ = stdout.Write(line)
			} else {
				fmt.Fprintln(stdout, recordLine(r))
			}
		}
	}
	return code
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

// recordLine writes a record for a person.
func recordLine(r *journal.Record) string {
	const second = "2006-01-02T15:04:05Z"
	switch {
	case r.Result != nil:
		x := r.Result
		s := fmt.Sprintf("  %s  %-9s %-28s %s", x.Slot.Format(second), x.State, x.Check, x.Reason)
		if x.Detail != "" {
			s += ": " + x.Detail
		}
		return s
	case r.Range != nil:
		x := r.Range
		return fmt.Sprintf("  %s  %-9s %-28s %s: %d slots until %s", x.From.Format(second), x.Reason.State(), x.Check, x.Reason, x.Slots, x.To.Format(second))
	case r.Plan != nil:
		return fmt.Sprintf("  %s  plan      version %d, SHA-256 %s", r.Plan.At.Format(second), r.Plan.Version, r.Plan.SHA256)
	case r.Begin != nil:
		return fmt.Sprintf("  %s  begin     %s, by version %s", r.Begin.At.Format(second), r.Begin.Cause, r.Begin.Build)
	case r.End != nil:
		return fmt.Sprintf("  %s  end       %s", r.End.At.Format(second), r.End.Cause)
	}
	return ""
}
