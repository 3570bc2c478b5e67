// Package nginxconf is the one frame of configuration that nginx runs in, under the lab's sites and in the tests of checks. It
// needs nothing else of the lab, so that what the lab's own tests use may have it.
package nginxconf

import (
	"fmt"
	"strings"
)

const frame = `daemon off;
%s
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

// Of returns a configuration of Debian's nginx with these directives in its main part, which say what processes it consists of,
// and in its http block. It stays in the foreground and says on standard error what goes wrong; what it writes lies below dir,
// which $dir names.
func Of(dir, main, http string) []byte {
	return fmt.Appendf(nil, frame, main, dir, "\t"+strings.TrimSpace(http)+"\n")
}
