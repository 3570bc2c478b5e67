package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"

	"egovmon/agent/daemon"
	"egovmon/agent/host"
)

// stopHint is how long the service manager is asked to wait for the end, ms.
const stopHint = 15_000

// underManager runs the program as the service manager wants it; false when it was started in another way.
func underManager(args []string) (int, bool) {
	if ok, err := svc.IsWindowsService(); (err != nil || !ok) && !childOfManager() {
		return 0, false
	}
	s := &service{args: args}
	if err := svc.Run(host.ServiceName, s); err != nil {
		return exitFailed, true
	}
	return s.code, true
}

// childOfManager asks the same in another way, for a system whose services are not in session 0 (Wine).
func childOfManager() bool {
	var me windows.PROCESS_BASIC_INFORMATION
	err := windows.NtQueryInformationProcess(windows.CurrentProcess(), windows.ProcessBasicInformation, unsafe.Pointer(&me), uint32(unsafe.Sizeof(me)), nil)
	if err != nil {
		return false
	}
	parent, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(me.InheritedFromUniqueProcessId))
	if err != nil {
		return false
	}
	defer func() { _ = windows.CloseHandle(parent) }()
	var name [windows.MAX_PATH]uint16
	n := uint32(len(name))
	if err := windows.QueryFullProcessImageName(parent, 0, &name[0], &n); err != nil {
		return false
	}
	return strings.EqualFold(filepath.Base(windows.UTF16ToString(name[:n])), "services.exe")
}

// A service is the program under the service manager: a stop ends its context, and its messages go to a file.
type service struct {
	args []string
	code int
}

// Execute runs the program until it ends or is told to.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	status <- svc.Status{State: svc.StartPending}
	var out io.Writer = io.Discard
	if dir, err := serviceData(s.args); err == nil {
		if l, err := host.OpenLog(dir); err == nil {
			defer l.Close()
			out = l
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan int, 1)
	go func() { done <- run(ctx, s.args, out, out) }()
	const accepts = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown
	now := svc.Status{State: svc.Running, Accepts: accepts}
	status <- now
	for {
		select {
		case s.code = <-done:
			status <- svc.Status{State: svc.StopPending}
			// The program's own code, so that the manager's recovery sees a failure.
			return true, uint32(s.code)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- now
			case svc.Stop:
				now = svc.Status{State: svc.StopPending, WaitHint: stopHint}
				status <- now
				cancel(nil)
			case svc.Shutdown, svc.PreShutdown:
				now = svc.Status{State: svc.StopPending, WaitHint: stopHint}
				status <- now
				cancel(daemon.ErrShutdown)
			default:
				fmt.Fprintf(out, "%s request %d of the service manager is not known\n", time.Now().Format(time.RFC3339), r.Cmd)
			}
		}
	}
}

// serviceData is the data folder that the arguments of the service name.
func serviceData(args []string) (string, error) {
	for i, a := range args {
		if a == "--data" && i+1 < len(args) {
			return args[i+1], nil
		}
	}
	return host.DataDir()
}
