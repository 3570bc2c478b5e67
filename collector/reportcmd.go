package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check/kinds"
	"egovmon/agent/wire"
	"egovmon/agent/words"
	"egovmon/collector/audit"
	"egovmon/collector/profile"
	"egovmon/collector/report"
	"egovmon/collector/stamp"
)

// A reportRequest asks for the report of a period.
type reportRequest struct {
	report.Scope
	Format  string        `json:"format"` // docx, xlsx, pdf, csv or json
	Lang    string        `json:"lang,omitempty"`
	Issuer  report.Issuer `json:"issuer"`
	Issued  bool          `json:"issued,omitempty"`  // the one that was issued, as it was then
	Version int           `json:"version,omitempty"` // of an issued one; 0 is the latest
}

// A fileAnswer is a file that was made.
type fileAnswer struct {
	Data []byte `json:"data"`
}

// report writes the report of a period.
func (c *center) report(ctx context.Context, req reportRequest) (fileAnswer, error) {
	var m report.Model
	var err error
	if req.Issued {
		m, _, err = c.desk.Model(req.Scope, req.Version)
	} else {
		m, err = c.reportModel(ctx, req.Scope, req.Issuer)
	}
	if err != nil {
		return fileAnswer{}, err
	}
	return render(m, req.Format, words.ParseLang(req.Lang))
}

// render writes a report in a format.
func render(m report.Model, format string, l words.Lang) (out fileAnswer, err error) {
	switch format {
	case "docx":
		out.Data, err = report.DOCX(m, l)
	case "xlsx":
		out.Data, err = report.XLSX(m, l)
	case "pdf":
		out.Data, err = report.PDF(m, l)
	case "csv":
		out.Data, err = report.CSV(m)
	case "json":
		out.Data, err = report.JSON(m)
	default:
		err = fmt.Errorf("format %q is none of docx, xlsx, pdf, csv, json", format)
	}
	return out, err
}

func (c *center) reportHandler(w http.ResponseWriter, r *http.Request) {
	var req reportRequest
	if !readRequest(w, r, 64<<10, &req) {
		return
	}
	if err := c.intake.Flush(r.Context()); err != nil {
		answer(w, nil, err)
		return
	}
	a, err := c.report(r.Context(), req)
	answer(w, a, err)
}

func runReport(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && slices.Contains([]string{"draft", "review", "issue", "list"}, args[0]) {
		return runReports(ctx, args[0], args[1:], stdout, stderr)
	}
	fs := newFlags("report", "Writes the report on availability of a period: a draft in the layout of NĐ 30/2020 (docx), a workbook (xlsx),\n"+
		"for printing with charts (pdf), or for programs (csv, json).\n"+
		"Number, date and signature stay empty: the registry clerk and the signer fill them in. Reports that are to last are drafted, reviewed and\n"+
		"issued with `collector report draft|review|issue|list`.", stderr)
	data := fs.String("data", "", "folder of the state `DIR`")
	file := fs.String("out", "", "write to `FILE`; default bao-cao-PERIOD.FORMAT here; - for standard output")
	req := reportRequest{}
	scopeFlags(fs.StringVar, fs.BoolVar, &req.Scope)
	fs.StringVar(&req.Format, "format", "docx", "`FORMAT`: docx, xlsx, pdf, csv or json")
	fs.StringVar(&req.Lang, "lang", "vi", "language: vi or en")
	issuerFlags(fs.StringVar, &req.Issuer)
	fs.BoolVar(&req.Issued, "issued", false, "the report that was issued, made again as it was then")
	fs.IntVar(&req.Version, "version", 0, "with --issued: which version; 0 is the latest")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if _, _, err := profile.ParsePeriod(req.Period, req.Calendar); err != nil {
		fmt.Fprintf(stderr, "collector report: --period: %v\n", err)
		return exitUsage
	}
	a, err := atCenter(ctx, *data, stderr, pathReport, req, func(c *center) (fileAnswer, error) { return c.report(ctx, req) })
	name := *file
	if name == "" {
		name = "bao-cao-" + strings.ToLower(req.ID()) + "." + req.Format
	}
	if err == nil && name == "-" {
		_, err = stdout.Write(a.Data)
	} else if err == nil {
		err = os.WriteFile(name, a.Data, 0o600)
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector report: %v\n", err)
		return exitFailed
	}
	if name != "-" {
		fmt.Fprintln(stdout, name)
	}
	return exitDone
}

// auditHandler streams an export. What goes wrong after its beginning cuts the connection, so that nobody takes a part
// for the whole.
func (c *center) auditHandler(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
	to, err2 := strconv.ParseInt(r.URL.Query().Get("to"), 10, 64)
	if err := errors.Join(err, err2); err != nil {
		answer(w, nil, err)
		return
	}
	o := audit.ExportOptions{From: time.Unix(from, 0).UTC(), To: time.Unix(to, 0).UTC(), Key: c.keys.LogKey, Kinds: kinds.Table()}
	w.Header().Set("Content-Type", "application/zip")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	if err := audit.Export(r.Context(), c.store, o, w); err != nil {
		c.log.Error("an export for the audit has failed", "err", err)
		panic(http.ErrAbortHandler)
	}
}

func runAudit(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "export" {
		return runAuditExport(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "verify" {
		return runAuditVerify(ctx, args[1:], stdout, stderr)
	}
	fmt.Fprintln(stderr, "collector audit: write `collector audit export --period P --out FILE` or `collector audit verify FILE`; each has --help")
	if len(args) > 0 && isHelp(args[0]) {
		return exitDone
	}
	return exitUsage
}

func runAuditExport(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("audit export", "Writes one zip with all that an auditor needs to prove a period offline. It asks the collector that\n"+
		"runs, else it reads the state folder.", stderr)
	data := fs.String("data", "", "folder of the state `DIR`")
	period := fs.String("period", "", "reporting `PERIOD`, e.g. 2026-Q3")
	calendar := fs.Bool("calendar-period", false, "take --period by the calendar")
	file := fs.String("out", "", "the zip, a `FILE`; default kiem-toan-PERIOD.zip here")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	from, to, err := profile.ParsePeriod(*period, *calendar)
	if err != nil {
		fmt.Fprintf(stderr, "collector audit export: --period: %v\n", err)
		return exitUsage
	}
	name := *file
	if name == "" {
		name = "kiem-toan-" + strings.ToLower(*period) + ".zip"
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintf(stderr, "collector audit export: %v\n", err)
		return exitUsage
	}
	err = withCenter(ctx, *data, stderr, func(dir string) error {
		return streamTo(ctx, dir, fmt.Sprintf("%s?from=%d&to=%d", pathAudit, from.Unix(), to.Unix()), f)
	}, func(c *center) error {
		return audit.Export(ctx, c.store, audit.ExportOptions{From: from, To: to, Key: c.keys.LogKey, Kinds: kinds.Table()}, f)
	})
	if err = errors.Join(err, f.Close()); err != nil {
		fmt.Fprintf(stderr, "collector audit export: %v\n", err)
		return exitFailed
	}
	fmt.Fprintln(stdout, name)
	return exitDone
}

func runAuditVerify(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("audit verify", "Proves an export offline: signatures, tree, every batch and its chain, every expected slot; and works given figures out\n"+
		"again. It needs neither collector nor state. It exits 0 when nothing is wrong.", stderr)
	key := fs.String("key", "", "the log's verifier `KEY`, got by another way than the export")
	trust := fs.String("trust", "", "`FILE` with the keys of log and witnesses, earlier checkpoints and the roots of time stamps, all got by other ways; its form\n"+
		"stands in README.en.txt of every export")
	var brought audit.Trust
	fs.Func("witness", "a witness's verifier `KEY`, got by another way; may be repeated", func(s string) error {
		w, err := wire.NewWitness(s)
		brought.Witnesses = append(brought.Witnesses, w)
		return err
	})
	fs.Func("checkpoint", "an earlier state of the log, as printed on a report: `\"NAME LEAVES ROOT\"`; may be repeated", func(s string) error {
		seen, err := audit.ParseSeen(s)
		brought.Seen = append(brought.Seen, seen)
		return err
	})
	fs.Func("tsa", "PEM `FILE` with the roots of an authority of time stamps, got by another way; may be repeated", func(s string) error {
		b, err := os.ReadFile(s)
		if err != nil {
			return err
		}
		roots, err := stamp.ParseRoots(b)
		brought.Roots = append(brought.Roots, roots...)
		return err
	})
	figures := fs.String("figures", "", "compare with the figures in `FILE`, as `collector report --format json` or `availability --json` wrote them")
	asJSON := fs.Bool("json", false, "write one JSON object")
	lang := fs.String("lang", "vi", "language: vi or en")
	names, ok, code := parseNamed(fs, args, 1)
	if !ok {
		return code
	}
	if len(names) == 0 {
		fmt.Fprintln(stderr, "collector audit verify: name the export: collector audit verify FILE")
		return exitUsage
	}
	if *trust != "" {
		b, err := os.ReadFile(*trust)
		var t audit.Trust
		if err == nil {
			t, err = audit.ParseTrust(b)
		}
		if err != nil {
			fmt.Fprintf(stderr, "collector audit verify: %v\n", err)
			return exitUsage
		}
		t.Witnesses, t.Seen, t.Roots = append(t.Witnesses, brought.Witnesses...), append(t.Seen, brought.Seen...), append(t.Roots, brought.Roots...)
		brought = t
	}
	o := audit.Options{Key: *key, Trust: brought, Kinds: kinds.Table(), Batch: historyBatch, Terms: termsAt}
	if *figures != "" {
		b, err := os.ReadFile(*figures)
		if err != nil {
			fmt.Fprintf(stderr, "collector audit verify: %v\n", err)
			return exitUsage
		}
		o.Figures = b
	}
	r, err := audit.Verify(ctx, names[0], o)
	if err != nil {
		fmt.Fprintf(stderr, "collector audit verify: %v\n", err)
		return exitUsage
	}
	if *asJSON {
		if code := printJSON(stdout, stderr, r); code != exitDone {
			return code
		}
	} else if err := r.Write(stdout, words.ParseLang(*lang)); err != nil {
		return exitFailed
	}
	if !r.OK() {
		return exitFailed
	}
	return exitDone
}
