package servers

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// nginxSettings is the frame of nginx's configuration. It runs as one process, so that nothing is left of it when it is killed.
const nginxSettings = `daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	server_tokens off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	default_type text/html;
	charset utf-8;
	ssl_session_cache off;
	ssl_session_tickets off;
	proxy_http_version 1.1;
	proxy_set_header Host $http_host;
	proxy_set_header X-Forwarded-For $remote_addr;
	proxy_connect_timeout 5s;
	# A certificate whose path holds a variable is read at each handshake.
	map "" $dir { default "%s"; }
%s}
`

// startNginx runs Debian's nginx with these directives of the http block; it listens at these standard ports.
func startNginx(ctx context.Context, p Place, directives string, ports ...int) (*daemon, error) {
	if err := Require("nginx"); err != nil {
		return nil, err
	}
	path := filepath.Join(p.Dir, "nginx.conf")
	if err := replace(path, fmt.Appendf(nil, nginxSettings, p.Dir, "\t"+strings.TrimSpace(directives)+"\n"), 0o644); err != nil {
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
