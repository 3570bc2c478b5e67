package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"egovmon/collector/access"
)

// recorded keeps the routes that are registered with it.
type recorded map[string]http.Handler

func (m recorded) HandleFunc(pattern string, f http.HandlerFunc) { m[pattern] = f }

func (m recorded) Handle(pattern string, h http.Handler) { m[pattern] = h }

// TestRequestsAreReadStrictly sends every handler that takes JSON a key that nobody knows, and something behind the
// object: none gets as far as doing anything, for which there is no collector here.
func TestRequestsAreReadStrictly(t *testing.T) {
	c, mux := &center{}, recorded{}
	c.local(mux, nil)
	c.lifeHandlers(mux)
	tried := 0
	for pattern, h := range mux {
		path, posts := strings.CutPrefix(pattern, http.MethodPost+" ")
		if !posts || path == pathLink { // a link takes nothing
			continue
		}
		tried++
		for _, tt := range []struct{ body, want string }{
			{`{"khong_co":1}`, `unknown field "khong_co"`},
			{`{}{}`, "behind the object"},
			{`{} x`, "invalid character"},
			{`{"khong_co"`, "unexpected EOF"},
		} {
			w := httptest.NewRecorder()
			q := httptest.NewRequest(http.MethodPost, strings.ReplaceAll(path, "{id}", "x"), strings.NewReader(tt.body))
			h.ServeHTTP(w, q.WithContext(access.WithUser(t.Context(), "lan@web")))
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%s %.20s: status %d, %.200s; want 400 and %s", pattern, tt.body, w.Code, w.Body, tt.want)
			}
		}
	}
	if tried < 15 {
		t.Errorf("only %d handlers were tried", tried)
	}
}
