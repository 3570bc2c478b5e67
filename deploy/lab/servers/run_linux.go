package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a server has to end by itself before it is killed.
const stopGrace = 5 * time.Second

// Command prepares a program to run in a Place: in its network namespace and its folder, in a process group of its own, which
// is killed when ctx ends. The kernel kills the program, too, when the thread that started it is gone: start it with [Start],
// which keeps that thread. A program that is not there is an error of Start and Run, a [*MissingError].
func Command(ctx context.Context, p Place, name string, args ...string) *exec.Cmd {
	path, err := find(name)
	if err != nil {
		cmd := exec.CommandContext(ctx, name)
		cmd.Err = Require(name)
		return cmd
	}
	if slices.Contains([]string{"named", "unbound", "chronyd"}, name) {
		if path, err = unconfined("/", p.Dir, path); err != nil {
			cmd := exec.CommandContext(ctx, name)
			cmd.Err = err
			return cmd
		}
	}
	if p.Netns != "" {
		ip, ipErr := find("ip")
		if ipErr != nil {
			cmd := exec.CommandContext(ctx, name)
			cmd.Err = Require("ip")
			return cmd
		}
		// ip becomes the program: the process stays the same.
		args = append([]string{"netns", "exec", p.Netns, path}, args...)
		path = ip
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// A Process is a program that was started.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	err error // how it ended, once done is closed
}

// Start starts a command and keeps the thread that started it until the program has ended.
func Start(cmd *exec.Cmd) (*Process, error) {
	r := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		endGroup(cmd.Process.Pid) // what it started and left behind
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
		close(r.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return r, nil
}

// endGroup kills a process group and waits until nothing of it runs that could hold a port.
func endGroup(group int) {
	for syscall.Kill(-group, syscall.SIGKILL) == nil && runs(group) {
		time.Sleep(2 * time.Millisecond)
	}
}

// runs tells whether any process of a group runs. The dead do not, though they stay in their group until somebody asks how they
// ended, which the first process of a container may never do.
func runs(group int) bool {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return false
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		// proc(5): the name in parentheses, then state, parent and group.
		_, after, _ := strings.Cut(string(text[max(0, bytes.LastIndexByte(text, ')')):]), " ")
		f := strings.Fields(after)
		if len(f) > 2 && f[2] == strconv.Itoa(group) && f[0] != "Z" && f[0] != "X" {
			return true
		}
	}
	return false
}

// Done is closed once the program has ended.
func (r *Process) Done() <-chan struct{} { return r.done }

// Running tells whether the program has not ended yet.
func (r *Process) Running() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// Err says how the program ended; nil while it runs.
func (r *Process) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Pid is the number of the process and of its group.
func (r *Process) Pid() int { return r.cmd.Process.Pid }

// Signal sends a signal to the program alone. A program that has ended is no error.
func (r *Process) Signal(s syscall.Signal) error {
	if !r.Running() {
		return nil
	}
	return ended(syscall.Kill(r.Pid(), s))
}

// SignalGroup sends a signal to the program and all that it started. A program that has ended is no error.
func (r *Process) SignalGroup(s syscall.Signal) error {
	if !r.Running() {
		return nil
	}
	return ended(syscall.Kill(-r.Pid(), s))
}

func ended(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Stop asks the program to end, and kills it with all that it started when it does not. It returns once it is gone.
func (r *Process) Stop() error {
	if err := r.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = r.Signal(syscall.SIGCONT) // one that was halted could not hear it
	select {
	case <-r.done:
		return nil
	case <-time.After(stopGrace):
	}
	if err := r.SignalGroup(syscall.SIGKILL); err != nil {
		return err
	}
	<-r.done
	return nil
}

// start runs a server in a Place until Stop or the end of ctx; what it prints goes to the Place's log.
func start(ctx context.Context, p Place, name string, args ...string) (*Process, error) {
	cmd := Command(ctx, p, name, args...)
	// The pipe is ours, so that the program's end is seen at once, and not only when the last of what it started is gone.
	said, says, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer says.Close()
	cmd.Stdout, cmd.Stderr = says, says
	r, err := Start(cmd)
	if err != nil {
		said.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer said.Close()
		_, _ = io.Copy(p.log(), said)
	}()
	return r, nil
}

// guard kills a program, with all that it started, when this program is gone, however it ended. It is for programs that change
// who they are, which takes the kernel's order to kill them (PR_SET_PDEATHSIG, prctl(2)) from them. A shell waits at a pipe that only
// this program holds open.
func guard(r *Process) error {
	hear, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	defer hear.Close()
	cmd := exec.Command("sh", "-c", "read -r _; kill -9 -"+strconv.Itoa(r.Pid()))
	cmd.Stdin = hear
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		hold.Close()
		return err
	}
	go func() {
		<-r.Done()
		_ = cmd.Process.Kill() // before it hears: the number may be another program's by now
		_ = cmd.Wait()
		hold.Close()
	}()
	return nil
}

// readyWithin is how long a server may take until it answers, or until a change shows. It is long: nothing hangs on it but the
// time until a failure is told.
const readyWithin = 60 * time.Second

// until asks again and again until ask returns nil. It gives up when the program that is waited for has ended, when ctx ends
// and after [readyWithin].
func until(ctx context.Context, r *Process, what string, ask func() error) error {
	var gone <-chan struct{}
	if r != nil {
		gone = r.Done()
	}
	limit := time.NewTimer(readyWithin)
	defer limit.Stop()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %w)", what, ctx.Err(), err)
		case <-gone:
			return fmt.Errorf("%s: the program ended: %w (last: %w)", what, errEnded(r), err)
		case <-limit.C:
			return fmt.Errorf("%s: not within %s: %w", what, readyWithin, err)
		case <-time.After(pause):
		}
	}
}

var (
	errNoReason = errors.New("without a reason")
	errStopped  = errors.New("the server was stopped for good")
)

func errEnded(r *Process) error {
	if err := r.Err(); err != nil {
		return err
	}
	return errNoReason
}

// userName is the user that this program runs as, for programs that would become another one.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
