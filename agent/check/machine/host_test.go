package machine

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	psdisk "github.com/shirou/gopsutil/v3/disk"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// options are the kind's defaults and what the test says.
func options(t *testing.T, o check.Options) check.Options {
	t.Helper()
	all := check.Options{}
	for _, d := range hostKind().Options {
		if d.Default == "" {
			continue
		}
		v, err := plan.Default(d)
		if err != nil {
			t.Fatalf("default of %s: %v", d.Name, err)
		}
		all[d.Name] = v
	}
	for name, v := range o {
		if _, ok := hostKind().Option(name); !ok {
			t.Fatalf("no option %q", name)
		}
		all[name] = v
	}
	return all
}

// declared reports what in a result the kind did not promise.
func declared(t *testing.T, r check.Result) {
	t.Helper()
	if !r.Reason.Valid() || r.State != r.Reason.State() {
		t.Errorf("reason %q with state %s", r.Reason, r.State)
	}
	for _, f := range r.Facts {
		if d, ok := hostKind().Fact(f.Name); !ok || f.Value < d.Min || f.Value > d.Max {
			t.Errorf("fact %s = %v: declared %v [%v, %v]", f.Name, f.Value, ok, d.Min, d.Max)
		}
	}
	for _, p := range r.Phases {
		if !slices.Contains(hostKind().Phases, p.Name) {
			t.Errorf("phase %s is not declared", p.Name)
		}
	}
}

func TestThisMachine(t *testing.T) {
	f, err := hostKind().New(options(t, check.Options{"disk_warn": 1.0, "mem_warn": 1.0, "inodes_warn": 1.0, "disk_read_only": true}), check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := f(ctx)
	declared(t, r)
	if r.Reason != check.OK {
		t.Errorf("got %s (%s), want ok", r.Reason, r.Detail)
	}
	want := []string{"cpu_count", "mem_total_bytes", "mem_available_bytes", "mem_used_ratio", "disks_count", "disk_used_ratio", "disk_free_bytes", "boot_unix", "uptime_s", "nics_count"}
	for _, name := range want {
		if _, ok := r.Facts.Get(name); !ok {
			t.Errorf("no fact %s in %v (%s)", name, r.Facts, r.Detail)
		}
	}
	if _, ok := r.Facts.Get("cpu_used_ratio"); ok {
		t.Error("the first run tells how busy the processors were, and there is nothing to compare with")
	}
	declared(t, f(ctx))
	t.Logf("%+v", r)
}

// fixed is a source that always applies the same.
func fixed(name string, apply func(*snapshot)) *source {
	return &source{name: name, read: func(context.Context) (func(*snapshot), error) { return apply, nil }}
}

func TestLowResource(t *testing.T) {
	roomy := disk{mount: "/", free: 50 << 30, used: 0.5, inodes: 0.1}
	tests := []struct {
		name   string
		with   check.Options
		apply  func(*snapshot)
		reason check.Reason
		detail string
	}{
		{"all is well", nil, func(s *snapshot) { s.disks = []disk{roomy} }, check.OK, ""},
		{"at the limit", nil, func(s *snapshot) { s.disks = []disk{{mount: "/", free: 1, used: 0.9, inodes: -1}} }, check.OK, ""},
		{"disk full", nil, func(s *snapshot) { s.disks = []disk{roomy, {mount: "/home", free: 1, used: 0.91, inodes: -1}} }, check.LowResource, "/home 91 % used"},
		{"disk full, limit off", check.Options{"disk_warn": 1.0}, func(s *snapshot) { s.disks = []disk{{used: 1, inodes: -1}} }, check.OK, ""},
		{"little free", check.Options{"disk_free_warn": int64(1 << 30)}, func(s *snapshot) { s.disks = []disk{{mount: "D:", free: 512 << 20, used: 0.1}} }, check.LowResource, "D: has 512 MiB free"},
		{"files used up", nil, func(s *snapshot) { s.disks = []disk{{mount: "/", free: 1 << 40, inodes: 0.99}} }, check.LowResource, "/ 99 % of files used"},
		{"read-only", nil, func(s *snapshot) { s.disks = []disk{{mount: "/", free: 1, readOnly: true}} }, check.LowResource, "/ is read-only"},
		{"read-only allowed", check.Options{"disk_read_only": true}, func(s *snapshot) { s.disks = []disk{{mount: "/", free: 1, readOnly: true}} }, check.OK, ""},
		{"memory", nil, func(s *snapshot) { s.memory = &memory{100, 4} }, check.LowResource, "memory 96 % used"},
		{"swap", check.Options{"swap_warn": 0.5}, func(s *snapshot) { s.swap, s.memory = &memory{100, 40}, &memory{100, 90} }, check.LowResource, "swap 60 % used"},
		{"no swap", check.Options{"swap_warn": 0.5}, func(s *snapshot) { s.swap, s.memory = &memory{}, &memory{100, 90} }, check.OK, ""},
		{"temperature", check.Options{"temperature_warn": 80.0}, func(s *snapshot) { s.temps, s.memory = []float64{40, 81}, &memory{100, 90} }, check.LowResource, "a sensor shows 81 °C"},
		{"temperature without limit", nil, func(s *snapshot) { s.temps, s.memory = []float64{140}, &memory{100, 90} }, check.OK, ""},
		{"nothing to read", nil, func(*snapshot) {}, check.NotSupported, "nothing of this system could be read: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := newHost(options(t, tt.with), []*source{fixed("made up", tt.apply)})
			if err != nil {
				t.Fatal(err)
			}
			r := f(t.Context())
			declared(t, r)
			if r.Reason != tt.reason || r.Detail != tt.detail {
				t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, tt.reason, tt.detail)
			}
		})
	}
}

func TestBusySinceTheRunBefore(t *testing.T) {
	now := cpuTimes{busy: 100, all: 1000}
	f, err := newHost(options(t, check.Options{"cpu_warn": 0.5}), []*source{{name: "processors", read: func(context.Context) (func(*snapshot), error) {
		c := now
		return func(s *snapshot) { s.cpu = &c }, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		busy, all float64
		want      check.Reason
		ratio     float64 // negative for none
	}{
		{100, 1000, check.OK, -1},
		{160, 1100, check.LowResource, 0.6},
		{170, 1200, check.OK, 0.1},
		{170, 1200, check.OK, -1}, // no time has passed
		{5, 10, check.OK, -1},     // the counters began anew
		{4, 20, check.OK, 0},      // idle time was taken back
	}
	for i, st := range steps {
		now = cpuTimes{st.busy, st.all}
		r := f(t.Context())
		declared(t, r)
		got, ok := r.Facts.Get("cpu_used_ratio")
		if r.Reason != st.want || ok != (st.ratio >= 0) || ok && got != st.ratio {
			t.Errorf("step %d: got %s, %v %v, want %s, %v", i, r.Reason, got, ok, st.want, st.ratio)
		}
	}
}

func TestOneSourceFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		from := []*source{
			fixed("memory", func(s *snapshot) { s.memory = &memory{100, 50} }),
			{name: "disks", read: func(context.Context) (func(*snapshot), error) { return nil, errors.New("no such device") }},
			{name: "links", read: func(context.Context) (func(*snapshot), error) { panic("odd card") }},
			{name: "temperatures", read: func(context.Context) (func(*snapshot), error) {
				<-release // deaf to ctx, as WMI and a dead network disk are
				return func(s *snapshot) { s.temps = []float64{1} }, nil
			}},
		}
		f, err := newHost(options(t, nil), from)
		if err != nil {
			t.Fatal(err)
		}
		run := func() check.Result {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			begin := time.Now()
			r := f(ctx)
			declared(t, r)
			if took := time.Since(begin); took >= 5*time.Second || r.Reason != check.OK {
				t.Errorf("%s after %s (%s), want ok before the time is over", r.Reason, took, r.Detail)
			}
			return r
		}
		r := run()
		if n, _ := r.Facts.Get("sources_failed_count"); n != 3 {
			t.Errorf("%v sources failed, want 3: %s", n, r.Detail)
		}
		for _, words := range []string{"disks: no such device", "links: panic: odd card", "temperatures: no answer in time"} {
			if !strings.Contains(r.Detail, words) {
				t.Errorf("detail %q does not hold %q", r.Detail, words)
			}
		}
		if r := run(); !strings.Contains(r.Detail, "temperatures: still reading since an earlier run") {
			t.Errorf("a source that hangs was asked again: %s", r.Detail)
		}
		close(release)
		synctest.Wait()
		if r := run(); strings.Contains(r.Detail, "temperatures") {
			t.Errorf("a source that came back was not asked again: %s", r.Detail)
		}
	})
}

func TestChooseDisks(t *testing.T) {
	parts := []psdisk.PartitionStat{
		{Device: "/dev/sda1", Mountpoint: "/etc/hosts", Fstype: "ext4", Opts: []string{"rw", "bind"}},
		{Device: "/dev/sda1", Mountpoint: "/srv/data", Fstype: "ext4", Opts: []string{"rw"}},
		{Device: "/dev/sda1", Mountpoint: "/", Fstype: "ext4", Opts: []string{"rw"}},
		{Device: "/dev/sdb1", Mountpoint: "/x", Fstype: "ext4", Opts: []string{"ro", "bind"}},
		{Device: "/dev/loop3", Mountpoint: "/snap/core", Fstype: "squashfs", Opts: []string{"ro"}},
		{Device: "D:", Mountpoint: "D:", Fstype: "CDFS", Opts: []string{"ro"}},
	}
	mounts := func(ps []psdisk.PartitionStat) (ms []string) {
		for _, p := range ps {
			ms = append(ms, p.Mountpoint)
		}
		return ms
	}
	if diff := cmp.Diff([]string{"/", "/x"}, mounts(choose(parts, nil))); diff != "" {
		t.Errorf("each local disk once (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/srv/data", "/gone"}, mounts(choose(parts, []string{"/srv/data", "/gone"}))); diff != "" {
		t.Errorf("the paths of the plan (-want +got):\n%s", diff)
	}
}

func TestDiskPathThatIsNotThere(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a path that no drive letter has")
	}
	f, err := hostKind().New(options(t, check.Options{"disk_paths": []string{"/no/such/disk"}, "mem_warn": 1.0}), check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if r := f(t.Context()); r.Reason != check.Misconfigured || !strings.Contains(r.Detail, "/no/such/disk") {
		t.Errorf("got %s %q, want misconfigured with the path named", r.Reason, r.Detail)
	}
	if _, err := hostKind().New(options(t, check.Options{"disk_paths": []string{""}}), check.Env{}); err == nil {
		t.Error("an empty path was accepted")
	}
}

func TestWorstDisk(t *testing.T) {
	s := &snapshot{disks: []disk{
		{mount: "/", free: 10, used: 0.2, inodes: -1},
		{mount: "/a", free: 4, used: 0.1, inodes: 0.3, readOnly: true},
		{mount: "/b", free: 6, used: 0.7, inodes: 0.2},
	}, nics: []nic{{up: true, bps: 1e9, errors: 1, drops: 2, received: 3, sentBy: 4}, {up: true, bps: 1e8, errors: 10}, {bps: 1e6}}}
	want := check.Facts{
		{Name: "disks_count", Value: 3}, {Name: "disks_read_only_count", Value: 1}, {Name: "disk_used_ratio", Value: 0.7},
		{Name: "disk_free_bytes", Value: 4}, {Name: "disk_inodes_used_ratio", Value: 0.3},
		{Name: "nics_count", Value: 3}, {Name: "nics_up_count", Value: 2}, {Name: "nic_errors_count", Value: 11},
		{Name: "nic_drops_count", Value: 2}, {Name: "nic_receive_bytes", Value: 3}, {Name: "nic_transmit_bytes", Value: 4},
		{Name: "nic_speed_bps", Value: 1e8}, {Name: "sources_failed_count", Value: 0},
	}
	if diff := cmp.Diff(want, facts(s, nil)); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

// The kind can be planned with nothing said, and says of each option and fact what it is for.
func TestKindIsWhole(t *testing.T) {
	text := "plan: test\nchecks:\n" +
		"  - {id: pc.host, kind: host, every: 60s}\n" +
		"  - {id: pc.disk, kind: host, every: 60s, with: {disk_paths: ['D:'], disk_warn: 0.8, disk_free_warn: 10GiB, temperature_warn: 85}}\n"
	if _, err := plan.Parse([]byte(text), Kinds()); err != nil {
		t.Errorf("the plan was refused:\n%v", err)
	}
	seen := map[string]bool{}
	for _, o := range hostKind().Options {
		if seen[o.Name] || o.Type == "" || !strings.HasSuffix(o.Help, ".") {
			t.Errorf("option %s: twice, without type or help", o.Name)
		}
		seen[o.Name] = true
	}
	for _, f := range hostKind().Facts {
		if seen[f.Name] || f.Help == "" || f.Min >= f.Max {
			t.Errorf("fact %s: twice, without help or bounds", f.Name)
		}
		seen[f.Name] = true
	}
}
