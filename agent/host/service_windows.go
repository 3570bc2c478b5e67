package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

const (
	serviceTitle = "egovmon agent"
	serviceAbout = "Giám sát các hệ thống chính quyền điện tử từ máy này. / Watches e-government systems from this machine."
	serviceUser  = `NT AUTHORITY\LocalService` // the account with the fewest rights that reaches the network
	// dataAccess is the data folder's access list, inherited by all in it and nothing from above it: the system, the
	// administrators and the service's account. Under ProgramData every user could read the machine's keys.
	dataAccess = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;LS)"
	// restartAfter is the pause before the manager starts an agent again that failed; the count of failures begins anew
	// after a day.
	restartAfter = 15 * time.Second
	resetAfter   = 24 * time.Hour
	stopWithin   = 30 * time.Second
	lockedWithin = 100 * time.Second
)

// InstallService makes the service, restarted when it fails and started with the machine, and starts it. It needs an
// administrator. A service that is there already gets the new program and folder.
func InstallService(s Service) ([]string, error) {
	m, err := connect()
	if err != nil {
		return nil, err
	}
	defer m.Disconnect()
	if err := protect(s.Data); err != nil {
		return nil, fmt.Errorf("access to %s: %w", s.Data, err)
	}
	conf := mgr.Config{DisplayName: serviceTitle, Description: serviceAbout, StartType: mgr.StartAutomatic, ServiceStartName: serviceUser,
		ServiceType: windows.SERVICE_WIN32_OWN_PROCESS, ErrorControl: mgr.ErrorNormal}
	args := []string{"run", "--data", s.Data}
	h, err := m.OpenService(ServiceName)
	if err == nil {
		conf.BinaryPathName = commandLine(s.Program, args)
		err = h.UpdateConfig(conf)
	} else {
		h, err = m.CreateService(ServiceName, s.Program, conf, args...)
	}
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", ServiceName, err)
	}
	defer h.Close()
	if err := recovers(h); err != nil {
		return nil, fmt.Errorf("service %s: recovery: %w", ServiceName, err)
	}
	if err := restart(h); err != nil {
		return nil, fmt.Errorf("service %s is installed, and cannot be started: %w; see %s", ServiceName, err, filepath.Join(s.Data, LogFile))
	}
	return nil, nil
}

// recovers has the manager start the service again when it fails. A manager that knows no such thing (Wine's) runs it without.
func recovers(h *mgr.Service) error {
	again := mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: restartAfter}
	err := h.SetRecoveryActions([]mgr.RecoveryAction{again, again, again}, uint32(resetAfter/time.Second))
	if err == nil {
		err = h.SetRecoveryActionsOnNonCrashFailures(true)
	}
	if errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return nil
	}
	return err
}

// protect gives the data folder, and all in it, to the service alone.
func protect(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(dataAccess)
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
}

func commandLine(program string, args []string) string {
	line := windows.EscapeArg(program)
	for _, a := range args {
		line += " " + windows.EscapeArg(a)
	}
	return line
}

func connect() (*mgr.Mgr, error) {
	m, err := mgr.Connect()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return nil, fmt.Errorf("the service manager: %w: run this command as an administrator", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the service manager: %w", err)
	}
	return m, nil
}

func restart(h *mgr.Service) error {
	if err := stop(h); err != nil {
		return err
	}
	// The manager's list is locked while it starts another service, as for some time after the machine was started.
	err := h.Start()
	for end := time.Now().Add(lockedWithin); errors.Is(err, windows.ERROR_SERVICE_DATABASE_LOCKED) && time.Now().Before(end); err = h.Start() {
		time.Sleep(200 * time.Millisecond)
	}
	return err
}

// stop stops a service and waits for it; one that is stopped stays so.
func stop(h *mgr.Service) error {
	st, err := h.Query()
	if err == nil && st.State != svc.Stopped && st.State != svc.StopPending {
		st, err = h.Control(svc.Stop)
	}
	for end := time.Now().Add(stopWithin); err == nil && st.State != svc.Stopped; st, err = h.Query() {
		if time.Now().After(end) {
			return fmt.Errorf("it does not stop within %s", stopWithin)
		}
		time.Sleep(200 * time.Millisecond)
	}
	return err
}

// RemoveService stops the service and removes it. What it measured stays in the data folder.
func RemoveService() ([]string, error) {
	m, err := connect()
	if err != nil {
		return nil, err
	}
	defer m.Disconnect()
	h, err := m.OpenService(ServiceName)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return nil, fmt.Errorf("there is no service %s on this machine", ServiceName)
	}
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", ServiceName, err)
	}
	defer h.Close()
	if err := stop(h); err != nil {
		return nil, fmt.Errorf("service %s: stop: %w", ServiceName, err)
	}
	if err := h.Delete(); err != nil {
		return nil, fmt.Errorf("service %s: %w", ServiceName, err)
	}
	return nil, nil
}

// QueryService asks the service manager, which anybody may.
func QueryService(context.Context) (ServiceState, error) {
	h, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return ServiceState{}, fmt.Errorf("the service manager: %w", err)
	}
	defer windows.CloseServiceHandle(h)
	name, err := windows.UTF16PtrFromString(ServiceName)
	if err != nil {
		return ServiceState{}, err
	}
	sh, err := windows.OpenService(h, name, windows.SERVICE_QUERY_STATUS|windows.SERVICE_QUERY_CONFIG)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return ServiceState{Detail: "not installed"}, nil
	}
	if err != nil {
		return ServiceState{}, fmt.Errorf("service %s: %w", ServiceName, err)
	}
	s := &mgr.Service{Name: ServiceName, Handle: sh}
	defer s.Close()
	st, err := s.Query()
	if err != nil {
		return ServiceState{}, fmt.Errorf("service %s: %w", ServiceName, err)
	}
	out := ServiceState{Installed: true, Running: st.State == svc.Running, Detail: stateName(st.State)}
	if c, err := s.Config(); err == nil {
		out.AtBoot = c.StartType == mgr.StartAutomatic
	}
	return out, nil
}

func stateName(s svc.State) string {
	switch s {
	case svc.Stopped:
		return "stopped"
	case svc.StartPending:
		return "starting"
	case svc.StopPending:
		return "stopping"
	case svc.Running:
		return "running"
	}
	return fmt.Sprintf("state %d", s)
}
