package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPublicPage: without the key nobody sees anything; with it everybody sees that page, under a name of this server, and
// nothing else.
func TestPublicPage(t *testing.T) {
	for _, on := range []bool{false, true} {
		dir := t.TempDir()
		if on {
			if err := os.WriteFile(filepath.Join(dir, configFile), []byte("public: [mail]\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := start(t, dir)
		body := ""
		ask := func(path, host string) int {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if body = string(b); err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode
		}
		want := map[bool]int{false: http.StatusUnauthorized, true: http.StatusOK}[on]
		if got := ask("/status", ""); got != want {
			t.Errorf("public %t: status %d, want %d", on, got, want)
		}
		for _, path := range []string{"/", "/wall", "/help", "/api/board", "/status/x", "/metrics", "/log/", "/api/v1/query?query=up", "/users"} {
			if got := ask(path, ""); got != http.StatusUnauthorized {
				t.Errorf("public %t: %s answers nobody with %d", on, path, got)
			}
		}
		if on {
			if got := ask("/status", "elsewhere.example"); got != http.StatusMisdirectedRequest || strings.Contains(body, "<html") {
				t.Errorf("under another name: %d, %d bytes", got, len(body))
			}
			if code, page := c.get(c.base()+"/status", true); code != http.StatusOK || !strings.Contains(page, "Thư điện tử công vụ") {
				t.Errorf("for who has signed in: %d", code)
			}
		}
		c.stop()
	}
}
