package alert

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"egovmon/agent/durable"
)

// A WatcherConfig names a watcher outside: a place that alarms somebody when it has heard nothing of this collector for a
// while, such as healthchecks.io or a monitor of the province. Nobody inside can tell that the line of the centre is cut.
type WatcherConfig struct {
	// URL is called while the collector sees. It is a secret: whoever knows it can keep the watcher quiet.
	URL string `yaml:"url"`
	// StartURL is called once when the collector starts. Default none.
	StartURL string `yaml:"start_url"`
	// TestURL is called for a test, and must make the watcher alarm at once. ${code} in it is replaced by a code that the
	// person who is alarmed reads out; the code is the body as well. Default URL with /fail at the end of its path.
	TestURL string `yaml:"test_url"`
	// Method is GET (the default) or POST. A test without ${code} in its address is a POST, for the code to go with.
	Method string `yaml:"method"`
	// Every is how often the watcher is called, 10s to 1h. Default 1m. Let it alarm after three times that.
	Every time.Duration `yaml:"every"`
	// CAFile holds PEM certificates to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
}

const (
	watcherEvery    = time.Minute
	watcherVersion  = 1
	watcherFileMost = 16 << 10
	testFor         = 24 * time.Hour       // until a test must have been confirmed
	testTries       = 5                    // wrong codes that a test takes
	confirmedFor    = 365 * 24 * time.Hour // until the watcher is to be tested again
	codePlace       = "${code}"
)

// check fills in the defaults and returns what cannot be used.
func (c *WatcherConfig) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("alert: watcher: "+format, args...)) }
	if c.Every == 0 {
		c.Every = watcherEvery
	}
	if c.Every < 10*time.Second || c.Every > time.Hour {
		bad("every %s: want 10s to 1h", c.Every)
	}
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	if c.Method != http.MethodGet && c.Method != http.MethodPost {
		bad("method: %q is neither GET nor POST", c.Method)
	}
	for name, text := range map[string]string{"url": c.URL, "start_url": c.StartURL, "test_url": strings.ReplaceAll(c.TestURL, codePlace, "X")} {
		u, err := url.Parse(text)
		switch {
		case text == "" && name != "url":
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			bad("%s is no URL: write it as https://host/path", name)
		case name == "url" && c.TestURL == "":
			u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+"/fail", ""
			c.TestURL = u.String()
		}
	}
	return errors.Join(errs...)
}

// The states of a watcher.
const (
	WatcherNone        = "none"        // none is named
	WatcherUnconfirmed = "unconfirmed" // nobody has confirmed that it alarms a person
	WatcherTesting     = "testing"     // a test is under way, and not confirmed yet
	WatcherConfirmed   = "confirmed"
	WatcherStale       = "stale" // confirmed more than a year ago
)

// ResultBlind is what calls of the watcher are counted by, besides ok and error, that were not made because the collector
// sees nothing.
const ResultBlind = "blind"

// WatcherOptions are what a Watcher is made from. File and Record must be set.
type WatcherOptions struct {
	File     string // keeps the last test
	Config   *WatcherConfig
	District string
	// Blind says why the collector cannot see now; "" when it can. While it cannot, the watcher is not called.
	Blind func() string
	// Record writes into the log that somebody confirmed a test.
	Record func(ctx context.Context, fields map[string]string) error
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default slog.Default()
}

// A Watcher calls the watcher outside while its Run is under way. Its methods may be called at the same time.
type Watcher struct {
	o      WatcherOptions
	client *http.Client

	acting sync.Mutex // held during a test or a confirmation
	mu     sync.Mutex
	kept   watcherFile
	said   WatcherStatus
}

// A watcherFile is what is kept of tests. URL is the hash of the address that was tested: another one is not confirmed.
type watcherFile struct {
	Version   int       `json:"version"`
	URL       string    `json:"url"`
	Code      string    `json:"code,omitempty"` // hash of the code of a test that is under way
	Tested    time.Time `json:"tested,omitzero"`
	Tries     int       `json:"tries,omitempty"`
	Confirmed time.Time `json:"confirmed,omitzero"`
	By        string    `json:"by,omitempty"`
}

// A WatcherStatus says how it stands with the watcher, without its address.
type WatcherStatus struct {
	State     string            `json:"state"`
	Tested    time.Time         `json:"tested,omitzero"`
	Confirmed time.Time         `json:"confirmed,omitzero"`
	By        string            `json:"by,omitempty"` // who confirmed
	Last      time.Time         `json:"last,omitzero"`
	Error     string            `json:"error,omitempty"` // of the latest call
	Blind     string            `json:"blind,omitempty"` // why it is not called now
	Counts    map[string]uint64 `json:"counts,omitempty"`
}

// Errors of Confirm and Test.
var (
	ErrNoWatcher = errors.New("no watcher is named: write its address into collector.yaml, alert.watcher.url")
	ErrNoTest    = errors.New("no test is under way: begin one with `collector watcher test`")
	ErrWrongCode = errors.New("this is not the code of the test")
)

// NewWatcher reads what is kept of earlier tests. Without a Config the watcher is never called.
func NewWatcher(o WatcherOptions) (*Watcher, error) {
	if o.File == "" || o.Record == nil {
		return nil, errors.New("alert: WatcherOptions need a File and a Record")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Blind == nil {
		o.Blind = func() string { return "" }
	}
	w := &Watcher{o: o, said: WatcherStatus{Counts: map[string]uint64{}}}
	if o.Config == nil {
		return w, nil
	}
	if err := o.Config.check(); err != nil {
		return nil, err
	}
	roots, err := rootsOf(o.Config.CAFile)
	if err != nil {
		return nil, fmt.Errorf("alert: watcher: %w", err)
	}
	w.client = newClient(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	w.said.Counts = map[string]uint64{ResultOK: 0, ResultError: 0, ResultBlind: 0}
	if w.kept, err = readWatcher(o.File); err != nil {
		o.Logger.Warn("alert: watcher: what is kept of tests cannot be read; test it again", "err", err)
	}
	if w.kept.URL != hashed(o.Config.URL) {
		w.kept = watcherFile{Version: watcherVersion, URL: hashed(o.Config.URL)}
	}
	return w, nil
}

func readWatcher(file string) (k watcherFile, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, watcherFileMost))
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err == nil && k.Version != watcherVersion {
		err = fmt.Errorf("%s is of version %d, not %d", file, k.Version, watcherVersion)
	}
	if err != nil {
		return watcherFile{}, err
	}
	return k, nil
}

func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Run calls the watcher until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	c := w.o.Config
	if c == nil {
		return nil
	}
	if c.StartURL != "" {
		if err := w.call(ctx, c.Method, c.StartURL, "start"); err != nil {
			w.o.Logger.Warn("alert: watcher: the start is not told", "err", err)
		}
	}
	t := time.NewTicker(c.Every)
	defer t.Stop()
	for {
		w.beat(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// beat calls the watcher once, unless the collector is blind.
func (w *Watcher) beat(ctx context.Context) {
	blind, result := w.o.Blind(), ResultBlind
	var err error
	if blind == "" {
		if err, result = w.call(ctx, w.o.Config.Method, w.o.Config.URL, "ok"), ResultOK; err != nil {
			result = ResultError
		}
	}
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.said
	w.said.Counts[result]++
	w.said.Blind, w.said.Error = blind, ""
	switch result {
	case ResultOK:
		w.said.Last = w.o.Now().UTC()
	case ResultError:
		w.said.Error = clip(err.Error(), maxError)
	}
	if w.said.Blind != was.Blind || w.said.Error != was.Error {
		w.o.Logger.Warn("alert: watcher", "result", result, "blind", blind, "err", err)
	}
}

// call makes one call. It returns nil once the other side has answered 2xx. Errors do not show the address.
func (w *Watcher) call(ctx context.Context, method, to, body string) error {
	content := io.Reader(nil)
	if method == http.MethodPost {
		content = strings.NewReader(body + "\n")
	}
	req, err := http.NewRequestWithContext(ctx, method, to, content)
	if err != nil {
		return errors.New("the address cannot be called")
	}
	req.Header.Set("User-Agent", "egovmon")
	res, err := w.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return err
	}
	defer res.Body.Close()
	switch res.StatusCode / 100 {
	case 2:
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
		return nil
	case 3:
		return fmt.Errorf("answered %d: redirects are not followed, enter the address that it leads to", res.StatusCode)
	}
	return fmt.Errorf("answered %d", res.StatusCode)
}

// Test makes the watcher alarm. The person whom it alarms is told a code, which Confirm asks for.
func (w *Watcher) Test(ctx context.Context) error {
	if w.o.Config == nil {
		return ErrNoWatcher
	}
	w.acting.Lock()
	defer w.acting.Unlock()
	code := rand.Text()[:8]
	k := w.current()
	k.Version, k.Code, k.Tested, k.Tries = watcherVersion, hashed(code), w.o.Now().UTC().Truncate(time.Second), 0
	if err := w.keep(k); err != nil {
		return err
	}
	body := fmt.Sprintf("egovmon %s: test of the watcher, nothing is wrong. Code: %s", w.o.District, code)
	method := http.MethodPost // the code is in the body
	if strings.Contains(w.o.Config.TestURL, codePlace) {
		method = w.o.Config.Method
	}
	if err := w.call(ctx, method, strings.ReplaceAll(w.o.Config.TestURL, codePlace, code), body); err != nil {
		k.Code = ""
		return errors.Join(fmt.Errorf("the watcher was not told of the test: %w", err), w.keep(k))
	}
	return nil
}

// Confirm records that somebody, by, was alarmed by the test and read the code. After five wrong codes the test is over.
func (w *Watcher) Confirm(ctx context.Context, by, code string) error {
	if w.o.Config == nil {
		return ErrNoWatcher
	}
	if by = strings.TrimSpace(by); by == "" {
		return errors.New("say who was alarmed")
	}
	w.acting.Lock()
	defer w.acting.Unlock()
	k, now := w.current(), w.o.Now().UTC()
	if k.Code == "" || now.Sub(k.Tested) > testFor || k.Tries >= testTries {
		return ErrNoTest
	}
	if subtle.ConstantTimeCompare([]byte(hashed(strings.ToUpper(strings.TrimSpace(code)))), []byte(k.Code)) != 1 {
		k.Tries++
		return errors.Join(ErrWrongCode, w.keep(k))
	}
	at := now.Truncate(time.Millisecond)
	err := w.o.Record(ctx, map[string]string{"at": at.Format("2006-01-02T15:04:05.000Z"), "watcher": k.URL[:12], "tested": k.Tested.Format(time.RFC3339), "user": by})
	if err != nil {
		return err
	}
	k.Code, k.Confirmed, k.By = "", at, by
	return w.keep(k)
}

func (w *Watcher) current() watcherFile {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept
}

// keep writes what is kept of tests.
func (w *Watcher) keep(k watcherFile) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := durable.Replace(w.o.File, text); err != nil {
		return fmt.Errorf("what is kept of the watcher's tests: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = k
	return nil
}

// Status says how it stands.
func (w *Watcher) Status() WatcherStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, k, now := w.said, w.kept, w.o.Now()
	s.Counts = map[string]uint64{}
	maps.Copy(s.Counts, w.said.Counts)
	s.Tested, s.Confirmed, s.By = k.Tested, k.Confirmed, k.By
	switch {
	case w.o.Config == nil:
		s.State = WatcherNone
	case k.Code != "" && now.Sub(k.Tested) <= testFor && k.Tries < testTries:
		s.State = WatcherTesting
	case k.Confirmed.IsZero():
		s.State = WatcherUnconfirmed
	case now.Sub(k.Confirmed) > confirmedFor:
		s.State = WatcherStale
	default:
		s.State = WatcherConfirmed
	}
	return s
}
