//go:build !linux && !windows

package host

import (
	"context"
	"errors"
)

var errNoServices = errors.New("services are known on Linux with systemd and on Windows only: start `agent run` by the system's own means")

// InstallService is not possible here.
func InstallService(Service) ([]string, error) { return nil, errNoServices }

// RemoveService is not possible here.
func RemoveService() ([]string, error) { return nil, errNoServices }

// QueryService is not possible here.
func QueryService(context.Context) (ServiceState, error) { return ServiceState{}, errNoServices }
