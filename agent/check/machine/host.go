package machine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

func hostKind() check.Kind {
	ratio := func(name, def, help string) check.Option {
		return check.Option{Name: name, Type: check.TypeFloat, Default: def, Max: 1, Unit: "ratio", Help: help}
	}
	return check.Kind{
		Name:    "host",
		Family:  "machine",
		Summary: "This computer: processor, memory, disks, network links, temperatures, and when it was started.",
		Options: []check.Option{
			ratio("disk_warn", "0.9", "A disk used above this part of its space is low_resource; 1 for never."),
			{Name: "disk_free_warn", Type: check.TypeBytes, Unit: "bytes", Help: "A disk with less free space than this is low_resource."},
			{Name: "disk_paths", Type: check.TypeStrings, Max: 32,
				Help: `The disks to look at, by mount point (/, D:); without it every local disk.`},
			{Name: "disk_read_only", Type: check.TypeBool, Default: "false", Help: "Whether disks may be read-only; else one that is counts as low_resource, since a failing disk ends so."},
			ratio("inodes_warn", "0.95", "A disk with more than this part of its files used up is low_resource; 1 for never."),
			ratio("mem_warn", "0.95", "Memory used above this part is low_resource; 1 for never."),
			ratio("swap_warn", "1", "Swap used above this part is low_resource; 1 for never."),
			ratio("cpu_warn", "1", "Processors busy above this part since the run before are low_resource; 1 for never."),
			{Name: "temperature_warn", Type: check.TypeFloat, Min: 1, Max: 150, Unit: "°C", Help: "A sensor above this is low_resource; without it none is."},
		},
		Facts:  hostFacts(),
		Phases: []string{"total"},
		New: func(o check.Options, _ check.Env) (check.Func, error) {
			return newHost(o, sources(o.Strings("disk_paths")))
		},
	}
}

func hostFacts() []check.FactDef {
	bytes := func(name, help string) check.FactDef { return check.FactDef{Name: name, Help: help, Max: 1 << 53} }
	ratio := func(name, help string) check.FactDef { return check.FactDef{Name: name, Help: help, Max: 1} }
	count := func(name, help string, most float64) check.FactDef {
		return check.FactDef{Name: name, Help: help, Max: most}
	}
	return []check.FactDef{
		ratio("cpu_used_ratio", "how busy the processors were since the run before; not in the first run"),
		count("cpu_count", "processors that the system sees", 4096),
		count("load_1m_tasks", "tasks running or waiting, over one minute; not on Windows", 1e6),
		count("load_5m_tasks", "the same over five minutes", 1e6),
		count("load_15m_tasks", "the same over fifteen minutes", 1e6),
		bytes("mem_total_bytes", "memory"),
		bytes("mem_available_bytes", "memory that programs can still have"),
		ratio("mem_used_ratio", "part of the memory that they cannot"),
		bytes("swap_total_bytes", "swap space; on Windows the commit limit"),
		bytes("swap_used_bytes", "swap space in use; on Windows the memory committed"),
		ratio("swap_used_ratio", "part of it in use; not without swap space"),
		count("disks_count", "local disks looked at", 10000),
		count("disks_read_only_count", "of them read-only", 10000),
		ratio("disk_used_ratio", "the fullest of them: part used, of what an ordinary user can use"),
		bytes("disk_free_bytes", "the least free space on any of them"),
		ratio("disk_inodes_used_ratio", "part of the files used up on the worst of them; not on Windows"),
		count("boot_unix", "when the system was started", 253402300799),
		count("uptime_s", "seconds since then", 1<<33),
		count("nics_count", "network links other than loopback, hardware ones when there are any", 10000),
		count("nics_up_count", "of them connected", 10000),
		count("nic_errors_count", "errors on them since the start, both ways", 1<<53),
		count("nic_drops_count", "packets dropped on them since the start, both ways", 1<<53),
		bytes("nic_receive_bytes", "bytes received on them since the start"),
		bytes("nic_transmit_bytes", "bytes sent on them since the start"),
		count("nic_speed_bps", "speed of the slowest that is connected, in bits a second", 1e13),
		{Name: "temperature_max_celsius", Help: "the hottest sensor", Min: -100, Max: 200},
		count("sources_failed_count", "parts of the system that could not be read", 100),
	}
}

// A snapshot is what the system said. A nil pointer or slice is a part that could not be read.
type snapshot struct {
	cpu    *cpuTimes
	cpus   int
	load   *[3]float64
	memory *memory
	swap   *memory
	disks  []disk
	boot   time.Time
	uptime time.Duration
	nics   []nic
	temps  []float64
	absent []string // disks that the plan names and that are not there
	failed []string // what could not be read, and why
}

// cpuTimes are seconds of all processors together since the start.
type cpuTimes struct{ busy, all float64 }

type memory struct{ total, free uint64 }

func (m memory) used() float64 {
	if m.total == 0 {
		return 0
	}
	return 1 - float64(min(m.free, m.total))/float64(m.total)
}

type disk struct {
	mount    string
	free     uint64  // for an ordinary user
	used     float64 // 0–1, of what an ordinary user can use
	inodes   float64 // 0–1, of the files; negative where there is no such limit
	readOnly bool
}

type nic struct {
	name             string
	up               bool
	bps              float64 // 0 when unknown
	errors, drops    uint64
	received, sentBy uint64
}

// A hostCheck is one check of the kind host.
type hostCheck struct {
	sources   []*source
	limits    limits
	last      *cpuTimes
	diskPaths []string
}

// limits are what the plan calls too much.
type limits struct {
	disk, inodes, mem, swap, cpu float64
	diskFree                     uint64
	readOnly                     bool
	temperature                  float64 // 0 for none
}

func newHost(o check.Options, from []*source) (check.Func, error) {
	h := &hostCheck{sources: from, diskPaths: o.Strings("disk_paths"), limits: limits{
		disk: o.Float("disk_warn"), inodes: o.Float("inodes_warn"), mem: o.Float("mem_warn"), swap: o.Float("swap_warn"),
		cpu: o.Float("cpu_warn"), diskFree: uint64(max(0, o.Int("disk_free_warn"))), readOnly: o.Bool("disk_read_only"),
		temperature: o.Float("temperature_warn"),
	}}
	if slices.Contains(h.diskPaths, "") {
		return nil, fmt.Errorf("option \"disk_paths\": an empty path: write mount points such as / and D: only")
	}
	return h.run, nil
}

func (h *hostCheck) run(ctx context.Context) check.Result {
	begin := time.Now()
	s := gather(ctx, h.sources)
	r := h.limits.judge(s, h.last)
	r.Facts = facts(s, h.last)
	r.Phases.Add("total", time.Since(begin))
	if s.cpu != nil {
		h.last = s.cpu
	}
	return r
}

// judge says which limit is passed, all of them when there are several.
func (l limits) judge(s *snapshot, last *cpuTimes) check.Result {
	if s.empty() {
		return check.Because(check.NotSupported, "nothing of this system could be read: %s", strings.Join(s.failed, "; "))
	}
	var low []string
	for _, d := range s.disks {
		low = append(low, l.diskFaults(d)...)
	}
	add := func(passed bool, format string, args ...any) {
		if passed {
			low = append(low, fmt.Sprintf(format, args...))
		}
	}
	if s.memory != nil {
		add(over(s.memory.used(), l.mem), "memory %.0f %% used", 100*s.memory.used())
	}
	if s.swap != nil {
		add(over(s.swap.used(), l.swap), "swap %.0f %% used", 100*s.swap.used())
	}
	if busy, ok := s.busy(last); ok {
		add(over(busy, l.cpu), "processors %.0f %% busy", 100*busy)
	}
	for _, t := range s.temps {
		if l.temperature > 0 && t > l.temperature {
			add(true, "a sensor shows %.0f °C", t)
			break
		}
	}
	if len(low) > 0 {
		return check.Because(check.LowResource, "%s", strings.Join(low, "; "))
	}
	if len(s.absent) > 0 {
		return check.Because(check.Misconfigured, "disk_paths: no disk at %s: mount it or take it out of the plan", strings.Join(s.absent, ", "))
	}
	return check.Because(check.OK, "%s", strings.Join(s.failed, "; "))
}

func (l limits) diskFaults(d disk) (low []string) {
	if d.readOnly && !l.readOnly {
		low = append(low, d.mount+" is read-only")
	}
	switch {
	case over(d.used, l.disk):
		low = append(low, fmt.Sprintf("%s %.0f %% used", d.mount, 100*d.used))
	case d.free < l.diskFree:
		low = append(low, fmt.Sprintf("%s has %d MiB free", d.mount, d.free>>20))
	}
	if over(d.inodes, l.inodes) {
		low = append(low, fmt.Sprintf("%s %.0f %% of files used", d.mount, 100*d.inodes))
	}
	return low
}

// over reports whether a ratio passes its limit; the limit 1 is never passed.
func over(v, limit float64) bool { return limit < 1 && v > limit }

// busy returns how busy the processors were since last.
func (s *snapshot) busy(last *cpuTimes) (float64, bool) {
	if s.cpu == nil || last == nil || s.cpu.all <= last.all {
		return 0, false
	}
	return max(0, min(1, (s.cpu.busy-last.busy)/(s.cpu.all-last.all))), true
}

// empty reports whether no part of the system could be read.
func (s *snapshot) empty() bool {
	return s.cpu == nil && s.memory == nil && s.disks == nil && s.nics == nil && s.boot.IsZero()
}

// facts turns what was read into numbers.
func facts(s *snapshot, last *cpuTimes) (fs check.Facts) {
	if busy, ok := s.busy(last); ok {
		fs.Add("cpu_used_ratio", busy)
	}
	if s.cpus > 0 {
		fs.Add("cpu_count", float64(s.cpus))
	}
	if s.load != nil {
		for i, name := range [3]string{"load_1m_tasks", "load_5m_tasks", "load_15m_tasks"} {
			fs.Add(name, s.load[i])
		}
	}
	if m := s.memory; m != nil {
		fs.Add("mem_total_bytes", float64(m.total))
		fs.Add("mem_available_bytes", float64(m.free))
		fs.Add("mem_used_ratio", m.used())
	}
	if m := s.swap; m != nil {
		fs.Add("swap_total_bytes", float64(m.total))
		fs.Add("swap_used_bytes", float64(m.total-min(m.free, m.total)))
		if m.total > 0 {
			fs.Add("swap_used_ratio", m.used())
		}
	}
	diskFacts(&fs, s.disks)
	if !s.boot.IsZero() {
		fs.Add("boot_unix", float64(s.boot.Unix()))
	}
	if s.uptime > 0 {
		fs.Add("uptime_s", s.uptime.Seconds())
	}
	nicFacts(&fs, s.nics)
	if len(s.temps) > 0 {
		hot := s.temps[0]
		for _, t := range s.temps {
			hot = max(hot, t)
		}
		fs.Add("temperature_max_celsius", hot)
	}
	fs.Add("sources_failed_count", float64(len(s.failed)))
	return fs
}

func diskFacts(fs *check.Facts, disks []disk) {
	if disks == nil {
		return
	}
	var readOnly int
	worst := disk{inodes: -1}
	for i, d := range disks {
		if d.readOnly {
			readOnly++
		}
		if i == 0 || d.free < worst.free {
			worst.free = d.free
		}
		worst.used, worst.inodes = max(worst.used, d.used), max(worst.inodes, d.inodes)
	}
	fs.Add("disks_count", float64(len(disks)))
	fs.Add("disks_read_only_count", float64(readOnly))
	if len(disks) == 0 {
		return
	}
	fs.Add("disk_used_ratio", worst.used)
	fs.Add("disk_free_bytes", float64(worst.free))
	if worst.inodes >= 0 {
		fs.Add("disk_inodes_used_ratio", worst.inodes)
	}
}

func nicFacts(fs *check.Facts, nics []nic) {
	if nics == nil {
		return
	}
	var up int
	var sum nic
	for _, n := range nics {
		if n.up {
			up++
			if n.bps > 0 && (sum.bps == 0 || n.bps < sum.bps) {
				sum.bps = n.bps
			}
		}
		sum.errors += n.errors
		sum.drops += n.drops
		sum.received += n.received
		sum.sentBy += n.sentBy
	}
	fs.Add("nics_count", float64(len(nics)))
	fs.Add("nics_up_count", float64(up))
	fs.Add("nic_errors_count", float64(sum.errors))
	fs.Add("nic_drops_count", float64(sum.drops))
	fs.Add("nic_receive_bytes", float64(sum.received))
	fs.Add("nic_transmit_bytes", float64(sum.sentBy))
	if sum.bps > 0 {
		fs.Add("nic_speed_bps", sum.bps)
	}
}
