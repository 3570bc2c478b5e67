//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"egovmon/deploy/lab/control"
	"egovmon/deploy/lab/district"
	"egovmon/deploy/lab/fault"
	"egovmon/deploy/lab/score"
)

// A scored is a running lab as the score sees it.
type scored struct {
	c     *control.Client
	units int
}

func (s scored) Fault(ctx context.Context, name, unit string, on bool) error {
	_, err := s.c.Fault(ctx, name, unit, on)
	return err
}

func (s scored) View(ctx context.Context) (score.View, error) {
	b, err := s.c.Board(ctx)
	if err != nil {
		return score.View{}, err
	}
	v := score.View{Well: b.Ready(s.units) == nil}
	for _, i := range openOf(b) {
		component := i.Service
		switch i.Kind {
		case "line":
			component = fault.TheLine
		case "fleet":
			component = fault.TheFleet
		}
		v.Open = append(v.Open, score.Incident{ID: i.ID, Component: component, Unit: i.Unit, Reason: i.Reason, Opened: i.Opened,
			Cause: i.Cause.Kind, Name: i.Cause.Name, Of: i.Cause.Service, Owner: i.Cause.Owner, Through: i.Through, Silent: i.State != "down"})
	}
	for _, c := range b.Cells {
		if c.State == "down" {
			v.Down = append(v.Down, c.Service+" "+c.Unit)
		}
	}
	return v, nil
}

// Told counts the messages that told of openings.
func (s scored) Told(ctx context.Context) (n int, err error) {
	lines, err := s.c.Lines(ctx, 0)
	for _, l := range lines {
		if l.What == "told" && strings.Contains(l.Event, "opened") {
			n++
		}
	}
	return n, err
}

func runScore(ctx context.Context, e env, args []string) int {
	fs, dirFlag := newFlags(e, "score", "Gây từng sự cố rồi từng cặp, so nguyên nhân hệ thống nêu với nguyên nhân thật. Cần một phòng thử đang chạy.\n"+
		"Plays every single fault and random pairs, and compares the stated causes with the true ones. A lab must be running.")
	only := fs.String("only", "", "play these faults alone: `NAME,NAME`")
	doubles := fs.Int("doubles", 0, "how many random pairs")
	pairs := fs.Bool("pairs", false, "play the random pairs alone")
	read := fs.String("read", "", "add up the runs in these `FILES`, which --json wrote, with a comma between them; needs no lab")
	seed := fs.Uint64("seed", 1, "seed of the pairs and the units")
	hold := fs.Duration("hold", 75*time.Second, "how long each case lasts at most")
	asJSON := fs.Bool("json", false, "write every case and the summary as one JSON object")
	if _, code, ok := parse(fs, args, 0); !ok {
		return code
	}
	if *doubles < 0 || *doubles > 1000 || *hold < time.Second || *hold > time.Hour {
		return e.fail(exitUsage, "--doubles from 0 to 1000, --hold from 1s to 1h")
	}
	if *read != "" {
		return addUp(e, strings.Split(*read, ","))
	}
	o := score.Options{Doubles: *doubles, Pairs: *pairs, Seed: *seed, Hold: *hold, Settle: 3 * time.Minute}
	if *only != "" {
		for name := range strings.SplitSeq(*only, ",") {
			f, err := fault.Find(strings.TrimSpace(name))
			if err != nil {
				return e.fail(exitUsage, "%v", err)
			}
			o.Only = append(o.Only, f.Name)
		}
	}
	dir, err := labDir(*dirFlag)
	if err != nil {
		return e.fail(exitUsage, "%v", err)
	}
	c := control.Dial(dir)
	st, err := c.Status(ctx)
	if err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	o.Offered = st.Offered
	for _, u := range st.Units {
		if u.ID != district.Home {
			o.Units = append(o.Units, u.ID)
		}
	}
	o.Said = func(c score.Case) { fmt.Fprintln(e.errors, caseLine(c)) }
	cases := score.Play(ctx, scored{c, len(st.Units)}, o)
	sum := score.Sum(cases)
	if *asJSON {
		if err := json.NewEncoder(e.out).Encode(map[string]any{"seed": *seed, "cases": cases, "summary": sum}); err != nil {
			return e.fail(exitFailed, "%v", err)
		}
	} else {
		writeSummary(e.out, sum, st.Missing)
	}
	if len(cases) == 0 || len(sum.Unplayed) > 0 {
		return e.fail(exitFailed, "%d of %d cases were played", sum.Cases, len(score.Cases(o)))
	}
	return exitDone
}

// addUp writes the summary of recorded runs.
func addUp(e env, files []string) int {
	var all []score.Case
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return e.fail(exitUsage, "%v", err)
		}
		cases, err := score.Read(f)
		_ = f.Close()
		if err != nil {
			return e.fail(exitUsage, "%s: %v", name, err)
		}
		all = append(all, cases...)
	}
	for _, c := range all {
		fmt.Fprintln(e.out, caseLine(c))
	}
	writeSummary(e.out, score.Sum(all), nil)
	return exitDone
}

// caseLine tells one case in a line.
func caseLine(c score.Case) string {
	if c.Err != "" {
		return fmt.Sprintf("%-40s not played: %s", score.Name(c), c.Err)
	}
	var parts []string
	for _, r := range score.Judge(c) {
		word := "wrong"
		if r.Right {
			word = "right"
		}
		if r.Right && !r.Cause {
			word = "right, of another kind"
		}
		if r.Right && !r.Owner {
			word += ", another owner"
		}
		parts = append(parts, fmt.Sprintf("%s: %s (%s)", word, r.Named, r.After.Round(time.Second)))
	}
	return fmt.Sprintf("%-40s %s; told %d, too many %d; naive %d alerts after %s", score.Name(c), strings.Join(parts, ", "), c.Told, score.Extra(c), len(c.Naive), c.NaiveAfter.Round(time.Second))
}

// writeSummary writes the matrix and the figures, today's build beside the naive rule.
func writeSummary(w io.Writer, s score.Summary, missing []string) {
	columns := s.Columns()
	fmt.Fprintf(w, "\nNguyên nhân thật (hàng) × nguyên nhân nêu ra (cột) / true cause (rows) × stated cause (columns)\n%-12s", "")
	for _, c := range columns {
		fmt.Fprintf(w, " %11s", c)
	}
	fmt.Fprintln(w)
	for _, cause := range slices.Sorted(maps.Keys(s.Matrix)) {
		fmt.Fprintf(w, "%-12s", cause)
		for _, c := range columns {
			n := fmt.Sprint(s.Matrix[cause][c])
			if n == "0" {
				n = "."
			}
			fmt.Fprintf(w, " %11s", n)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%-52s %12s %12s %12s\n", "", "build", "naive", "3 of n")
	fmt.Fprintf(w, "%-52s %9d/%-2d %9d/%-2d %9d/%-2d\n", "đúng / right, of the faults", s.Right, s.Faults, s.NaiveRight, s.Faults, s.QuorumRight, s.Faults)
	fmt.Fprintf(w, "%-52s %12s %12s\n", "phát hiện, trung vị / time to detect, median", s.Median.Round(time.Second), s.NaiveAfter.Round(time.Second))
	fmt.Fprintf(w, "%-52s %12.1f %12.1f %12.1f\n", "cảnh báo mỗi lần / alerts per case", per(s.Told, s.Cases), per(s.NaiveAlerts, s.Cases), per(s.QuorumAlerts, s.Cases))
	fmt.Fprintf(w, "%-52s %12s %12s\n", "… lâu nhất / longest", s.Longest.Round(time.Second), "-")
	fmt.Fprintf(w, "%-52s %12d %12s\n", "nêu sai / statements that name what is not to blame", s.Extra, "-")
	fmt.Fprintf(w, "%-52s %12.0f %12.0f\n", "giây gián đoạn tính sai / wrong seconds of downtime", s.Wrong.Seconds(), s.NaiveWrong.Seconds())
	fmt.Fprintf(w, "\n%-52s %12s %12s %12s\n", "", "place", "+ cause", "+ owner")
	for _, name := range []string{score.Singles, score.Kept, score.Doubles} {
		if p := s.Parts[name]; p.Faults > 0 {
			fmt.Fprintf(w, "%-52s %9d/%-2d %9d/%-2d %9d/%-2d\n", name, p.Right, p.Faults, p.Cause, p.Faults, p.Owner, p.Faults)
		}
	}
	if s.Hidden > 0 {
		fmt.Fprintf(w, "%-52s %12d\n", "bị sự cố khác che / hidden by the other fault", s.Hidden)
	}
	for _, m := range s.Unplayed {
		fmt.Fprintf(w, "không diễn được / not played: %s\n", m)
	}
	for _, m := range missing {
		fmt.Fprintf(w, "không có ở đây / not to be had here: %s\n", m)
	}
}

func per(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}
