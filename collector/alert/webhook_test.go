package alert

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func newTestCaller(t *testing.T, c WebhookConfig) *caller {
	t.Helper()
	w, err := newCaller(c, func() time.Time { return at(23, 10, 0) })
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWebhookSigns(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("khóa bí mật\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got http.Header
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	c := Content{Key: "k.opened.1", Subject: "Gián đoạn: Thư", Text: "…", Why: NowCritical, Items: []Payload{{Incident: "i", Event: Opened}}}
	if err := newTestCaller(t, WebhookConfig{SecretFile: secret}).send(t.Context(), srv.URL, c); err != nil {
		t.Fatal(err)
	}
	stamp := strconv.FormatInt(at(23, 10, 0).Unix(), 10)
	if got.Get(HeaderSignature) != sign([]byte("khóa bí mật"), stamp, body) || got.Get(HeaderTimestamp) != stamp || got.Get(HeaderDelivery) != c.Key {
		t.Errorf("headers: %v", got)
	}
	if sign([]byte("another"), stamp, body) == got.Get(HeaderSignature) || sign([]byte("khóa bí mật"), stamp, append(body, ' ')) == got.Get(HeaderSignature) {
		t.Error("the signature does not depend on key and body")
	}
	var b call
	if err := json.Unmarshal(body, &b); err != nil || b.Version != 1 || b.Delivery != c.Key || b.Title != c.Subject || len(b.Items) != 1 {
		t.Errorf("body %s: %v", body, err)
	}
}

func TestWebhookFaults(t *testing.T) {
	led := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led++ }))
	defer elsewhere.Close()
	var stop chan struct{} // what hangs, hangs until it is closed
	tests := []struct {
		name string
		do   http.HandlerFunc
		want string // of the error; "" for none
	}{
		{"ok", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, ""},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "answered 500"},
		{"404", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "answered 404"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "redirects are not followed"},
		{"hangs", func(http.ResponseWriter, *http.Request) { <-stop }, "webhook: "},
		{"an answer without end", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, ""},
		{"headers without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 200<<10))
			w.WriteHeader(200)
		}, "webhook: "},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "webhook: "},
	}
	for _, tt := range tests {
		stop = make(chan struct{})
		srv := httptest.NewServer(tt.do)
		c := newTestCaller(t, WebhookConfig{})
		c.client.Timeout = 300 * time.Millisecond
		err := c.send(t.Context(), srv.URL+"/?key=abc", Content{})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "abc"):
			t.Errorf("%s: the error gives the URL away: %v", tt.name, err)
		}
		close(stop)
		srv.CloseClientConnections()
		srv.Close()
	}
	if led != 0 {
		t.Error("the redirect was followed")
	}
	for _, to := range []string{"", "d.test/x", "file:///etc/passwd", "http://%zz"} {
		if err := newTestCaller(t, WebhookConfig{}).send(t.Context(), to, Content{}); err == nil {
			t.Errorf("%q was called", to)
		}
	}
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	if err := newTestCaller(t, WebhookConfig{}).send(t.Context(), srv.URL, Content{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}
