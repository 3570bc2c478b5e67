package main

import (
	"cmp"
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/cosign"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

const pathWitnesses = "/api/local/witnesses"

// cosigners are the machines that the profile names to cosign, with the keys that the log has of them.
func (c *center) cosigners() []cosign.Machine {
	var out []cosign.Machine
	for _, m := range c.district().WitnessesAt(c.now()) {
		known, _ := c.registry.Machine(m.ID)
		k, ok := known.Current(enrol.Cosign)
		if !ok || len(out) == cosign.MostMachines {
			continue
		}
		if w, err := wire.NewWitness(k.Key); err == nil {
			out = append(out, cosign.Machine{ID: m.ID, Keys: []*wire.Witness{w}})
		}
	}
	return out
}

// A witnessRequest is what the operator does with witnesses elsewhere; at most one of Accept and End is set.
type witnessRequest struct {
	Accept string `json:"accept,omitempty"` // verifier key
	End    string `json:"end,omitempty"`    // name
}

// A witnessAnswer is who may cosign, and how the round under way stands.
type witnessAnswer struct {
	LogKey    string         `json:"log_key"` // verifier key of the log, for those who witness
	Witnesses []cosign.Known `json:"witnesses"`
	Round     cosign.Status  `json:"round"`
}

func (c *center) witnesses(ctx context.Context, req witnessRequest, by string) (a witnessAnswer, err error) {
	switch {
	case req.Accept != "":
		_, err = c.cosigned.Accept(ctx, strings.TrimSpace(req.Accept), by)
	case req.End != "":
		_, err = c.cosigned.End(ctx, req.End, by)
	}
	if err != nil {
		return a, err
	}
	a.Witnesses, err = c.cosigned.Witnesses()
	a.Round, a.LogKey = c.cosigned.Status(), c.keys.LogKey
	return a, err
}

func (c *center) witnessesHandler(w http.ResponseWriter, r *http.Request) {
	var req witnessRequest
	if !readRequest(w, r, 64<<10, &req) {
		return
	}
	a, err := c.witnesses(r.Context(), req, access.User(r.Context()))
	answer(w, a, err)
}

func runWitness(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "init":
			return runWitnessInit(args[1:], stdout, stderr)
		case "run":
			return runWitnessRun(ctx, args[1:], stdout, stderr)
		case "accept", "end", "list":
			return runWitnessKnown(ctx, args[0], args[1:], stdout, stderr)
		}
	}
	fmt.Fprint(stderr, "collector witness: at the office that witnesses, make a key with `collector witness init --name NAME`, and sign with\n"+
		"`collector witness run --collector URL --log-key KEY`; at the collector, take its cosignatures with `collector witness accept KEY`,\n"+
		"no more with `end NAME`, and see who signs with `list`. Each has --help.\n")
	if len(args) > 0 && isHelp(args[0]) {
		return exitDone
	}
	return exitUsage
}

func witnessDir(flag string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	dir, err := dataDir("")
	return dir + "-witness", err
}

func runWitnessInit(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("witness init", "Makes the key of a witness and prints the half that others may see. Hand that to the operator of the collector, and to every\n"+
		"auditor, by a way of your own: on paper, or read out. The other half never leaves this machine.", stderr)
	data := fs.String("data", "", "folder `DIR` of the witness; default $XDG_STATE_HOME/egovmon-witness")
	name := fs.String("name", "", "`NAME` of the witness: egovmon/DISTRICT/witness/OFFICE")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if *name == "" {
		fmt.Fprintln(stderr, "collector witness init: name the witness: --name egovmon/DISTRICT/witness/OFFICE")
		return exitUsage
	}
	dir, err := witnessDir(*data)
	if err == nil {
		var key string
		if key, err = cosign.NewWitnessKey(dir, *name); err == nil {
			fmt.Fprintln(stdout, key)
			return exitDone
		}
	}
	fmt.Fprintf(stderr, "collector witness init: %v\n", err)
	return exitFailed
}

// A witnessRun is what `collector witness run` was told.
type witnessRun struct {
	url, key, pin, listen string
	once                  bool
	every                 time.Duration
	lang                  words.Lang
}

func runWitnessRun(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("witness run", "Signs the checkpoints of a district's log, as long as each is proven to continue the one before. It remembers the last one, keeps what\n"+
		"contradicts it, and exits 1 then. It reaches the collector's port for agents and needs no account there.", stderr)
	data := fs.String("data", "", "folder `DIR` of the witness; default $XDG_STATE_HOME/egovmon-witness")
	var o witnessRun
	fs.StringVar(&o.url, "collector", "", "`URL` of the collector's port for agents, e.g. https://10.1.2.3:19443")
	fs.StringVar(&o.key, "log-key", "", "the log's verifier `KEY`, as the district hands it out")
	fs.StringVar(&o.pin, "pin", "", "last part of an enrolment `TOKEN`, or all of it: the key that the collector's certificate must lead to")
	fs.StringVar(&o.listen, "listen", "", "also answer add-checkpoint (C2SP tlog-witness) at `ADDR`")
	fs.BoolVar(&o.once, "once", false, "sign once and exit")
	fs.DurationVar(&o.every, "every", 10*time.Minute, "ask so often; from 10s to 24h")
	lang := fs.String("lang", "vi", "language: vi or en")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	o.lang = words.ParseLang(*lang)
	dir, err := witnessDir(*data)
	if err == nil && (o.key == "" || o.url == "" && o.listen == "" || o.every < 10*time.Second || o.every > 24*time.Hour) {
		err = errors.New("say --log-key, and --collector or --listen; --every is from 10s to 24h")
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector witness run: %v\n", err)
		return exitUsage
	}
	if err := o.run(ctx, dir, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "collector witness run: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// pinOf reads the key that a token names, or its last part alone.
func pinOf(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	s = s[strings.LastIndexByte(s, '.')+1:]
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(strings.TrimSpace(s)))
	if err != nil || len(b) != 32 {
		return nil, fmt.Errorf("--pin %.80q is not the last part of a token", s)
	}
	return b, nil
}

func (o witnessRun) run(ctx context.Context, dir string, stdout, stderr io.Writer) error {
	lock, err := evidence.Lock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	w, err := cosign.OpenWitness(dir, []string{strings.TrimSpace(o.key)}, time.Now)
	if err != nil {
		return err
	}
	v, err := note.NewVerifier(strings.TrimSpace(o.key))
	if err != nil {
		return fmt.Errorf("--log-key: %w", err)
	}
	pin, err := pinOf(o.pin)
	if err != nil {
		return err
	}
	if old, err := w.Splits(v.Name()); err != nil {
		return err
	} else if old != nil {
		return fmt.Errorf("this log has shown two histories before: %s", words.Say(o.lang, "witness.split"))
	}
	p := &cosign.Poller{Witness: w, Origin: v.Name(), Collector: o.url, Client: cosign.NewClient(pin), Logger: slog.New(slog.NewTextHandler(stderr, nil))}
	if o.once {
		c, t, err := p.Poll(ctx)
		if err == nil {
			fmt.Fprintln(stdout, words.Say(o.lang, "witness.signed", words.Number(o.lang, t.N), words.DateTime(o.lang, c.At)))
		}
		return err
	}
	return o.serve(ctx, w, p, stdout, stderr)
}

// serve signs until ctx ends, or the log has shown two histories.
func (o witnessRun) serve(ctx context.Context, w *cosign.Witness, p *cosign.Poller, stdout, stderr io.Writer) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if o.listen != "" {
		l, err := net.Listen("tcp", o.listen)
		if err != nil {
			return err
		}
		defer l.Close()
		fmt.Fprintf(stdout, "http://%s%s\n", l.Addr(), cosign.PathAdd)
		go func() { stop(serve(ctx, w.Server(), func(h *http.Server) error { return h.Serve(l) })) }()
	}
	if o.url == "" {
		<-ctx.Done()
		return nil
	}
	p.Run(ctx, o.every, func(c wire.Cosignature, t tlog.Tree, err error) {
		switch {
		case errors.Is(err, cosign.ErrSplit):
			stop(err)
		case err != nil:
			fmt.Fprintf(stderr, "collector witness run: %v\n", err)
		default:
			fmt.Fprintln(stdout, words.Say(o.lang, "witness.signed", words.Number(o.lang, t.N), words.DateTime(o.lang, c.At)))
		}
	})
	if err := context.Cause(ctx); errors.Is(err, cosign.ErrSplit) {
		return err
	}
	return nil
}

func runWitnessKnown(ctx context.Context, what string, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("witness "+what, "At the collector: accept KEY takes a witness's cosignatures from now on, end NAME no more; list shows who signs. The key comes from the\n"+
		"witness itself, by another way than this network.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	asJSON := fs.Bool("json", false, "write one JSON object")
	lang := fs.String("lang", "vi", "language: vi or en")
	want := 1
	if what == "list" {
		want = 0
	}
	names, ok, code := parseNamed(fs, args, want)
	if !ok {
		return code
	}
	if len(names) < want {
		fmt.Fprintf(stderr, "collector witness %s: name the witness\n", what)
		return exitUsage
	}
	var req witnessRequest
	switch what {
	case "accept":
		req.Accept = names[0]
	case "end":
		req.End = names[0]
	}
	a, err := atCenter(ctx, *data, stderr, pathWitnesses, req, func(c *center) (witnessAnswer, error) { return c.witnesses(ctx, req, access.Operator) })
	if err != nil {
		fmt.Fprintf(stderr, "collector witness %s: %v\n", what, err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, a)
	}
	return a.write(stdout, words.ParseLang(*lang))
}

// write shows who signs, and what of the round under way was signed.
func (a witnessAnswer) write(stdout io.Writer, l words.Lang) int {
	fmt.Fprintf(stdout, "%s: %s\n", words.Say(l, "report.log.key"), a.LogKey)
	if a.Round.Size > 0 {
		fmt.Fprintln(stdout, words.Say(l, "witness.round", words.Number(l, a.Round.Size), words.DateTime(l, a.Round.Begun), len(a.Round.Signed), len(a.Round.Expected)))
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	names := slices.Clone(a.Round.Expected)
	for _, k := range a.Witnesses {
		if !slices.Contains(names, k.Name()) {
			names = append(names, k.Name())
		}
	}
	for _, name := range names {
		state := words.Say(l, "witness.waiting")
		if at, ok := a.Round.Signed[name]; ok {
			state = words.Say(l, "witness.did", words.DateTime(l, at))
		} else if !slices.Contains(a.Round.Expected, name) {
			state = words.Say(l, "witness.ended")
		}
		fmt.Fprintf(t, "%s\t%s\n", name, state)
	}
	return cmp.Or(exitOf(t.Flush()), exitDone)
}

func exitOf(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitDone
}
