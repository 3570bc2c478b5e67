package servers

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
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

// An nginx is Debian's nginx in a Place, with server blocks of its own.
type nginx struct {
	ctx   context.Context
	p     Place
	ports []int // standard ones that it listens at

	mu      sync.Mutex
	proc    *Process // nil while it is halted
	stopped bool
}

// startNginx runs nginx with these directives of the http block; it listens at these standard ports.
func startNginx(ctx context.Context, p Place, directives string, ports ...int) (*nginx, error) {
	if err := Require("nginx"); err != nil {
		return nil, err
	}
	conf := fmt.Appendf(nil, nginxSettings, p.Dir, "\t"+strings.TrimSpace(directives)+"\n")
	if err := replace(filepath.Join(p.Dir, "nginx.conf"), conf, 0o644); err != nil {
		return nil, err
	}
	n := &nginx{ctx: ctx, p: p, ports: ports}
	return n, n.halt(false)
}

// halt ends nginx, or starts it again.
func (n *nginx) halt(on bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if on || n.stopped {
		if !on {
			return errStopped
		}
		return n.end()
	}
	if n.proc != nil {
		return nil
	}
	proc, err := start(n.ctx, n.p, "nginx", "-p", n.p.Dir, "-e", "stderr", "-c", filepath.Join(n.p.Dir, "nginx.conf"))
	if err != nil {
		return err
	}
	n.proc = proc
	for _, std := range n.ports {
		if err := answers(n.ctx, n.p, proc, std); err != nil {
			_ = n.end()
			return err
		}
	}
	return nil
}

func (n *nginx) end() error {
	if n.proc == nil {
		return nil
	}
	err := n.proc.Stop()
	n.proc = nil
	return err
}

// stop ends nginx for good.
func (n *nginx) stop() error {
	err := n.halt(true)
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	return err
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
