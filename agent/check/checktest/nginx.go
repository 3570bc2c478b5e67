package checktest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"egovmon/deploy/lab/servers/nginxconf"
)

// An Nginx is Debian's nginx as a process of the test, in the frame that the lab's sites run in, with servers of the test's own
// in front of a small application: for what the lab's sites never do, such as answers that are cut short, and cookies that go
// astray. Its sockets are opened here and handed over, so that no port is taken by somebody else in between, and connections wait
// for it from the first moment on.
type Nginx struct {
	// Dir holds what it serves and what it writes.
	Dir string

	t       testing.TB
	program string
	sockets []*os.File
	http    strings.Builder
	certs   int
}

// NewNginx prepares an nginx. Without the program the test is skipped.
func NewNginx(t testing.TB) *Nginx {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not in everybody's PATH
		if _, err := os.Stat(program); err != nil {
			t.Skip("nginx is missing: apt-get install --no-install-recommends nginx-light")
		}
	}
	return &Nginx{Dir: t.TempDir(), t: t, program: program}
}

// Listen opens a port of an address, 127.0.0.1 or ::1, for a `listen` of the configuration, and returns its host:port.
// Without IPv6 on this machine the test is skipped.
func (n *Nginx) Listen(host string) string {
	n.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil && strings.Contains(host, ":") {
		n.t.Skipf("this machine has no IPv6 loopback: %v", err)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	defer l.Close()
	tcp, _ := l.(*net.TCPListener)
	f, err := tcp.File()
	if err != nil {
		n.t.Fatal(err)
	}
	n.sockets = append(n.sockets, f)
	return l.Addr().String()
}

// Write puts a file below Dir and returns its path.
func (n *Nginx) Write(name string, text []byte) string {
	n.t.Helper()
	path := filepath.Join(n.Dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		n.t.Fatal(err)
	}
	return path
}

// Certificate returns the directives for a certificate with the chain that it carries.
func (n *Nginx) Certificate(c tls.Certificate) string {
	n.t.Helper()
	n.certs++
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		n.t.Fatal(err)
	}
	cert := n.Write(fmt.Sprintf("cert-%d.pem", n.certs), chain)
	file := n.Write(fmt.Sprintf("key-%d.pem", n.certs), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	return "ssl_certificate " + cert + "; ssl_certificate_key " + file + ";"
}

// HTTP adds directives to the http block.
func (n *Nginx) HTTP(directives string) { n.http.WriteString(directives + "\n") }

// Server adds a server block with these directives, `listen` among them.
func (n *Nginx) Server(directives string) { n.HTTP("server {\n" + directives + "\n}") }

// nginxFiles is what files below Dir are served as.
const nginxFiles = "types { text/html html; text/css css; image/png png; }\nroot html;\n"

// Start runs it until the test ends.
func (n *Nginx) Start() {
	n.t.Helper()
	processes := "worker_processes 1;" // with a single process, nginx takes no sockets over
	if os.Geteuid() == 0 {
		processes += " user root;" // who may read the folder of the test
	}
	conf := n.Write("nginx.conf", nginxconf.Of(n.Dir, processes, nginxFiles+n.http.String()))
	cmd := exec.Command(n.program, "-p", n.Dir, "-e", filepath.Join(n.Dir, "error.log"), "-c", conf)
	var inherited strings.Builder
	for i := range n.sockets {
		fmt.Fprintf(&inherited, "%d;", 3+i)
	}
	cmd.Env = append(os.Environ(), "NGINX="+inherited.String())
	cmd.ExtraFiles = n.sockets
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	for _, f := range n.sockets {
		f.Close()
	}
	n.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if n.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(n.Dir, "error.log"))
			n.t.Logf("nginx said:\n%s", tail(append(said.Bytes(), log...)))
		}
	})
}

// tail returns the end of a text, few lines of it.
func tail(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
