package servers

import (
	"context"
	"sync"
	"syscall"
)

// A daemon is a program of a server that can be ended and started again, and held so that it answers nobody.
type daemon struct {
	ctx   context.Context
	p     Place
	args  []string // the program and its arguments
	ready func(*Process) error

	mu      sync.Mutex
	proc    *Process // nil while it is halted
	stopped bool
}

// startDaemon starts a program and waits until it is ready.
func startDaemon(ctx context.Context, p Place, ready func(*Process) error, args ...string) (*daemon, error) {
	d := &daemon{ctx: ctx, p: p, args: args, ready: ready}
	return d, d.halt(false)
}

// halt ends the program, or starts it again.
func (d *daemon) halt(on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case on:
		return d.end()
	case d.stopped || d.ctx.Err() != nil:
		return errStopped
	case d.proc != nil && d.proc.Running():
		return nil
	}
	proc, err := start(d.ctx, d.p, d.args[0], d.args[1:]...)
	if err != nil {
		return err
	}
	d.proc = proc
	if err := d.ready(proc); err != nil {
		_ = d.end()
		return err
	}
	return nil
}

func (d *daemon) end() error {
	if d.proc == nil {
		return nil
	}
	_ = d.proc.SignalGroup(syscall.SIGCONT)
	err := d.proc.Stop()
	d.proc = nil
	return err
}

// hang holds the program and all that it started, so that its ports are open and nobody answers; or lets it go on.
func (d *daemon) hang(on bool) error {
	if on {
		return d.signal((*Process).SignalGroup, syscall.SIGSTOP)
	}
	return d.signal((*Process).SignalGroup, syscall.SIGCONT)
}

// reload lets the program read its configuration anew, if it runs, and waits until that shows.
func (d *daemon) reload(shows func(*Process) error) error {
	if err := d.signal((*Process).Signal, syscall.SIGHUP); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return nil
	}
	return shows(d.proc)
}

func (d *daemon) signal(send func(*Process, syscall.Signal) error, s syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return nil
	}
	return send(d.proc, s)
}

// stop ends the program for good.
func (d *daemon) stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	return d.end()
}
