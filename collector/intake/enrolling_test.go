package intake

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"egovmon/agent/push"
	"egovmon/agent/wire"
)

// stranger calls without a certificate.
func (c *centre) stranger(t *testing.T) *http.Client {
	t.Helper()
	return c.strangerAt(t, "127.0.0.1")
}

// strangerAt is stranger with an address of its own.
func (c *centre) strangerAt(t *testing.T, addr string) *http.Client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: d.DialContext}
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

// guesses tries to enrol with wrong secrets, and returns how often each status came.
func (c *centre) guesses(t *testing.T, client *http.Client, token wire.Token, n int) map[int]int {
	t.Helper()
	token.Secret[0]++
	body, err := json.Marshal(wire.EnrolRequest{Token: token.Sent()})
	if err != nil {
		t.Fatal(err)
	}
	count := map[int]int{}
	for range n {
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
	return count
}

// Whoever guesses tokens is slowed down; the guesses cost nobody an open token.
func TestGuessedTokens(t *testing.T) {
	const most = 20
	c := newCentre(t, Limits{Enrolments: most, EnrolmentsOfOne: most})
	in, err := c.reg.NewToken("an-thanh", "")
	if err != nil {
		t.Fatal(err)
	}
	count := c.guesses(t, c.stranger(t), in.Token, 3*most)
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

// One hostile machine keeps nobody else from enrolling: it has a share of its own. Several have the share of all.
func TestGuessesOfOneMachine(t *testing.T) {
	const ofOne, all = 10, 25
	c := newCentre(t, Limits{Enrolments: all, EnrolmentsOfOne: ofOne})
	in, err := c.reg.NewToken("an-thanh", "")
	if err != nil {
		t.Fatal(err)
	}
	if n := c.guesses(t, c.strangerAt(t, "127.0.0.2"), in.Token, 3*all); n[http.StatusBadRequest] != ofOne {
		t.Errorf("one address: %v, want %d read", n, ofOne)
	}
	if _, err := push.Enrol(t.Context(), c.url, in.Token.String(), push.EnrolOptions{Now: c.now}); err != nil {
		t.Errorf("another machine, after the guesses of one: %v", err)
	}
	answered := ofOne + 1
	for _, addr := range []string{"127.0.0.3", "127.0.0.4", "127.0.0.5"} {
		answered += c.guesses(t, c.strangerAt(t, addr), in.Token, 2*ofOne)[http.StatusBadRequest]
	}
	if answered != all {
		t.Errorf("%d attempts were read, want %d of all machines together", answered, all)
	}
}

// However many addresses try, few are kept; one with a share of its own keeps it, and idle ones make room.
func TestSourcesOfEnrolments(t *testing.T) {
	e := newEnrolling(Limits{Enrolments: 1 << 30, EnrolmentsOfOne: 2})
	at := func(i int) string {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 4711).String()
	}
	allowed := func(addr string, now time.Time) (n int) {
		for n < 100 && e.allow(addr, now) {
			n++
		}
		return n
	}
	if n := allowed(at(0), start); n != 2 {
		t.Errorf("the first address may %d times, want 2", n)
	}
	for i := range 3 * maxSources {
		e.allow(at(i+1), start)
	}
	if n := len(e.sources); n != maxSources {
		t.Errorf("%d addresses are kept, want %d", n, maxSources)
	}
	if n := allowed(at(3*maxSources+1), start) + allowed(at(3*maxSources+2), start); n != 0 {
		t.Errorf("new addresses that there is no room for may %d times, want none beyond their share", n)
	}
	if n := allowed(at(0), start.Add(time.Second)); n != 0 {
		t.Errorf("the first address may %d times, a second later, want none", n)
	}
	later := start.Add(2 * time.Minute)
	if n := allowed(at(3*maxSources+1), later); n != 2 || len(e.sources) != 1 {
		t.Errorf("later a new address may %d times, beside %d others; want 2 and none", n, len(e.sources)-1)
	}
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1:1", "10.0.0.1:2", true},
		{"10.0.0.1:1", "10.0.0.2:1", false},
		{"10.0.0.1:1", "[::ffff:10.0.0.1]:1", true},
		{"[2001:db8::1]:1", "[2001:db8::ffff:1]:1", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::1]:1", true},
		{"x", "", true},
	} {
		if got := sourceOf(tt.a) == sourceOf(tt.b); got != tt.same {
			t.Errorf("%s and %s are one source: %v", tt.a, tt.b, got)
		}
	}
}
