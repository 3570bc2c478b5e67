package stamp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"iter"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check/signature"
	"egovmon/collector/evidence"
)

// rootsFile is a PEM file with one certificate.
func rootsFile(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	path := filepath.Join(t.TempDir(), "roots.pem")
	if err = errors.Join(err, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// A silent log has one leaf and takes none.
type silent struct{}

func (silent) Leaves(int64) iter.Seq2[evidence.Stored, error] {
	return func(func(evidence.Stored, error) bool) {}
}
func (silent) Size() int64     { return 1 }
func (silent) Origin() string  { return "egovmon/d/log/1" }
func (silent) Tree() tlog.Tree { return tlog.Tree{N: 1} }
func (silent) Append(context.Context, ...evidence.Entry) (int64, error) {
	return 0, errors.New("nothing is taken")
}

// A transport answers as it is told.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRetries has an authority that never answers well: it is asked again, later each time up to an hour, and after two
// days people are told.
func TestRetries(t *testing.T) {
	roots := rootsFile(t)
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		begin := time.Now()
		client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			asked = append(asked, time.Since(begin))
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
		})}
		s, err := Open(Options{Config: Config{URL: "http://tsa.test/", Roots: roots}, Log: silent{}, Client: client, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(47 * time.Hour)
		synctest.Wait()
		if n := len(asked); n < 45 || n > 60 {
			t.Errorf("asked %d times in 47 hours", n)
		}
		for i := 1; i < len(asked); i++ {
			if by := asked[i] - asked[i-1]; by < firstRetry || by > maxWait {
				t.Errorf("attempt %d came after %s", i, by)
			}
		}
		st := s.Status()
		if st.Err == nil || !strings.Contains(st.Err.Error(), "status 503") || st.Overdue(time.Now(), s.o.Every) {
			t.Errorf("after 47 hours: %v, overdue %t", st.Err, st.Overdue(time.Now(), s.o.Every))
		}
		time.Sleep(2 * time.Hour)
		if st = s.Status(); !st.Overdue(time.Now(), s.o.Every) {
			t.Error("after 49 hours nobody is told")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestBadAnswers has answers that are no time stamp over the log.
func TestBadAnswers(t *testing.T) {
	long := zeros{left: 8 << 20}
	roots := rootsFile(t)
	for _, c := range []struct {
		name, want string
		status     int
		body       io.Reader
	}{
		{"nothing", "its ASN.1", 200, http.NoBody},
		{"a page", "its ASN.1", 200, strings.NewReader("<html>")},
		{"refused", "rejection", 200, bytes.NewReader([]byte{0x30, 5, 0x30, 3, 2, 1, 2})},
		{"granted without one", "no time stamp came", 200, bytes.NewReader([]byte{0x30, 5, 0x30, 3, 2, 1, 0})},
		{"endless", "the most is", 200, &long},
		{"elsewhere", "status 302", 302, http.NoBody},
		{"an error", "status 500", 500, http.NoBody},
	} {
		client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "tsa.test" {
				t.Errorf("%s: %s is asked", c.name, r.URL.Host)
			}
			return &http.Response{StatusCode: c.status, Header: http.Header{"Location": {"http://elsewhere.test/"}}, Body: io.NopCloser(c.body), Request: r}, nil
		})}
		s, err := Open(Options{Config: Config{URL: "http://tsa.test/", Roots: roots}, Log: silent{}, Client: client, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Once(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v, want %q", c.name, err, c.want)
		}
	}
	if long.left < 4<<20 {
		t.Errorf("of an answer of 8 MiB only %d bytes were left unread", long.left)
	}
}

// zeros are as many as are left.
type zeros struct{ left int }

// Read implements io.Reader.
func (z *zeros) Read(p []byte) (int, error) {
	if z.left <= 0 {
		return 0, io.EOF
	}
	clear(p)
	z.left -= len(p)
	return len(p), nil
}

// TestConfigs has configurations that cannot be used.
func TestConfigs(t *testing.T) {
	roots := rootsFile(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("-----BEGIN KEY-----\n-----END KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		config     Config
	}{
		{"no url", "no url", Config{Roots: roots}},
		{"no address", "http://host/path", Config{URL: "tsa.test", Roots: roots}},
		{"a password in it", "http://host/path", Config{URL: "http://a:b@tsa.test/", Roots: roots}},
		{"a file", "http://host/path", Config{URL: "file:///etc/passwd", Roots: roots}},
		{"no roots", "no file", Config{URL: "http://tsa.test/"}},
		{"roots that are none", "certificate", Config{URL: "http://tsa.test/", Roots: empty}},
		{"too often", "1h to 168h", Config{URL: "http://tsa.test/", Roots: roots, Every: time.Minute}},
	} {
		if _, err := Open(Options{Config: c.config, Log: silent{}, Now: time.Now}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if s, err := Open(Options{Log: silent{}, Now: time.Now}); s != nil || err != nil {
		t.Errorf("without a configuration: %v, %v", s, err)
	}
}

// FuzzStamps reads tokens and answers of anybody.
func FuzzStamps(f *testing.F) {
	f.Add([]byte{0x30, 5, 0x30, 3, 2, 1, 2})
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if token, err := signature.StampToken(b); err == nil {
			b = token
		}
		if st, err := signature.ReadStamp(b, [32]byte{}, nil, nil); err == nil && st.Rooted {
			t.Error("a stamp leads to a root where there is none")
		}
	})
}
