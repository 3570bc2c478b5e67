//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"egovmon/agent/words"
	"egovmon/deploy/lab/control"
	"egovmon/deploy/lab/drill"
	"egovmon/deploy/lab/fault"
	"egovmon/deploy/lab/stage"
)

func runDrill(ctx context.Context, e env, args []string) int {
	fs, dirFlag := newFlags(e, "drill", "Diễn tập theo kịch bản trong phòng thử đang chạy, rồi ghi dự thảo biên bản. Trong lúc đó cán bộ theo dõi bảng và bấm tiếp nhận.\n"+
		"Plays a timed scenario in the lab that runs, and writes draft minutes. Without SCENARIO: lists them.")
	out := fs.String("out", "", "write the minutes to `FILE` (Markdown); default standard output")
	pace := fs.Float64("pace", 1, "times of the scenario are multiplied by this")
	names, code, ok := parse(fs, args, 1)
	if !ok {
		return code
	}
	if len(names) == 0 {
		for _, s := range drill.Scenarios() {
			fmt.Fprintf(e.out, "%-20s %s\n", s.Name, s.Title)
		}
		return exitDone
	}
	s, err := drill.Find(names[0])
	if err != nil {
		return e.fail(exitUsage, "%v", err)
	}
	if !(*pace > 0 && *pace <= 100) {
		return e.fail(exitUsage, "--pace %v: want a number above 0, to 100", *pace)
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
	for _, step := range s.Steps {
		if step.Fault != "" && !slices.Contains(st.Offered, step.Fault) {
			return e.fail(exitFailed, "scenario %s needs the fault %s, which this lab has not", s.Name, step.Fault)
		}
		if step.Unit >= len(st.Units) {
			return e.fail(exitFailed, "scenario %s needs %d communes", s.Name, step.Unit)
		}
	}
	begin := time.Now()
	err = playScenario(ctx, e, c, st, s, *pace)
	lines, linesErr := c.Lines(context.WithoutCancel(ctx), st.Lines)
	if err != nil || linesErr != nil {
		return e.fail(exitFailed, "%v %v", err, linesErr)
	}
	text := drill.Minutes(s, begin, time.Now(), drillEvents(lines, st))
	if *out == "" {
		fmt.Fprint(e.out, text)
		return exitDone
	}
	if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	fmt.Fprintf(e.out, "đã ghi dự thảo biên bản / draft minutes: %s\n", *out)
	return exitDone
}

// playScenario plays the steps; what it has brought about is taken away when it ends early.
func playScenario(ctx context.Context, e env, c *control.Client, st stage.Status, s drill.Scenario, pace float64) (err error) {
	type struck struct{ fault, unit string }
	on := map[struck]bool{}
	defer func() {
		for k := range on {
			if _, e := c.Fault(context.WithoutCancel(ctx), k.fault, k.unit, false); e != nil && err == nil {
				err = e
			}
		}
	}()
	for _, step := range s.Steps {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(float64(step.After) * pace)):
		}
		if step.Fault == "" {
			continue
		}
		k := struck{fault: step.Fault}
		if step.Unit > 0 {
			k.unit = st.Units[step.Unit-1].ID
		}
		if _, err := c.Fault(ctx, k.fault, k.unit, step.On); err != nil {
			return err
		}
		delete(on, k)
		if step.On {
			on[k] = true
		}
		fmt.Fprintf(e.errors, "%s  %s %s %v\n", words.Clock(time.Now()), k.fault, k.unit, step.On)
	}
	return nil
}

// drillEvents turns the transcript into what the minutes tell.
func drillEvents(lines []stage.Line, st stage.Status) []drill.Event {
	name := func(unit string) string {
		for _, u := range st.Units {
			if u.ID == unit {
				return u.Name
			}
		}
		return unit
	}
	var out []drill.Event
	for _, l := range lines {
		ev := drill.Event{At: l.At, What: l.What, Key: l.Incident}
		switch l.What {
		case "fault-on", "fault-off":
			f, err := fault.Find(l.Fault)
			if err != nil {
				continue
			}
			ev.Text = f.Title.VI
			if l.Unit != "" {
				ev.Text += " – " + name(l.Unit)
			}
		case "opened", "closed", "acknowledged":
			ev.Text, ev.Who = l.Service, l.User
			if l.Unit != "" {
				ev.Text = name(l.Unit)
			}
			ev.Text += ": " + l.Reason
		case "told":
			ev.Text = l.Detail
		default:
			continue
		}
		out = append(out, ev)
	}
	return out
}
