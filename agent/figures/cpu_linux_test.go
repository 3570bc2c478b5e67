package figures

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// cpu returns the processor time that this process has used, in seconds (getrusage(2)).
func cpu() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return (time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())).Seconds()
}

// cpuOf returns the processor time of another process, in seconds (proc_pid_stat(5)).
func cpuOf(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var user, system float64
	if f := strings.Fields(rest); len(f) > 12 {
		_, _ = fmt.Sscan(f[11], &user)
		_, _ = fmt.Sscan(f[12], &system)
	}
	return (user + system) / 100 // USER_HZ
}

// memory returns VmRSS and its parts RssAnon and RssFile of a process, in MiB.
func memory(pid int) (rss, anon, file float64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		var kib float64
		_, _ = fmt.Sscan(value, &kib)
		switch name {
		case "VmRSS":
			rss = kib / 1024
		case "RssAnon":
			anon = kib / 1024
		case "RssFile":
			file = kib / 1024
		}
	}
	return rss, anon, file
}
