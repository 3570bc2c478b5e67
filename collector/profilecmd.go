package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"egovmon/agent/check/kinds"
	"egovmon/collector/profile"
)

func runProfile(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("profile", "`collector profile check DIR` lists what is to be mended in a profile: errors, which keep it from being used, and\n"+
		"warnings. It exits 0 when there are no errors.", stderr)
	quiet := fs.Bool("errors", false, "leave the warnings out")
	names, ok, code := parseNamed(fs, args, 2)
	if !ok {
		return code
	}
	if len(names) != 2 || names[0] != "check" {
		fmt.Fprintln(stderr, "collector profile: write `collector profile check DIR`")
		return exitUsage
	}
	dir := names[1]
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

func runPlan(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("plan", "Shows what a machine would be told now: its plan, and for every service why its checks are in it or not.", stderr)
	machine := fs.String("machine", "", "the machine's `NAME` in machines.yaml")
	data := fs.String("data", "", "folder `DIR` of the state, whose profile and machines are taken")
	dir := fs.String("profile", "", "folder `DIR` of a profile to take instead")
	on := fs.String("on", "", "as of this day, `YYYY-MM-DD`; default today")
	agents := fs.String("agents", "", "`ADDR` for agents, for the parameter collector.agents; default the collector's own")
	only := fs.Bool("yaml", false, "write the plan alone, as agent check --plan - reads it")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if *machine == "" {
		fmt.Fprintln(stderr, "collector plan: --machine NAME is missing; machines.yaml of the profile lists them")
		return exitUsage
	}
	req := planRequest{Machine: *machine, At: time.Now(), Agents: *agents}
	if *on != "" {
		d, err := profile.ParseDate(*on)
		if err != nil {
			fmt.Fprintf(stderr, "collector plan: %v\n", err)
			return exitUsage
		}
		req.At = d.Start().Add(12 * time.Hour)
	}
	a, err := findPlan(ctx, req, *data, *dir, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "collector plan: %v\n", err)
		return exitUsage
	}
	if _, err := io.WriteString(stdout, a.Plan); err != nil {
		return exitFailed
	}
	if *only {
		return exitDone
	}
	fmt.Fprintln(stdout, "\n# Why each check is in the plan, or not:")
	for _, w := range a.Why {
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

// A planRequest asks what a machine would be told at an instant.
type planRequest struct {
	Machine string    `json:"machine"`
	At      time.Time `json:"at"`
	Agents  string    `json:"agents,omitempty"` // for the parameter collector.agents; "" takes the collector's own
}

// A planAnswer says it, and why.
type planAnswer struct {
	Plan string        `json:"plan"` // YAML
	Why  []profile.Why `json:"why"`
}

// findPlan derives a plan from a profile by itself when one is named or there is no state yet, else as the collector has it.
func findPlan(ctx context.Context, req planRequest, data, dir string, stderr io.Writer) (a planAnswer, err error) {
	state, err := dataDir(data)
	if err != nil {
		return a, err
	}
	if _, err := os.Stat(filepath.Join(state, evidenceDir)); dir != "" || err != nil {
		p, err := openProfile(dir)
		if err != nil {
			return a, err
		}
		text, why, err := p.PlanFor(req.Machine, req.At, map[string]string{"collector.agents": cmp.Or(req.Agents, defaultAgents)}, 1)
		return planAnswer{string(text), why}, err
	}
	err = withCenter(ctx, data, stderr, func(dir string) error {
		return call(ctx, dir, http.MethodPost, pathPlan, req, &a)
	}, func(c *center) (err error) {
		a, err = c.wouldPlan(req)
		return err
	})
	return a, err
}

// wouldPlan derives the plan of a machine: the one in force when it says the same, else the next version.
func (c *center) wouldPlan(req planRequest) (planAnswer, error) {
	p, params := c.district(), c.builtins()
	params["collector.agents"] = cmp.Or(req.Agents, params["collector.agents"], c.config.Agents, defaultAgents)
	if _, _, err := p.PlanFor(req.Machine, req.At, params, 1); err != nil {
		return planAnswer{}, err
	}
	old, version, has, err := c.intake.Plan(req.Machine)
	if err != nil {
		return planAnswer{}, err
	}
	text, why, err := p.PlanFor(req.Machine, req.At, params, version+1)
	if err == nil && has && profile.SamePlan(old, text) {
		text = old
	}
	return planAnswer{string(text), why}, err
}
