package talk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Name is the file name of the helper.
func Name() string {
	if runtime.GOOS == "windows" {
		return "egovmon-token.exe"
	}
	return "egovmon-token"
}

// ErrAbsent is that the helper does not stand beside the agent.
var ErrAbsent = errors.New("the program " + Name() + " does not stand beside the agent: install it from the same package")

// Find returns the path of the helper: in the folder of the running program, never by PATH, which others may set.
func Find() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	path := filepath.Join(filepath.Dir(self), Name())
	if st, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && !st.Mode().IsRegular() {
		return "", ErrAbsent
	} else if err != nil {
		return "", err
	}
	return path, nil
}

// A Child is a helper that runs. Its methods are for one goroutine.
type Child struct {
	cmd  *exec.Cmd
	line *Line
	in   io.WriteCloser
	out  *os.File
	stop func() bool // of the context
	end  sync.Once
	bind func() // gives up what keeps the processes together
	err  error
}

// Start runs the helper at path until Close or the end of ctx; all that it started ends with it.
func Start(ctx context.Context, path string) (*Child, error) {
	cmd := exec.Command(path)
	// A pipe of our own: with cmd.StdoutPipe a grandchild that keeps the pipe open would keep Wait from returning.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	in, err := cmd.StdinPipe()
	if err != nil {
		_, _ = r.Close(), w.Close()
		return nil, err
	}
	apart(cmd)
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	c := &Child{cmd: cmd, in: in, out: r, line: NewLine(r, in), bind: together(cmd.Process)}
	// A write to a child that does not read, and a read from one that does not write, end by the kill and the closed pipes.
	c.stop = context.AfterFunc(ctx, c.kill)
	return c, nil
}

// kill ends the helper and all that it started.
func (c *Child) kill() {
	c.end.Do(func() {
		endAll(c.cmd.Process)
		_, _ = c.in.Close(), c.out.Close()
		c.err = c.cmd.Wait()
		c.bind()
	})
}

// Close ends the helper. It returns once it is gone, and says how it had ended if it had by itself.
func (c *Child) Close() error {
	c.stop()
	c.kill()
	return c.err
}

// Say sends a message and returns the helper's answer. A helper that went no further gives an [*Error].
func (c *Child) Say(message any) (*Answer, error) {
	if err := c.line.Write(message); err != nil {
		return nil, c.broken(err)
	}
	a := &Answer{}
	if err := c.line.Read(a); err != nil {
		return nil, c.broken(err)
	}
	if a.Version != Version {
		return nil, fmt.Errorf("%s speaks version %d, the agent version %d: install both from the same package", Name(), a.Version, Version)
	}
	if a.Error != nil {
		return nil, a.Error
	}
	return a, nil
}

// ErrEnded is that the helper ended in the middle of a conversation.
var ErrEnded = errors.New("it ended without an answer")

// broken says why a message did not go through: the helper's end is told by how it ended.
func (c *Child) broken(err error) error {
	if errors.Is(err, ErrTooLong) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, fs.ErrClosed) || isPipe(err) {
		return fmt.Errorf("%w: %w", ErrEnded, c.ended())
	}
	return err
}

// ended waits a little for a helper that closed its output, and says how it ended.
func (c *Child) ended() error {
	c.end.Do(func() {
		late := time.AfterFunc(time.Second, func() { endAll(c.cmd.Process) })
		c.err = c.cmd.Wait()
		late.Stop()
		endAll(c.cmd.Process)
		_, _ = c.in.Close(), c.out.Close()
		c.bind()
	})
	if c.err == nil {
		return errors.New("in order")
	}
	return c.err
}

// Error makes an Error an error.
func (e *Error) Error() string { return e.Detail }
