//go:build linux

package stage

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/wrongclock"
)

// A program is one process that can be stopped and started again, by faults that do not know of one another.
type program struct {
	name  string
	make  func() *exec.Cmd
	trace *Trace
	ended func(name string, err error) // it ended by itself

	mu    sync.Mutex
	proc  *servers.Process
	holds map[string]bool // the faults that keep it away
	ahead time.Duration   // of its clock
}

// start starts it, unless it runs.
func (p *program) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startLocked()
}

func (p *program) startLocked() error {
	if p.proc != nil {
		return nil
	}
	proc, err := servers.Start(p.make())
	if err != nil {
		return err
	}
	p.proc = proc
	if p.ahead != 0 {
		if err := wrongclock.Shift(proc.Pid(), p.ahead); err != nil {
			return errors.Join(err, p.stopLocked(syscall.SIGKILL))
		}
	}
	go func() {
		<-proc.Done()
		p.mu.Lock()
		own := p.proc == proc
		if own {
			p.proc = nil
		}
		p.mu.Unlock()
		if own {
			p.ended(p.name, proc.Err())
		}
	}()
	return p.trace.change(func() {
		p.trace.Procs = append(p.trace.Procs, Proc{p.name, proc.Pid(), startOf(proc.Pid())})
	})
}

// stop ends it by a signal and waits.
func (p *program) stop(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopLocked(sig)
}

func (p *program) stopLocked(sig syscall.Signal) error {
	proc := p.proc
	p.proc = nil
	if proc == nil {
		return nil
	}
	if err := proc.Signal(sig); err != nil {
		return err
	}
	return proc.Stop()
}

// hold keeps it away for a fault, or no longer.
func (p *program) hold(by string, on bool, sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		if p.holds == nil {
			p.holds = map[string]bool{}
		}
		p.holds[by] = true
		return p.stopLocked(sig)
	}
	delete(p.holds, by)
	if len(p.holds) > 0 {
		return nil
	}
	return p.startLocked()
}

// setClock sets the clock by which the program lives ahead, or behind: of the one that runs, and of those that are started later.
func (p *program) setClock(ahead time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ahead = ahead
	if p.proc == nil {
		return nil
	}
	return wrongclock.Shift(p.proc.Pid(), ahead)
}

// A logFile is where a program writes; it is opened once.
type logFile struct {
	path string
	mu   sync.Mutex
	size int64
	f    *os.File
}

// maxLog bounds what is kept of one program's output.
const maxLog = 8 << 20

func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, err
		}
		l.f = f
	}
	if l.size += int64(len(b)); l.size > maxLog {
		return len(b), nil // the rest is not kept
	}
	return l.f.Write(b)
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return err
}

// logTo is where what a server prints goes.
func (s *Stage) logTo(name string) io.Writer {
	dir := filepath.Join(s.cfg.Dir, "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return io.Discard
	}
	l := &logFile{path: filepath.Join(dir, name+".log")}
	s.stops = append(s.stops, l.close)
	return l
}
