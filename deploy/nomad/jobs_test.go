package nomad

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"
)

// A block is a piece of a job: enough of HCL for our own files.
type block struct {
	kind, label string
	attrs       map[string]any // string, bool, float64, []any, or expr
	blocks      []*block
}

// An expr is what is no literal: a reference or a call.
type expr string

// parse reads blocks, attributes of one line, and comments of whole lines.
func parse(text string) (*block, error) {
	root := &block{attrs: map[string]any{}}
	stack := []*block{root}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		top := stack[len(stack)-1]
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "}":
			if len(stack) == 1 {
				return nil, fmt.Errorf("line %d: one } too many", n)
			}
			stack = stack[:len(stack)-1]
		case strings.HasSuffix(line, " {"):
			f := strings.Fields(strings.TrimSuffix(line, " {"))
			b := &block{kind: f[0], attrs: map[string]any{}}
			if len(f) == 2 {
				b.label = strings.Trim(f[1], `"`)
			} else if len(f) > 2 {
				return nil, fmt.Errorf("line %d: %q is no head of a block", n, line)
			}
			top.blocks = append(top.blocks, b)
			stack = append(stack, b)
		default:
			k, v, ok := strings.Cut(line, "=")
			if k = strings.TrimSpace(k); !ok || strings.ContainsAny(k, " \"") {
				return nil, fmt.Errorf("line %d: %q is neither block nor attribute", n, line)
			}
			if _, twice := top.attrs[k]; twice {
				return nil, fmt.Errorf("line %d: %s stands twice", n, k)
			}
			var value any
			if json.Unmarshal([]byte(strings.TrimSpace(v)), &value) != nil {
				if strings.HasPrefix(strings.TrimSpace(v), `"`) {
					return nil, fmt.Errorf("line %d: %s is no string", n, v)
				}
				value = expr(strings.TrimSpace(v))
			}
			top.attrs[k] = value
		}
	}
	if len(stack) != 1 {
		return nil, fmt.Errorf("the block %s is not closed", stack[len(stack)-1].kind)
	}
	return root, nil
}

// all lists the blocks at a path of kinds.
func (b *block) all(path ...string) []*block {
	if len(path) == 0 {
		return []*block{b}
	}
	var out []*block
	for _, c := range b.blocks {
		if c.kind == path[0] {
			out = append(out, c.all(path[1:]...)...)
		}
	}
	return out
}

func (b *block) one(t *testing.T, path ...string) *block {
	t.Helper()
	all := b.all(path...)
	if len(all) != 1 {
		t.Fatalf("%s %q has %d of %v, want one", b.kind, b.label, len(all), path)
	}
	return all[0]
}

func (b *block) duration(t *testing.T, key string) time.Duration {
	t.Helper()
	s, _ := b.attrs[key].(string)
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("%s: %s is %v: %v", b.kind, key, b.attrs[key], err)
	}
	return d
}

func job(t *testing.T, file string) (*block, *block) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	root, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	declared := map[string]bool{}
	for _, v := range root.all("variable") {
		declared[v.label] = true
		if v.attrs["description"] == nil || v.attrs["type"] == nil {
			t.Errorf("%s: variable %s lacks type or description", file, v.label)
		}
	}
	body := string(text)[strings.Index(string(text), "\njob "):]
	for name := range declared {
		if !strings.Contains(body, "var."+name) {
			t.Errorf("%s: variable %s is not used", file, name)
		}
	}
	for part := range strings.SplitSeq(body, "var.") {
		if name := part[:strings.IndexFunc(part+" ", func(r rune) bool { return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') })]; part != body[:len(part)] && !declared[name] {
			t.Errorf("%s: var.%s is not declared", file, name)
		}
	}
	return root, root.one(t, "job")
}

// Our job has the structure that a server read from the recommended one.
func TestAgentJob(t *testing.T) {
	_, j := job(t, "agent.nomad.hcl")
	text, err := os.ReadFile("testdata/jobs_parse_agent.json")
	if err != nil {
		t.Fatal(err)
	}
	var want api.Job
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	u := j.one(t, "update")
	got := map[string]any{
		"id": j.label, "type": j.attrs["type"], "namespace": j.attrs["namespace"], "pool": j.attrs["node_pool"], "datacenters": fmt.Sprint(j.attrs["datacenters"]),
		"max_parallel": u.attrs["max_parallel"], "canary": u.attrs["canary"], "auto_promote": u.attrs["auto_promote"], "auto_revert": u.attrs["auto_revert"],
		"health": u.attrs["health_check"], "healthy": u.duration(t, "min_healthy_time"), "deadline": u.duration(t, "healthy_deadline"), "progress": u.duration(t, "progress_deadline"),
		"constraints": constraints(j),
	}
	w := want.Update
	if diff := cmp.Diff(map[string]any{
		"id": *want.ID, "type": *want.Type, "namespace": *want.Namespace, "pool": *want.NodePool, "datacenters": fmt.Sprint(want.Datacenters),
		"max_parallel": float64(*w.MaxParallel), "canary": float64(*w.Canary), "auto_promote": *w.AutoPromote, "auto_revert": *w.AutoRevert,
		"health": *w.HealthCheck, "healthy": *w.MinHealthyTime, "deadline": *w.HealthyDeadline, "progress": *w.ProgressDeadline,
		"constraints": recordedConstraints(want.Constraints),
	}, got); diff != "" {
		t.Errorf("job, -recorded +ours:\n%s", diff)
	}
	groups := j.all("group")
	if len(groups) != len(want.TaskGroups) {
		t.Fatalf("%d groups, want %d", len(groups), len(want.TaskGroups))
	}
	for i, g := range groups {
		compareGroup(t, g, want.TaskGroups[i])
	}
}

func compareGroup(t *testing.T, g *block, want *api.TaskGroup) {
	t.Helper()
	task, d, r := g.one(t, "task"), g.one(t, "disconnect"), g.one(t, "restart")
	s := task.one(t, "service")
	port := g.one(t, "network", "port")
	wt := want.Tasks[0]
	got := map[string]any{
		"name": g.label, "constraints": constraints(g), "lost": d.duration(t, "lost_after"), "replace": d.attrs["replace"], "reconcile": d.attrs["reconcile"],
		"mode": r.attrs["mode"], "attempts": r.attrs["attempts"], "delay": r.duration(t, "delay"), "interval": r.duration(t, "interval"),
		"task": task.label, "driver": task.attrs["driver"], "user": task.attrs["user"], "command": task.one(t, "config").attrs["command"],
		"artifact": task.one(t, "artifact").attrs["destination"], "artifact mode": task.one(t, "artifact").attrs["mode"],
		"port": port.label, "static": port.attrs["static"], "services of the group": len(g.all("service")), "service": s.attrs["name"], "provider": s.attrs["provider"],
		"service port": s.attrs["port"], "tags": fmt.Sprint(s.attrs["tags"]), "check": s.one(t, "check").duration(t, "interval"),
		"cpu": task.one(t, "resources").attrs["cpu"], "memory": task.one(t, "resources").attrs["memory"], "no logs": task.one(t, "logs").attrs["disabled"] == true,
	}
	var user any
	if wt.User != "" {
		user = wt.User
	}
	ws := wt.Services[0]
	if diff := cmp.Diff(map[string]any{
		"name": *want.Name, "constraints": recordedConstraints(want.Constraints), "lost": *want.Disconnect.LostAfter, "replace": *want.Disconnect.Replace, "reconcile": *want.Disconnect.Reconcile,
		"mode": *want.RestartPolicy.Mode, "attempts": float64(*want.RestartPolicy.Attempts), "delay": *want.RestartPolicy.Delay, "interval": *want.RestartPolicy.Interval,
		"task": wt.Name, "driver": wt.Driver, "user": user, "command": wt.Config["command"],
		"artifact": *wt.Artifacts[0].RelativeDest, "artifact mode": *wt.Artifacts[0].GetterMode,
		"port": want.Networks[0].ReservedPorts[0].Label, "static": float64(want.Networks[0].ReservedPorts[0].Value), "services of the group": len(want.Services), "service": ws.Name, "provider": ws.Provider,
		"service port": ws.PortLabel, "tags": fmt.Sprint(ws.Tags), "check": ws.Checks[0].Interval,
		"cpu": float64(*wt.Resources.CPU), "memory": float64(*wt.Resources.MemoryMB), "no logs": *wt.LogConfig.Disabled,
	}, got); diff != "" {
		t.Errorf("group %s, -recorded +ours:\n%s", g.label, diff)
	}
	args, _ := task.one(t, "config").attrs["args"].([]any)
	if len(args) < 3 || args[0] != "run" || args[1] != "--data" || !slices.Contains([]any{"/var/lib/egovmon", `C:\ProgramData\egovmon`}, args[2]) {
		t.Errorf("group %s runs the agent with %v: its data must outlive the allocation", g.label, args)
	}
	if sum, _ := task.one(t, "artifact", "options").attrs["checksum"].(string); !strings.HasPrefix(sum, "sha256:${var.sha256_") {
		t.Errorf("group %s takes its program by checksum %q", g.label, sum)
	}
}

func constraints(b *block) string {
	var out []string
	for _, c := range b.all("constraint") {
		op, value := "=", ""
		if s, ok := c.attrs["operator"].(string); ok {
			op = s
		}
		if c.attrs["value"] != nil {
			value = fmt.Sprint(c.attrs["value"])
		}
		out = append(out, fmt.Sprint(c.attrs["attribute"], " ", op, " ", value))
	}
	return strings.Join(out, "; ")
}

func recordedConstraints(cs []*api.Constraint) string {
	var out []string
	for _, c := range cs {
		out = append(out, fmt.Sprint(c.LTarget, " ", c.Operand, " ", c.RTarget))
	}
	return strings.Join(out, "; ")
}

func TestCollectorJob(t *testing.T) {
	_, j := job(t, "collector.nomad.hcl")
	g := j.one(t, "group")
	task := g.one(t, "task")
	if j.attrs["type"] != "service" || g.attrs["count"] != 1.0 || constraints(j) != "${node.unique.name} = var.node" {
		t.Errorf("type %v, count %v, constraints %q: one collector, where its state is", j.attrs["type"], g.attrs["count"], constraints(j))
	}
	if got := g.one(t, "disconnect").attrs["replace"]; got != false {
		t.Errorf("a collector that Nomad has lost is replaced: %v", got)
	}
	args := fmt.Sprint(task.one(t, "config").attrs["args"])
	if m := task.one(t, "volume_mount"); m.attrs["volume"] != g.one(t, "volume").label || !strings.Contains(args, "--data "+fmt.Sprint(m.attrs["destination"])+" ") {
		t.Errorf("the state is at %v, and the collector runs with %s", m.attrs, args)
	}
	if !strings.Contains(args, "--listen 127.0.0.1:19090") || !strings.Contains(args, "--config "+fmt.Sprint(task.one(t, "template").attrs["destination"])) {
		t.Errorf("the collector runs with %s", args)
	}
	if p := task.one(t, "service").attrs["port"]; p != g.all("network", "port")[0].label {
		t.Errorf("the service is at port %v", p)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"a {\n", "}\n", "a b c d {\n}\n", "a\n", "a = \"x\n", "a = 1\na = 2\n", "two words = 1\n"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// Nomad itself reads the jobs, without a server.
func TestNomadReadsThem(t *testing.T) {
	if _, err := exec.LookPath("nomad"); err != nil {
		t.Skip("nomad is missing: Debian has no package of it; put its release binary on PATH")
	}
	for file, args := range map[string][]string{
		"agent.nomad.hcl":     {"-var", "version=1", "-var", "artifact_base=https://mirror.test", "-var", "sha256_linux=0", "-var", "sha256_windows=0"},
		"collector.nomad.hcl": {"-var", "version=1", "-var", "artifact_base=https://mirror.test", "-var", "sha256=0", "-var", "node=n", "-var", `names=["c.test"]`},
	} {
		out, err := exec.CommandContext(t.Context(), "nomad", append(append([]string{"job", "run", "-output"}, args...), file)...).Output()
		if err != nil || !json.Valid(out) {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
		if out, err := exec.CommandContext(t.Context(), "nomad", "fmt", "-check", file).CombinedOutput(); err != nil {
			t.Errorf("%s: nomad fmt would change it: %s", file, out)
		}
	}
}
