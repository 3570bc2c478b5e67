//go:build linux

package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"egovmon/agent/durable"
	"egovmon/deploy/lab/town"
)

const (
	traceFile    = "lab.json"
	traceVersion = 1
	maxTrace     = 1 << 20
	// marker is the variable by which a lab's processes are known: its value is the lab's folder.
	marker = "EGOVMON_LAB"
)

// A Trace is what a lab leaves on the machine while it runs. It is written down before each thing is made, so that what
// a killed lab leaves can be taken away.
type Trace struct {
	Version int       `json:"version"`
	Dir     string    `json:"dir"`
	Since   time.Time `json:"since"`
	Keeper  Proc      `json:"keeper"`
	Procs   []Proc    `json:"procs,omitempty"`
	Netns   []string  `json:"netns,omitempty"`
	Mounts  []string  `json:"mounts,omitempty"`
	Files   []string  `json:"files,omitempty"` // files and folders outside of Dir

	mu sync.Mutex
}

// A Proc is a process; the start time tells it from a later one with the same number.
type Proc struct {
	Name  string `json:"name"`
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks since the machine was started, see proc(5)
}

// change notes a change, durably.
func (t *Trace) change(f func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	b, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(t.Dir, traceFile), b)
}

// readTrace reads the trace of a folder; nil when there is none.
func readTrace(dir string) (*Trace, error) {
	b, err := durable.Read(filepath.Join(dir, traceFile), maxTrace)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &Trace{}
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, traceFile), err)
	}
	if t.Version != traceVersion {
		return nil, fmt.Errorf("%s is of version %d, this program writes %d: take that lab down with the program that made it", filepath.Join(dir, traceFile), t.Version, traceVersion)
	}
	if t.Dir != dir {
		return nil, fmt.Errorf("%s speaks of %s: it was copied; delete it", filepath.Join(dir, traceFile), t.Dir)
	}
	return t, nil
}

// startOf returns when a process was started, 0 when there is none.
func startOf(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in parentheses may hold anything: count from its end. Field 22 is the start time.
	_, rest, ok := bytes.Cut(b[bytes.LastIndexByte(b, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 || fields[0][0] == 'Z' {
		return 0
	}
	n, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (p Proc) alive() bool { return p.Pid > 1 && startOf(p.Pid) == p.Start && p.Start != 0 }

// Clear takes away all that the lab of a folder has left, but for the folder itself. It may be called at any time; what
// is gone already is no error.
func Clear(ctx context.Context, dir string) error {
	t, err := readTrace(dir)
	if err != nil || t == nil {
		return err
	}
	return t.clear(ctx)
}

func (t *Trace) clear(ctx context.Context) error {
	var errs []error
	if err := t.killAll(ctx); err != nil {
		errs = append(errs, err)
	}
	for _, m := range slices.Backward(t.Mounts) {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	there := slices.DeleteFunc(slices.Clone(t.Netns), func(n string) bool {
		_, err := os.Lstat(filepath.Join(netnsDir, n))
		return err != nil || !strings.HasPrefix(n, town.Prefix)
	})
	if len(there) > 0 {
		errs = append(errs, batch(ctx, "", true, town.Unmake(there)))
	}
	for _, f := range slices.Backward(t.Files) {
		if !strings.HasPrefix(f, etcNetns) {
			continue
		}
		if f == etcNetns {
			_ = os.Remove(f) // unless others use it
		} else if err := os.RemoveAll(f); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// killAll ends every process of the lab but this one, and waits until they are gone.
func (t *Trace) killAll(ctx context.Context) error {
	for {
		list := t.strays()
		if len(list) == 0 {
			return nil
		}
		for _, p := range list {
			if p.alive() {
				_ = syscall.Kill(p.Pid, syscall.SIGKILL)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes of the lab do not end, the first is %d: %w", len(list), list[0].Pid, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// strays lists the processes that are recorded, that are in the lab's namespaces, or that carry its marker.
func (t *Trace) strays() []Proc {
	type file struct{ dev, ino uint64 }
	ours := map[file]bool{}
	for _, n := range t.Netns {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(netnsDir, n), &st) == nil {
			ours[file{st.Dev, st.Ino}] = true
		}
	}
	want := []byte(marker + "=" + t.Dir + "\x00")
	var out []Proc
	for _, p := range append(slices.Clone(t.Procs), t.Keeper) {
		if p.Pid != os.Getpid() && p.alive() {
			out = append(out, p)
		}
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || slices.ContainsFunc(out, func(p Proc) bool { return p.Pid == pid }) {
			continue
		}
		var st unix.Stat_t
		in := unix.Stat("/proc/"+e.Name()+"/ns/net", &st) == nil && ours[file{st.Dev, st.Ino}]
		if !in {
			env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
			in = bytes.HasPrefix(env, want) || bytes.Contains(env, append([]byte{0}, want...))
		}
		if start := startOf(pid); in && start != 0 {
			out = append(out, Proc{Name: "?", Pid: pid, Start: start})
		}
	}
	return out
}

// batch has iproute2 run a batch, in a namespace unless name is "". With force it goes on after an error and reports none.
func batch(ctx context.Context, name string, force bool, text string) error {
	args := []string{"-batch", "-"}
	if force {
		args = append([]string{"-force"}, args...)
	}
	if name != "" {
		args = append([]string{"-n", name}, args...)
	}
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(text)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil && !force {
		return fmt.Errorf("ip %s: %w: %.300s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

const (
	netnsDir = "/run/netns"
	etcNetns = "/etc/netns"
)
