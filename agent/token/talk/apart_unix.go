//go:build !windows

package talk

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// apart gives the helper a process group of its own, which is ended as one.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// together needs nothing where a process group does it.
func together(*os.Process) func() { return func() {} }

// endAll kills the helper's group.
func endAll(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

func isPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
