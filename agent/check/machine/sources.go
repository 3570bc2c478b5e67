package machine

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	psdisk "github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
	psnet "github.com/shirou/gopsutil/v3/net"

	"egovmon/agent/check"
)

// sources are the parts of this system. Windows has no load average, and gopsutil's imitation of it needs a goroutine
// for ever.
func sources(diskPaths []string) []*source {
	all := []*source{
		{name: "processors", read: readCPU},
		{name: "memory", read: readMemory},
		{name: "swap", read: readSwap},
		{name: "disks", read: func(ctx context.Context) (func(*snapshot), error) { return readDisks(ctx, diskPaths) }},
		{name: "start", read: readBoot},
		{name: "links", read: readNICs},
		{name: "temperatures", read: readTemperatures},
	}
	if runtime.GOOS != "windows" {
		all = append(all, &source{name: "load", read: readLoad})
	}
	return all
}

func readCPU(ctx context.Context) (func(*snapshot), error) {
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return nil, err
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("no times")
	}
	t := times[0]
	// Guest time is counted in User and Nice already (proc(5)).
	idle := t.Idle + t.Iowait
	busy := t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal
	return func(s *snapshot) { s.cpu, s.cpus = &cpuTimes{busy, busy + idle}, runtime.NumCPU() }, nil
}

func readLoad(ctx context.Context) (func(*snapshot), error) {
	a, err := load.AvgWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return func(s *snapshot) { s.load = &[3]float64{a.Load1, a.Load5, a.Load15} }, nil
}

func readMemory(ctx context.Context) (func(*snapshot), error) {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return func(s *snapshot) { s.memory = &memory{m.Total, m.Available} }, nil
}

func readSwap(ctx context.Context) (func(*snapshot), error) {
	m, err := mem.SwapMemoryWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return func(s *snapshot) { s.swap = &memory{m.Total, m.Total - min(m.Used, m.Total)} }, nil
}

func readBoot(ctx context.Context) (func(*snapshot), error) {
	boot, err := host.BootTimeWithContext(ctx)
	if err != nil {
		return nil, err
	}
	up, err := host.UptimeWithContext(ctx)
	return func(s *snapshot) {
		s.boot, s.uptime = time.Unix(int64(boot), 0), time.Duration(up)*time.Second
	}, err
}

// readTemperatures leaves out sensors that are not connected, which show zero or nonsense. Most machines let some of
// their sensors not be read; what can be is enough.
func readTemperatures(ctx context.Context) (func(*snapshot), error) {
	sensors, err := host.SensorsTemperaturesWithContext(ctx)
	var temps []float64
	for _, t := range sensors {
		if t.Temperature > 0 && t.Temperature < 150 {
			temps = append(temps, t.Temperature)
		}
	}
	if len(temps) == 0 {
		if len(sensors) > 0 || runtime.GOOS == "windows" {
			err = nil // WMI without sensors answers with an error
		}
		return nil, err
	}
	return func(s *snapshot) { s.temps = temps }, nil
}

func readDisks(ctx context.Context, paths []string) (func(*snapshot), error) {
	// Its error may be about one drive only; what was found counts.
	parts, err := psdisk.PartitionsWithContext(ctx, false)
	mounts := choose(parts, paths)
	if len(mounts) == 0 {
		if err != nil {
			return nil, err
		}
		mounts = []psdisk.PartitionStat{{Mountpoint: rootPath()}} // a container sees its root only
	}
	disks := []disk{}
	var failed, absent []string
	for _, m := range mounts {
		u, err := psdisk.UsageWithContext(ctx, usagePath(m.Mountpoint))
		switch {
		case err != nil && len(paths) > 0:
			absent = append(absent, m.Mountpoint)
			continue
		case err != nil:
			failed = append(failed, fmt.Sprintf("%s: %v", m.Mountpoint, err))
			continue
		}
		if u.Total == 0 {
			continue
		}
		d := disk{mount: m.Mountpoint, free: u.Free, used: unit(u.UsedPercent / 100), inodes: -1, readOnly: slices.Contains(m.Opts, "ro")}
		if u.InodesTotal > 0 {
			d.inodes = unit(u.InodesUsedPercent / 100)
		}
		disks = append(disks, d)
	}
	err = nil
	if len(failed) > 0 {
		err = fmt.Errorf("%s", strings.Join(failed, ", "))
	}
	return func(s *snapshot) {
		if len(disks) > 0 || err == nil {
			s.disks = disks
		}
		s.absent = absent
	}, err
}

func unit(v float64) float64 { return max(0, min(1, v)) }

// choose picks the disks to look at: those of the paths, or each local device once, at its shortest mount point, for
// a container and a bind mount show the same disk many times. Images that are read-only and full by their nature
// (squashfs, CD) are left out.
func choose(parts []psdisk.PartitionStat, paths []string) []psdisk.PartitionStat {
	if len(paths) > 0 {
		var chosen []psdisk.PartitionStat
		for _, path := range paths {
			i := slices.IndexFunc(parts, func(p psdisk.PartitionStat) bool { return sameMount(p.Mountpoint, path) })
			if i < 0 {
				chosen = append(chosen, psdisk.PartitionStat{Mountpoint: path})
				continue
			}
			chosen = append(chosen, parts[i])
		}
		return chosen
	}
	images := []string{"squashfs", "iso9660", "udf", "cdfs", "erofs", "cramfs"}
	parts = slices.DeleteFunc(slices.Clone(parts), func(p psdisk.PartitionStat) bool {
		return slices.Contains(images, strings.ToLower(p.Fstype)) || strings.HasPrefix(p.Device, "/dev/loop")
	})
	check.Order(parts, func(a, b psdisk.PartitionStat) int {
		return cmp.Or(boolFirst(!slices.Contains(a.Opts, "bind"), !slices.Contains(b.Opts, "bind")),
			cmp.Compare(len(a.Mountpoint), len(b.Mountpoint)), cmp.Compare(a.Mountpoint, b.Mountpoint))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(parts, func(p psdisk.PartitionStat) bool {
		twice := seen[p.Device]
		seen[p.Device] = true
		return twice
	})
}

// boolFirst orders true before false.
func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

func sameMount(a, b string) bool {
	if runtime.GOOS == "windows" {
		return strings.EqualFold(strings.TrimRight(a, `\/`), strings.TrimRight(b, `\/`))
	}
	return a == b
}

// rootPath is where the system itself is.
func rootPath() string {
	if runtime.GOOS == "windows" {
		return "C:"
	}
	return "/"
}

// usagePath is a mount point as the question for free space wants it: a bare drive letter means its current folder.
func usagePath(mount string) string {
	if runtime.GOOS == "windows" && strings.HasSuffix(mount, ":") {
		return mount + `\`
	}
	return mount
}

func readNICs(ctx context.Context) (func(*snapshot), error) {
	counters, err := psnet.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	found, err := links()
	if err != nil {
		return nil, err
	}
	hardware := slices.ContainsFunc(found, func(l link) bool { return l.hardware })
	nics := []nic{}
	for _, l := range found {
		if hardware && !l.hardware {
			continue
		}
		n := nic{name: l.name, up: l.up, bps: l.bps}
		if i := slices.IndexFunc(counters, func(c psnet.IOCountersStat) bool { return c.Name == l.name }); i >= 0 {
			c := counters[i]
			n.errors, n.drops, n.received, n.sentBy = c.Errin+c.Errout, c.Dropin+c.Dropout, c.BytesRecv, c.BytesSent
		}
		nics = append(nics, n)
	}
	return func(s *snapshot) { s.nics = nics }, nil
}

// A link is one network link other than loopback.
type link struct {
	name     string
	up       bool    // connected, where the system tells; else switched on
	hardware bool    // a card, not a tunnel or bridge
	bps      float64 // bits a second, 0 when unknown
}
