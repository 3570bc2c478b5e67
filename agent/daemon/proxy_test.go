package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egovmon/agent/check/checktest"
	"egovmon/agent/host"
	"egovmon/agent/push"
)

func TestProxyConfig(t *testing.T) {
	for _, tt := range []struct{ text, err string }{
		{"listen: '-'", ""},
		{"proxy: {url: 'http://proxy.huyen.example:3128'}", ""},
		{"proxy: {url: environment}", ""},
		{"proxy: {url: 'http://10.0.0.1:8080', user: pc, password: {secret: proxy}}", ""},
		{"proxy: {url: proxy.example}", "http://host:port"},
		{"proxy: {url: 'https://proxy.example:3128'}", "http://host:port"},
		{"proxy: {url: 'http://proxy.example'}", "http://host:port"},
		{"proxy: {url: 'http://proxy.example:3128/x'}", "http://host:port"},
		{"proxy: {url: 'http://pc:matkhau@proxy.example:3128'}", "use user, and password"},
		{"proxy: {user: pc, password: {secret: proxy}}", "without url"},
		{"proxy: {url: 'http://p.example:1', user: pc}", "without password"},
		{"proxy: {url: 'http://p.example:1', password: {secret: proxy}}", "without user"},
		{"proxy: {url: environment, user: pc, password: {secret: proxy}}", "brings its own"},
		{"proxy: {url: 'http://p.example:1', user: 'a:b', password: {secret: proxy}}", "colon"},
		{"proxy: {url: 'http://p.example:1', user: pc, password: {secret: ../identity.json}}", "is no name"},
		{"proxy: {url: 'http://p.example:1', user: pc, password: matkhau}", "configuration"},
		{"proxy: {url: 'http://p.example:1', pass: x}", "pass"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(tt.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadConfig(dir, "")
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.err)
		}
		if err != nil && strings.Contains(err.Error(), "matkhau@") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

// The password is read where a connection is opened, from the folder of secrets.
func TestProxyPassword(t *testing.T) {
	dir := t.TempDir()
	c := Config{Proxy: ProxyConfig{URL: "http://" + checktest.ClosedPort(t), User: "pc", Password: &SecretRef{"proxy"}}}
	dial := c.Dial(dir)
	if _, err := dial(t.Context(), "tcp", "192.0.2.1:1"); push.ProblemOf(err) != push.ProxyUnusable {
		t.Errorf("without the secret: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, host.SecretsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, host.SecretsDir, "proxy"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t.Context(), "tcp", "192.0.2.1:1"); push.ProblemOf(err) != push.ProxyUnreachable {
		t.Errorf("with it: %v", err)
	}
}
