package exporter

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
	psnet "github.com/shirou/gopsutil/v3/net"

	"egovmon/agent/check"
)

// nodeParts lists what is read on this system. Windows has no load average, and gopsutil's imitation of one needs a
// goroutine for ever.
func nodeParts() []*nodePart {
	parts := []*nodePart{
		{name: "cpu", read: readCPU}, {name: "meminfo", read: readMemory}, {name: "filesystem", read: readFilesystems},
		{name: "netdev", read: readLinks}, {name: "stat", read: readBoot}, {name: "time", read: readTime}, {name: "uname", read: readUname},
	}
	if runtime.GOOS != "windows" {
		parts = append(parts, &nodePart{name: "loadavg", read: readLoad})
	}
	return parts
}

func readCPU(ctx context.Context) (func(*set), error) {
	times, err := cpu.TimesWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	return func(s *set) {
		for _, t := range first(times) {
			c := s.label("cpu", strings.TrimPrefix(t.CPU, "cpu"))
			for _, m := range [...]struct {
				mode  string
				s     float64
				linux bool // other systems do not count it
			}{
				{"idle", t.Idle, false}, {"iowait", t.Iowait, true}, {"irq", t.Irq, false}, {"nice", t.Nice, true},
				{"softirq", t.Softirq, true}, {"steal", t.Steal, true}, {"system", t.System, false}, {"user", t.User, false},
			} {
				if !m.linux || runtime.GOOS == "linux" {
					s.add("node_cpu_seconds_total", m.s, c, s.label("mode", m.mode))
				}
			}
		}
	}, nil
}

func readMemory(ctx context.Context) (func(*set), error) {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil, err
	}
	var swap *mem.SwapMemoryStat
	if runtime.GOOS != "linux" {
		swap, _ = mem.SwapMemoryWithContext(ctx) // without it the rest still counts
	}
	return func(s *set) {
		bytes := func(field string, v uint64) { s.add("node_memory_"+field+"_bytes", float64(v)) }
		bytes("MemTotal", m.Total)
		bytes("MemFree", m.Free)
		bytes("MemAvailable", m.Available)
		switch {
		case runtime.GOOS == "linux":
			bytes("Buffers", m.Buffers)
			bytes("Cached", m.Cached-min(m.Sreclaimable, m.Cached)) // gopsutil adds the two up
			bytes("SwapCached", m.SwapCached)
			bytes("SwapTotal", m.SwapTotal)
			bytes("SwapFree", m.SwapFree)
		case swap != nil:
			bytes("SwapTotal", swap.Total)
			bytes("SwapFree", swap.Free)
		}
	}, nil
}

// readFilesystems asks the file systems on this machine's own disks, not those of other machines.
func readFilesystems(ctx context.Context) (func(*set), error) {
	parts, err := disk.PartitionsWithContext(ctx, false)
	if len(parts) == 0 && err != nil {
		return nil, err // with some of them found, the error is about one drive
	}
	parts = slices.DeleteFunc(parts, func(p disk.PartitionStat) bool {
		return p.Fstype == "squashfs" || p.Fstype == "iso9660" || p.Fstype == "CDFS" || p.Fstype == "UDF" || p.Device == "" || p.Mountpoint == "" || ofTheSystem(p.Mountpoint)
	})
	check.Order(parts, func(a, b disk.PartitionStat) int { return strings.Compare(a.Mountpoint, b.Mountpoint) })
	// Of file systems mounted over each other at one place the last one is seen.
	parts = slices.CompactFunc(parts, func(a, b disk.PartitionStat) bool { return a.Mountpoint == b.Mountpoint })
	usage := make([]*disk.UsageStat, len(first(parts)))
	for i, p := range first(parts) {
		usage[i], _ = disk.UsageWithContext(ctx, usagePath(p.Mountpoint)) // nil is shown as an error of the device
	}
	return func(s *set) {
		for i, u := range usage {
			p := parts[i]
			labels := s.with(nil, "device", p.Device, "fstype", p.Fstype, "mountpoint", p.Mountpoint)
			s.add("node_filesystem_device_error", truth(u == nil), labels...)
			if u == nil {
				continue
			}
			s.add("node_filesystem_size_bytes", float64(u.Total), labels...)
			s.add("node_filesystem_free_bytes", float64(u.Total-min(u.Used, u.Total)), labels...)
			s.add("node_filesystem_avail_bytes", float64(u.Free), labels...)
			s.add("node_filesystem_readonly", truth(slices.Contains(p.Opts, "ro")), labels...)
			if u.InodesTotal > 0 {
				s.add("node_filesystem_files", float64(u.InodesTotal), labels...)
				s.add("node_filesystem_files_free", float64(u.InodesFree), labels...)
			}
		}
	}, nil
}

// ofTheSystem reports whether a place is one where the system itself mounts things, such as network namespaces; nobody's
// data lie there, and Debian's node_exporter leaves them out, too.
func ofTheSystem(mount string) bool {
	for _, top := range []string{"/dev", "/proc", "/run", "/sys"} {
		if mount == top || strings.HasPrefix(mount, top+"/") {
			return true
		}
	}
	return false
}

// usagePath names a Windows drive so that its root is asked, not the folder the program happens to be in there.
func usagePath(mount string) string {
	if runtime.GOOS == "windows" && strings.HasSuffix(mount, ":") {
		return mount + `\`
	}
	return mount
}

func readLinks(ctx context.Context) (func(*set), error) {
	links, err := psnet.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	check.Order(links, func(a, b psnet.IOCountersStat) int { return strings.Compare(a.Name, b.Name) })
	return func(s *set) {
		for _, l := range first(links) {
			d := s.label("device", l.Name)
			for _, x := range [...]struct {
				what   string
				rx, tx uint64
			}{{"bytes", l.BytesRecv, l.BytesSent}, {"packets", l.PacketsRecv, l.PacketsSent}, {"errs", l.Errin, l.Errout}, {"drop", l.Dropin, l.Dropout}} {
				s.add("node_network_receive_"+x.what+"_total", float64(x.rx), d)
				s.add("node_network_transmit_"+x.what+"_total", float64(x.tx), d)
			}
		}
	}, nil
}

func readBoot(ctx context.Context) (func(*set), error) {
	boot, err := host.BootTimeWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return func(s *set) { s.add("node_boot_time_seconds", float64(boot)) }, nil
}

func readTime(context.Context) (func(*set), error) {
	now := time.Now()
	return func(s *set) { s.instant("node_time_seconds", now) }, nil
}

func readLoad(ctx context.Context) (func(*set), error) {
	a, err := load.AvgWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return func(s *set) {
		s.add("node_load1", a.Load1)
		s.add("node_load5", a.Load5)
		s.add("node_load15", a.Load15)
	}, nil
}

func readUname(ctx context.Context) (func(*set), error) {
	name, err := os.Hostname()
	release, err2 := host.KernelVersionWithContext(ctx)
	machine, err3 := host.KernelArch()
	if err = errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	sysname, version, domain := runtime.GOOS, "", "(none)"
	if runtime.GOOS == "windows" {
		sysname = "Windows"
	} else {
		sysname = kernel("ostype", sysname)
		version = kernel("version", version)
		domain = kernel("domainname", domain)
	}
	return func(s *set) {
		s.add("node_uname_info", 1, s.with(nil, "domainname", domain, "machine", machine, "nodename", name,
			"release", release, "sysname", sysname, "version", version)...)
	}, nil
}

// kernel reads what uname(2) says from where Linux writes it, or returns other.
func kernel(name, other string) string {
	b, err := os.ReadFile("/proc/sys/kernel/" + name)
	if err != nil || len(b) > 256 {
		return other
	}
	return strings.TrimSpace(string(b))
}
