package push

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check/checktest"
)

// echo answers with what it is sent, on loopback.
func echo(t *testing.T) string {
	t.Helper()
	return checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
}

// answers is a proxy that reads a request and says this.
func answers(t *testing.T, text string) string {
	return checktest.Serve(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, text)
			_, _ = io.Copy(io.Discard, c)
		}
	})
}

// forwards is a proxy that lets those through who know the password.
func forwards(t *testing.T, user, password string) string {
	return checktest.Serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil || req.Method != http.MethodConnect {
			return
		}
		req.Header.Set("Authorization", req.Header.Get("Proxy-Authorization"))
		if u, p, _ := req.BasicAuth(); u != user || p != password {
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"ubnd\"\r\nContent-Length: 0\r\n\r\n")
			return
		}
		to, err := net.Dial("tcp", req.Host)
		if err != nil {
			_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
			return
		}
		defer to.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(to, r); _ = to.Close() }()
		_, _ = io.Copy(c, to)
	})
}

func knows(password string) func() (string, error) {
	return func() (string, error) { return password, nil }
}

// Whatever a proxy does instead of connecting us is told apart.
func TestProxy(t *testing.T) {
	target, closed := echo(t), checktest.ClosedPort(t)
	for _, tt := range []struct {
		name  string
		proxy Proxy
		want  Problem
		text  string
	}{
		{"none", Proxy{}, "", ""},
		{"open", Proxy{Address: forwards(t, "", "")}, "", ""},
		{"with password", Proxy{Address: forwards(t, "máy", "mật khẩu: có dấu"), User: "máy", Password: knows("mật khẩu: có dấu")}, "", ""},
		{"password missing", Proxy{Address: forwards(t, "pc", "x")}, ProxyAuth, "asks for a user name"},
		{"password wrong", Proxy{Address: forwards(t, "pc", "x"), User: "pc", Password: knows("y")}, ProxyAuth, "does not accept"},
		{"password unreadable", Proxy{Address: closed, User: "pc", Password: func() (string, error) { return "", errors.New("no such file") }}, ProxyUnusable, "no such file"},
		{"only NTLM", Proxy{Address: answers(t, "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n")}, ProxyAuth, `"NTLM", "Negotiate", and only Basic`},
		{"forbids", Proxy{Address: answers(t, "HTTP/1.1 403 Filtered\r\n\r\n")}, ProxyRefused, "403 Filtered"},
		{"no proxy there", Proxy{Address: closed}, ProxyUnreachable, "cannot be reached"},
		{"garbage", Proxy{Address: answers(t, "SSH-2.0-OpenSSH_9.9\r\n")}, ProxyGarbage, "does not answer as an HTTP proxy"},
		{"breaks off", Proxy{Address: checktest.Serve(t, func(c net.Conn) {})}, ProxyGarbage, "proxy "},
		{"endless header", Proxy{Address: answers(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2*maxProxy))}, ProxyGarbage, "does not answer as an HTTP proxy"},
		{"speaks first", Proxy{Address: answers(t, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n")}, ProxyGarbage, "before the collector was asked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := tt.proxy.Dial(nil)(t.Context(), "tcp", target)
			if got := ProblemOf(err); got != tt.want || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("%q: %v; want %q with %q", got, err, tt.want, tt.text)
			}
			if err != nil {
				if strings.Contains(err.Error(), "mật khẩu") {
					t.Errorf("the error tells the password: %v", err)
				}
				return
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "xin chào"); err != nil {
				t.Fatal(err)
			}
			back := make([]byte, len("xin chào"))
			if _, err := io.ReadFull(conn, back); err != nil || string(back) != "xin chào" {
				t.Errorf("%q came back, %v", back, err)
			}
		})
	}
}

// A proxy that takes the connection and says nothing is given up in time.
func TestProxySilent(t *testing.T) {
	silent := Proxy{Address: checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	conn, err := silent.Dial(nil)(ctx, "tcp", "192.0.2.1:443")
	if got := ProblemOf(err); got != ProxySilent {
		t.Errorf("%v, %q: %v", conn, got, err)
	}
}

// A connection outlives the context that it was opened with.
func TestProxyContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := (Proxy{Address: forwards(t, "", "")}).Dial(nil)(ctx, "tcp", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("the connection ended with the context: %v", err)
	}
}

// What the shell's variables name is taken only where the configuration says so.
func TestProxyEnvironment(t *testing.T) {
	if os.Getenv("EGOVMON_TEST_PROXY") == "" { // net/http reads the variables once in a process
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyEnvironment$")
		cmd.Env = append(os.Environ(), "EGOVMON_TEST_PROXY=1", "https_proxy=http://pc:x@"+forwards(t, "pc", "x"), "HTTPS_PROXY=", "no_proxy=192.0.2.9", "REQUEST_METHOD=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	// 192.0.2.1 is nobody's address: the proxy cannot reach it, and we must not be asked to.
	var asked []string
	watch := func(ctx context.Context, network, address string) (net.Conn, error) {
		asked = append(asked, address)
		if strings.HasPrefix(address, "192.0.2.") {
			return nil, errors.New("straight")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, straight := Proxy{}.Dial(watch)(ctx, "tcp", "192.0.2.1:443")
	_, excepted := Proxy{Environment: true}.Dial(watch)(ctx, "tcp", "192.0.2.9:443")
	_, through := Proxy{Environment: true}.Dial(watch)(ctx, "tcp", "192.0.2.1:443")
	if straight == nil || straight.Error() != "straight" || excepted == nil || excepted.Error() != "straight" {
		t.Errorf("without the word: %v; excepted by no_proxy: %v", straight, excepted)
	}
	if p := ProblemOf(through); p != ProxyRefused && p != ProxySilent || len(asked) != 3 || !strings.HasPrefix(asked[2], "127.0.0.1:") {
		t.Errorf("with the word: %v, asked %v", through, asked)
	}
}

// tinyproxy is a proxy that others wrote.
func TestTinyproxy(t *testing.T) {
	program, err := exec.LookPath("tinyproxy")
	if err != nil {
		t.Skip("tinyproxy is missing: apt-get install tinyproxy-bin")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	target := echo(t)
	_, targetPort, _ := net.SplitHostPort(target)
	conf := filepath.Join(t.TempDir(), "tinyproxy.conf")
	text := fmt.Sprintf("Port %s\nListen 127.0.0.1\nTimeout 30\nMaxClients 10\nBasicAuth pc matkhau\nConnectPort %s\n", port, targetPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "-d", "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	p := Proxy{Address: addr, User: "pc", Password: knows("matkhau")}
	var conn net.Conn
	for { // until it listens; the test's own deadline ends it
		if conn, err = p.Dial(nil)(ctx, "tcp", target); ProblemOf(err) != ProxyUnreachable {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "xin chào"); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len("xin chào"))
	if _, err := io.ReadFull(conn, back); err != nil || string(back) != "xin chào" {
		t.Errorf("%q came back, %v", back, err)
	}
	p.Password = knows("khác")
	if _, err := p.Dial(nil)(ctx, "tcp", target); ProblemOf(err) != ProxyAuth {
		t.Errorf("a wrong password: %v", err)
	}
	p.Password = knows("matkhau")
	if _, err := p.Dial(nil)(ctx, "tcp", "127.0.0.1:1"); ProblemOf(err) != ProxyRefused {
		t.Errorf("a port that is not allowed: %v", err)
	}
}
