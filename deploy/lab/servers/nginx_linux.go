package servers

import (
	"context"
	"path/filepath"

	"egovmon/deploy/lab/servers/nginxconf"
)

// oneProcess lets nginx run as one process, so that nothing is left of it when it is killed.
const oneProcess = "master_process off;"

// startNginx runs Debian's nginx with these directives of the http block; it listens at these standard ports.
func startNginx(ctx context.Context, p Place, directives string, ports ...int) (*daemon, error) {
	if err := Require("nginx"); err != nil {
		return nil, err
	}
	path := filepath.Join(p.Dir, "nginx.conf")
	if err := replace(path, nginxconf.Of(p.Dir, oneProcess, directives), 0o644); err != nil {
		return nil, err
	}
	ready := func(proc *Process) error {
		for _, std := range ports {
			if err := answers(ctx, p, proc, std); err != nil {
				return err
			}
		}
		return nil
	}
	return startDaemon(ctx, p, ready, "nginx", "-p", p.Dir, "-e", "stderr", "-c", path)
}

// answers waits until something listens at a standard port of the Place.
func answers(ctx context.Context, p Place, proc *Process, std int) error {
	return until(ctx, proc, "listens at "+p.at(std), func() error {
		c, err := p.DialContext(ctx, "tcp", p.at(std))
		if err != nil {
			return err
		}
		return c.Close()
	})
}
