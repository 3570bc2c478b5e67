package intake

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"egovmon/agent/push"
	"egovmon/agent/wire"
)

// stranger calls without a certificate.
func (c *centre) stranger(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// Whatever comes in place of a request to enrol or renew is answered with a reason, and leaves nothing in the log.
func TestHostileEnrolment(t *testing.T) {
	c := newCentre(t, Limits{Enrolments: 1000})
	a := c.agent(t, "an-thanh")
	size := c.log.Size()
	deep := strings.Repeat(`{"csr":`, 2000) + "1" + strings.Repeat("}", 2000)
	for _, tt := range []struct {
		name, body string
		header     string
		status     int
		code       wire.Code
	}{
		{"nothing", "", "", 400, wire.CodeBadRequest},
		{"rubbish", "\x00\xff{", "", 400, wire.CodeBadRequest},
		{"a list", "[]", "", 400, wire.CodeBadRequest},
		{"another type", `{"token":7}`, "", 400, wire.CodeBadRequest},
		{"not base64", `{"token":"x.y","csr":"%%%"}`, "", 400, wire.CodeBadRequest},
		{"cut off", `{"token":"aaaaaaaa`, "", 400, wire.CodeBadRequest},
		{"nested", deep, "", 400, wire.CodeBadRequest},
		{"too large", `{"token":"` + strings.Repeat("a", wire.MaxEnrol) + `"}`, "", 413, wire.CodeTooLarge},
		{"blanks without end", strings.Repeat(" ", wire.MaxEnrol+1), "", 413, wire.CodeTooLarge},
		{"compressed", "\x1f\x8b", "gzip", 400, wire.CodeBadRequest},
		{"no token", `{}`, "", 401, wire.CodeTokenUnknown},
		{"a long token", `{"token":"` + strings.Repeat("a", 8000) + `"}`, "", 401, wire.CodeTokenUnknown},
		{"a token with its pin", `{"token":"aaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaa.aaaa"}`, "", 401, wire.CodeTokenUnknown},
		{"no keys", `{"token":"aaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaa"}`, "", 400, wire.CodeBadKey},
	} {
		for path, client := range map[string]*http.Client{wire.PathEnrol: c.stranger(t), wire.PathRenew: a.client} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if tt.header != "" {
				req.Header.Set("Content-Encoding", tt.header)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(res.Body)
			res.Body.Close()
			var r wire.Refusal
			if err != nil || json.Unmarshal(data, &r) != nil || r.Error == "" || len(data) > 1000 {
				t.Errorf("%s to %s: the answer is no refusal: %.200q, %v", tt.name, path, data, err)
				continue
			}
			if path == wire.PathEnrol && (res.StatusCode != tt.status || r.Code != tt.code) {
				t.Errorf("%s to %s: %d %s, want %d %s", tt.name, path, res.StatusCode, r.Code, tt.status, tt.code)
			}
			if path == wire.PathRenew && (res.StatusCode < 400 || res.StatusCode >= 500) {
				t.Errorf("%s to %s: %d", tt.name, path, res.StatusCode)
			}
		}
	}
	if c.log.Size() != size {
		t.Errorf("%d leaves came of it", c.log.Size()-size)
	}
}

// Whoever guesses tokens is slowed down; the guesses cost nobody an open token.
func TestGuessedTokens(t *testing.T) {
	const most = 20
	c := newCentre(t, Limits{Enrolments: most})
	in, err := c.reg.NewToken("an-thanh", "")
	if err != nil {
		t.Fatal(err)
	}
	client := c.stranger(t)
	count := map[int]int{}
	for range 3 * most {
		guess := in.Token
		guess.Secret[0]++
		body, err := json.Marshal(wire.EnrolRequest{Token: guess.Sent()})
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Post(c.url+wire.PathEnrol, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		count[res.StatusCode]++
		if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
			t.Error("without a word when to come again")
		}
	}
	if count[http.StatusTooManyRequests] != 2*most {
		t.Errorf("%d guesses within a minute were answered: %v; at most %d", 3*most-count[http.StatusTooManyRequests], count, most)
	}
	enrol := func() error {
		_, err := push.Enrol(t.Context(), c.url, in.Token.String(), push.EnrolOptions{Now: c.now})
		return err
	}
	if r, ok := errors.AsType[*push.RefusedError](enrol()); !ok || r.Code != wire.CodeBusy {
		t.Errorf("meanwhile: %v", r)
	}
	c.set(c.now().Add(time.Minute))
	if err := enrol(); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}
