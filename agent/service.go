package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"egovmon/agent/host"
)

func runService(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("service install|remove|status", "Has the system run this program as a service: systemd on Linux, the service manager on Windows.\n"+
		"install and remove need root or an administrator.", stderr)
	data := fs.String("data", "", "data folder `DIR`")
	asJSON := fs.Bool("json", false, "status: write one JSON object")
	word := ""
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		word, args = args[0], args[1:]
	}
	if ok, code := parse(fs, args, 0); !ok {
		return code
	}
	dir, err := dataDir(*data)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		fmt.Fprintf(stderr, "agent service: %v\n", err)
		return exitUsage
	}
	switch word {
	case "install":
		return serviceInstall(dir, stdout, stderr)
	case "remove":
		steps, err := host.RemoveService()
		return serviceDone("removed; what it measured stays in the data folder", steps, err, stdout, stderr)
	case "status":
		return serviceStatus(ctx, *asJSON, stdout, stderr)
	}
	fmt.Fprintf(stderr, "agent service: say install, remove or status\n")
	return exitUsage
}

func serviceInstall(dir string, stdout, stderr io.Writer) int {
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		fmt.Fprintf(stderr, "agent service: which program is this? %v\n", err)
		return exitFailed
	}
	if _, err := host.LoadIdentity(dir); err != nil {
		fmt.Fprintf(stderr, "agent service: %v; give this machine its identity first: agent enrol --collector URL --token TOKEN\n", err)
		return exitUsage
	}
	steps, err := host.InstallService(host.Service{Program: program, Data: dir})
	return serviceDone("installed: it runs "+program+" with the data in "+dir, steps, err, stdout, stderr)
}

// serviceDone says what was done, and what remains for a person to run.
func serviceDone(done string, steps []string, err error, stdout, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintf(stderr, "agent service: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "The service %s is %s.\n", host.ServiceName, done)
	if len(steps) > 0 {
		fmt.Fprintln(stdout, "Now run, as root:")
		for _, s := range steps {
			fmt.Fprintf(stdout, "  %s\n", s)
		}
	}
	return exitDone
}

func serviceStatus(ctx context.Context, asJSON bool, stdout, stderr io.Writer) int {
	s, err := host.QueryService(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "agent service: %v\n", err)
		return exitFailed
	}
	if asJSON {
		err := json.NewEncoder(stdout).Encode(struct {
			Installed bool   `json:"installed"`
			Running   bool   `json:"running"`
			AtBoot    bool   `json:"at_boot"`
			Detail    string `json:"detail"`
		}(s))
		if err != nil {
			return exitFailed
		}
		return exitDone
	}
	yes := map[bool]string{true: "yes", false: "no"}
	fmt.Fprintf(stdout, "installed: %s\nrunning:   %s\nat boot:   %s\n", yes[s.Installed], yes[s.Running], yes[s.AtBoot])
	if s.Detail != "" {
		fmt.Fprintf(stdout, "detail:    %s\n", s.Detail)
	}
	return exitDone
}
