package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"egovmon/agent/check/kinds"
	"egovmon/collector/profile"
)

func runProfile(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("profile", "`collector profile check DIR` lists what is to be mended in a profile: errors, which keep it from being used, and\n"+
		"warnings. It exits 0 when there are no errors.", stderr)
	quiet := fs.Bool("errors", false, "leave the warnings out")
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		if ok, code := parse(fs, args); !ok {
			return code
		}
		fmt.Fprintln(stderr, "collector profile: write `collector profile check DIR`")
		return exitUsage
	}
	if args[0] != "check" || len(args) < 2 {
		fmt.Fprintln(stderr, "collector profile: write `collector profile check DIR`")
		return exitUsage
	}
	dir := args[1]
	if ok, code := parse(fs, args[2:]); !ok {
		return code
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		fmt.Fprintf(stderr, "collector profile: %s is no folder: name the folder that holds units.yaml\n", dir)
		return exitUsage
	}
	problems := profile.Check(os.DirFS(dir), kinds.Table(), time.Now())
	errs, warnings := 0, 0
	for _, p := range problems {
		if p.Warning {
			warnings++
			if *quiet {
				continue
			}
		} else {
			errs++
		}
		fmt.Fprintln(stdout, p)
	}
	fmt.Fprintf(stdout, "%d errors, %d warnings\n", errs, warnings)
	if errs > 0 {
		return exitFailed
	}
	return exitDone
}

func runPlan(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("plan", "Shows what a machine would be told now: its plan, and for every service why its checks are in it or not.", stderr)
	machine := fs.String("machine", "", "the machine's `NAME` in machines.yaml")
	dir := fs.String("profile", "", "folder `DIR` of the profile; default the sample in the program")
	on := fs.String("on", "", "as of this day, `YYYY-MM-DD`; default today")
	agents := fs.String("agents", defaultAgents, "`ADDR` for agents, for the parameter collector.agents")
	only := fs.Bool("yaml", false, "write the plan alone, as `agent check --plan -` reads it")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if *machine == "" {
		fmt.Fprintln(stderr, "collector plan: --machine NAME is missing; machines.yaml of the profile lists them")
		return exitUsage
	}
	at := time.Now()
	if *on != "" {
		d, err := profile.ParseDate(*on)
		if err != nil {
			fmt.Fprintf(stderr, "collector plan: %v\n", err)
			return exitUsage
		}
		at = d.Start().Add(12 * time.Hour)
	}
	p, err := openProfile(*dir)
	if err != nil {
		fmt.Fprintf(stderr, "collector plan: %v\n", err)
		return exitUsage
	}
	text, why, err := p.PlanFor(*machine, at, map[string]string{"collector.agents": *agents}, 1)
	if err != nil {
		fmt.Fprintf(stderr, "collector plan: %v\n", err)
		return exitUsage
	}
	if _, err := stdout.Write(text); err != nil {
		return exitFailed
	}
	if *only {
		return exitDone
	}
	fmt.Fprintln(stdout, "\n# Why each check is in the plan, or not:")
	for _, w := range why {
		mark, id := "-", w.Check
		if w.Planned() {
			mark = "+"
		}
		if id == "" {
			id = w.Service
		}
		fmt.Fprintf(stdout, "# %s %-28s %-16s %s\n", mark, id, w.Because, w.Detail)
	}
	return exitDone
}
