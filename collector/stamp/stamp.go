package stamp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check/signature"
	"egovmon/collector/evidence"
)

const (
	// Every is how often the log is stamped by default.
	Every = 24 * time.Hour
	// TellAfter is for how long no stamp may have been had before people are told.
	TellAfter = 48 * time.Hour
	// FarOff is by how much the collector's clock and the authority's may differ before people are told.
	FarOff = 5 * time.Minute

	answerWithin        = 30 * time.Second
	firstRetry, maxWait = time.Minute, time.Hour
	maxRoots            = 1 << 20
)

// A Config is the part of collector.yaml about time stamps. Without URL there are none.
type Config struct {
	// URL is the authority of time stamps (RFC 3161), e.g. http://tsa.ca.gov.vn.
	URL string `yaml:"url"`
	// Roots is a PEM file of the roots that the authority's certificate must lead to. Hand them to auditors.
	Roots string `yaml:"roots"`
	// Every is how often. Default 24h, from 1h to 168h.
	Every time.Duration `yaml:"every"`
}

// A Log is what is stamped; *evidence.Store is one.
type Log interface {
	Leaves
	Origin() string
	Tree() tlog.Tree
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
}

// Options say what a Stamper works with. Client and Logger may be left out.
type Options struct {
	Config
	Log    Log
	Client *http.Client
	Now    func() time.Time
	Logger *slog.Logger
}

// A Status is how the stamps stand.
type Status struct {
	Last   Leaf      // the latest; zero without any
	Since  time.Time // when the Stamper began to look for one, if there is none
	Off    time.Duration
	Err    error // of the last attempt; nil after a good one
	Failed int   // attempts since the last good one
}

// A Stamper has the log stamped. Its methods may be called at the same time. Make it with Open.
type Stamper struct {
	o     Options
	roots []*x509.Certificate

	mu     sync.Mutex
	next   int64 // first leaf that was not looked at
	status Status
}

// Open returns the Stamper of a configuration; nil, without an error, when it names no authority.
func Open(o Options) (*Stamper, error) {
	if o.URL == "" {
		if o.Roots != "" || o.Every != 0 {
			return nil, errors.New("time stamps: there is no url: name the authority, or leave the whole part out")
		}
		return nil, nil
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("time stamps: url %.200q: write it as http://host/path", o.URL)
	}
	if o.Every = cmp.Or(o.Every, Every); o.Every < time.Hour || o.Every > 7*24*time.Hour {
		return nil, fmt.Errorf("time stamps: every %s: want 1h to 168h", o.Every)
	}
	s := &Stamper{o: o}
	if s.roots, err = readRoots(o.Roots); err != nil {
		return nil, fmt.Errorf("time stamps: roots: %w", err)
	}
	if s.o.Logger == nil {
		s.o.Logger = slog.New(slog.DiscardHandler)
	}
	if s.o.Client == nil {
		s.o.Client = &http.Client{Timeout: answerWithin}
	}
	client := *s.o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.o.Client = &client
	s.status.Since = o.Now().UTC()
	return s, nil
}

// readRoots reads the certificates of a PEM file.
func readRoots(path string) ([]*x509.Certificate, error) {
	if path == "" {
		return nil, errors.New("no file: name a PEM file with the authority's roots, without which no stamp can be believed")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRoots))
	if err != nil {
		return nil, err
	}
	return ParseRoots(text)
}

// ParseRoots reads certificates in PEM. A text without one is an error.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block %.40q: only certificates belong here", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in PEM is in it")
	}
	return out, nil
}

// Status tells how the stamps stand.
func (s *Stamper) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Overdue reports whether people are to be told: no stamp was had for long, or the two clocks differ.
func (st Status) Overdue(now time.Time, every time.Duration) bool {
	since := st.Last.At
	if since.IsZero() {
		since = st.Since
	}
	return st.Failed > 0 && now.Sub(since) >= max(TellAfter, 2*every)
}

// Due returns how long it is to the next stamp; not positive when it is due.
func (s *Stamper) Due() (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := s.o.Log.Size()
	l, ok, err := last(s.o.Log, s.o.Log.Origin(), s.next)
	if err != nil {
		return 0, err
	}
	if s.next = size; ok {
		s.status.Last = l
	}
	if s.status.Last.At.IsZero() {
		return 0, nil
	}
	// A clock that was set back makes no stamp wait longer than one interval.
	return min(s.status.Last.At.Add(s.o.Every).Sub(s.o.Now()), s.o.Every), nil
}

// Run has the log stamped until ctx ends.
func (s *Stamper) Run(ctx context.Context) error {
	for {
		wait, err := s.Due()
		if err == nil && wait <= 0 {
			err = s.Once(ctx)
			wait = time.Second
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			wait = s.failed(err)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// failed notes an attempt that brought no stamp, and returns how long to wait for the next.
func (s *Stamper) failed(err error) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := min(firstRetry<<min(s.status.Failed, 10), maxWait)
	s.status.Err, s.status.Failed = err, s.status.Failed+1
	s.o.Logger.Warn("the log could not be stamped", "err", err, "attempts", s.status.Failed, "again_in", wait)
	return wait
}

// Once has the state that the log has now stamped, and puts the time stamp into it.
func (s *Stamper) Once(ctx context.Context) error {
	origin, tree := s.o.Log.Origin(), s.o.Log.Tree()
	if tree.N == 0 {
		return errors.New("time stamp: the log is empty")
	}
	digest := Digest(origin, tree)
	req, nonce, err := signature.StampRequest(digest)
	if err != nil {
		return fmt.Errorf("time stamp: %w", err)
	}
	token, err := s.ask(ctx, req)
	if err != nil {
		return fmt.Errorf("time stamp from %s: %w", s.o.URL, err)
	}
	st, err := signature.ReadStamp(token, digest, nonce, s.roots)
	if err == nil && !st.Rooted {
		err = fmt.Errorf("the certificate %s does not lead to a root in %s", st.Authority, s.o.Roots)
	}
	if err != nil {
		return fmt.Errorf("time stamp from %s: %w", s.o.URL, err)
	}
	l := Leaf{Origin: origin, Size: tree.N, At: s.o.Now().UTC()}
	e, err := l.Entry(token)
	if err == nil {
		l.Index, err = s.o.Log.Append(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("time stamp: %w", err)
	}
	off := l.At.Sub(st.At)
	if off.Abs() > FarOff {
		s.o.Logger.Error("the collector's clock and that of the authority of time stamps differ", "off", off)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = Status{Last: l, Since: s.status.Since, Off: off}
	return nil
}

// ask sends a request, and returns the time stamp.
func (s *Stamper) ask(ctx context.Context, body []byte) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, answerWithin)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	req.Header.Set("Accept", "application/timestamp-reply")
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d, want 200", resp.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, signature.MaxStamp+1))
	if err != nil {
		return nil, err
	}
	return signature.StampToken(answer)
}
