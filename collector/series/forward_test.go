package series

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"egovmon/agent/check"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// A receiver takes remote write requests and keeps their samples by series, time and value bits.
type receiver struct {
	v2     bool                                              // knows 2.0; otherwise takes it for an empty 1.0 request
	answer func(n int, r *http.Request) (code int, h string) // for the nth request, from 1; 0 goes on; h is Retry-After
	bad    func(labels.Labels, int64) bool                   // a sample it refuses, with all of its request

	mu       sync.Mutex
	requests int
	got      map[string]uint64
	changed  chan struct{}
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests++
	defer func() {
		select {
		case v.changed <- struct{}{}:
		default:
		}
	}()
	if v.answer != nil {
		if code, after := v.answer(v.requests, r); code != 0 {
			w.Header().Set("Retry-After", after)
			http.Error(w, "a fault", code)
			return
		}
	}
	samples, err := v.read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	isV2 := strings.Contains(r.Header.Get("Content-Type"), "v2.Request")
	for _, s := range samples {
		if v.bad != nil && v.bad(s.ls, s.t) && !(isV2 && v.v2) {
			http.Error(w, "too old sample", http.StatusBadRequest)
			return
		}
	}
	n := 0
	for _, s := range samples {
		if v.bad != nil && v.bad(s.ls, s.t) {
			continue
		}
		n++
		v.got[fmt.Sprint(s.ls, " ", s.t)] = math.Float64bits(s.v)
	}
	if v.v2 && isV2 {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", fmt.Sprint(n))
	}
	if n < len(samples) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (v *receiver) read(r *http.Request) (out []stamped, err error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if strings.Contains(r.Header.Get("Content-Type"), "v2.Request") {
		var q writev2.Request
		if !v.v2 { // as Debian's Prometheus 2.42 does
			return nil, nil
		}
		if b, err = snappy.Decode(nil, b); err != nil {
			return nil, err
		}
		if err := q.Unmarshal(b); err != nil {
			return nil, err
		}
		return decode2(snappy.Encode(nil, b))
	}
	if b, err = snappy.Decode(nil, b); err != nil {
		return nil, err
	}
	var q prompb.WriteRequest
	if err := q.Unmarshal(b); err != nil {
		return nil, err
	}
	var builder labels.ScratchBuilder
	for _, ts := range q.Timeseries {
		for _, s := range ts.Samples {
			out = append(out, stamped{ts.ToLabels(&builder, nil), s.Timestamp, s.Value})
		}
	}
	return out, nil
}

// until waits until done holds, looked at after each request.
func (v *receiver) until(t *testing.T, done func() bool) {
	t.Helper()
	for {
		v.mu.Lock()
		ok := done()
		v.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-v.changed:
		case <-t.Context().Done():
			t.Fatal("the test ended while waiting")
		}
	}
}

func newReceiver(t *testing.T, v *receiver) *httptest.Server {
	v.got = map[string]uint64{}
	v.changed = make(chan struct{}, 1)
	srv := httptest.NewServer(v)
	t.Cleanup(srv.Close)
	return srv
}

// fast is a receiver's entry for tests: it does not wait long.
func fast(url string) RemoteWrite {
	return RemoteWrite{Name: "centre", URL: url, MinBackoff: time.Microsecond, MaxBackoff: time.Millisecond}
}

// drain sends until nothing waits.
func drain(t *testing.T, db *DB) {
	t.Helper()
	for db.forwards[0].queue.waiting() > 0 {
		if _, err := db.forwards[0].sendSome(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs a database until the test or stop ends it.
func start(t *testing.T, db *DB) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// someSamples are new, late and marked ones.
func someSamples(n int) (samples []Sample, want map[string]uint64) {
	want = map[string]uint64{}
	for i := range n {
		s := gauge("m", noon.Add(-time.Duration(i%7)*day-time.Duration(i)*time.Second), float64(i), "i", fmt.Sprint(i%50))
		s.Stale = i%10 == 9
		samples = append(samples, s)
		want[fmt.Sprintf(`{__name__="m", i="%d"} %d`, i%50, s.At.UnixMilli())] = math.Float64bits(s.float())
	}
	return samples, want
}

func outcomes(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range fs {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if f.GetName() == "egovmon_remote_write_samples_total" && l.GetName() == "outcome" {
					out[l.GetValue()] = m.Counter.GetValue()
				}
			}
		}
	}
	return out
}

// TestForward sends to receivers of both protocols that fail in the usual ways first. Every sample must arrive at its
// own time with its own bits, also markers.
func TestForward(t *testing.T) {
	fault := func(until, code int, after string) func(int, *http.Request) (int, string) {
		return func(n int, _ *http.Request) (int, string) {
			if n <= until {
				return code, after
			}
			return 0, ""
		}
	}
	for _, tt := range []struct {
		name   string
		v2     bool
		answer func(int, *http.Request) (int, string)
	}{
		{"2.0", true, nil},
		{"1.0 that ignores the content type", false, nil},
		{"1.0 that refuses the content type", false, func(_ int, r *http.Request) (int, string) {
			if strings.Contains(r.Header.Get("Content-Type"), "v2.Request") {
				return http.StatusUnsupportedMediaType, ""
			}
			return 0, ""
		}},
		{"1.0 that calls 2.0 bad data", false, func(_ int, r *http.Request) (int, string) {
			if strings.Contains(r.Header.Get("Content-Type"), "v2.Request") {
				return http.StatusBadRequest, ""
			}
			return 0, ""
		}},
		{"500 first", true, fault(5, 500, "")},
		{"429 first", true, fault(3, 429, "0")},
		{"503 first, 1.0", false, fault(3, 503, "nonsense")},
		{"wrong password first", true, fault(4, 401, "")},
		{"wrong path first", true, fault(2, 404, "")},
		{"redirect first", true, fault(2, 302, "")},
		{"hangs up first", true, func(n int, r *http.Request) (int, string) {
			if n <= 3 {
				panic(http.ErrAbortHandler)
			}
			return 0, ""
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &receiver{v2: tt.v2, answer: tt.answer}
			srv := newReceiver(t, v)
			srv.Config.ErrorLog = nil
			reg := prometheus.NewRegistry()
			samples, want := someSamples(5000)
			db := openTest(t, Options{RemoteWrite: []RemoteWrite{fast(srv.URL)}, Registry: reg})
			if n, refused, err := db.Append(t.Context(), samples); n != len(samples) || err != nil {
				t.Fatal(n, refused, err)
			}
			drain(t, db)
			if diff := cmp.Diff(want, v.got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			got := outcomes(t, reg)
			delete(got, "retried")
			if diff := cmp.Diff(map[string]float64{"sent": 5000, "refused": 0, "dropped": 0}, got); diff != "" {
				t.Errorf("outcomes -want +got:\n%s", diff)
			}
			problems, err := testutil.GatherAndLint(reg)
			if err != nil || len(problems) > 0 {
				t.Errorf("lint: %v %v", problems, err)
			}
		})
	}
}

// TestForwardRefused sends to receivers that refuse some samples: all the others must arrive, and those be counted.
func TestForwardRefused(t *testing.T) {
	horizon := noon.Add(-3 * day).UnixMilli()
	for _, v2 := range []bool{true, false} {
		for name, bad := range map[string]func(labels.Labels, int64) bool{
			"too old":    func(_ labels.Labels, at int64) bool { return at < horizon },
			"one series": func(ls labels.Labels, _ int64) bool { return ls.Get("i") == "7" },
		} {
			t.Run(fmt.Sprint(name, " v2=", v2), func(t *testing.T) {
				v := &receiver{v2: v2, bad: bad}
				srv := newReceiver(t, v)
				reg := prometheus.NewRegistry()
				var samples []Sample
				var wantRefused float64
				want := map[string]uint64{}
				for i := range 300 {
					s := gauge("m", noon.Add(-time.Duration(i)*time.Hour), float64(i), "i", fmt.Sprint(i%100))
					samples = append(samples, s)
					ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i%100))
					if bad(ls, s.At.UnixMilli()) {
						wantRefused++
					} else {
						want[fmt.Sprint(ls, " ", s.At.UnixMilli())] = math.Float64bits(s.Value)
					}
				}
				db := openTest(t, Options{RemoteWrite: []RemoteWrite{fast(srv.URL)}, Registry: reg})
				if n, refused, err := db.Append(t.Context(), samples); n != len(samples) || err != nil {
					t.Fatal(n, refused, err)
				}
				drain(t, db)
				if diff := cmp.Diff(want, v.got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if got := outcomes(t, reg); got["refused"] != wantRefused || got["sent"] != 300-wantRefused {
					t.Errorf("outcomes %v, want %v refused", got, wantRefused)
				}
			})
		}
	}
}

// TestForwardRefusedWithoutEnd bounds what a receiver that refuses everything costs.
func TestForwardRefusedWithoutEnd(t *testing.T) {
	v := &receiver{bad: func(labels.Labels, int64) bool { return true }}
	srv := newReceiver(t, v)
	reg := prometheus.NewRegistry()
	db := openTest(t, Options{RemoteWrite: []RemoteWrite{fast(srv.URL)}, Registry: reg})
	samples, _ := someSamples(2000)
	if _, _, err := db.Append(t.Context(), samples); err != nil {
		t.Fatal(err)
	}
	if _, err := db.forwards[0].sendSome(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := outcomes(t, reg); got["refused"] != 2000 || v.requests > splits+2 {
		t.Errorf("%v after %d requests, want 2000 refused after at most %d", got, v.requests, splits+2)
	}
}

// TestForwardWaitsThroughARestart appends while the receiver is away, restarts, and lets it come back.
func TestForwardWaitsThroughARestart(t *testing.T) {
	v := &receiver{v2: true, answer: func(int, *http.Request) (int, string) { return http.StatusBadGateway, "" }}
	srv := newReceiver(t, v)
	dir := t.TempDir()
	samples, want := someSamples(5000)
	o := Options{Dir: dir, RemoteWrite: []RemoteWrite{fast(srv.URL)}, Now: func() time.Time { return noon }}
	db, err := Open(withLogger(o))
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, db)
	if n, refused, err := db.Append(t.Context(), samples[:2500]); n != 2500 || err != nil {
		t.Fatal(n, refused, err)
	}
	v.until(t, func() bool { return v.requests > 2 })
	stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Wipe(dir); err != nil { // what waits must survive it
		t.Fatal(err)
	}
	db = openTest(t, o)
	if n, refused, err := db.Append(t.Context(), samples[2500:]); n != 2500 || err != nil {
		t.Fatal(n, refused, err)
	}
	if n := db.forwards[0].queue.waiting(); n != 5000 {
		t.Fatalf("%d samples wait, want 5000", n)
	}
	v.mu.Lock()
	v.answer = nil
	v.mu.Unlock()
	start(t, db)
	v.until(t, func() bool { return len(v.got) == len(want) })
	if diff := cmp.Diff(want, maps.Clone(v.got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestForwardDropsTheOldest fills the queue of a receiver that is away for too long.
func TestForwardDropsTheOldest(t *testing.T) {
	reg := prometheus.NewRegistry()
	rw := fast("http://127.0.0.1:1/")
	rw.MaxBytes = 64 << 10
	db := openTest(t, Options{RemoteWrite: []RemoteWrite{rw}, Registry: reg})
	total := 0
	for i := range 60 {
		var samples []Sample
		for k := range 200 {
			samples = append(samples, gauge("m", noon.Add(-time.Duration(60-i)*time.Minute), float64(i*k)*math.Pi, "i", fmt.Sprint(k)))
		}
		n, _, err := db.Append(t.Context(), samples)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	waiting := db.forwards[0].queue.waiting()
	if got := outcomes(t, reg)["dropped"]; got == 0 || int(got)+waiting != total {
		t.Errorf("%v dropped and %d waiting, want them to be %d together", got, waiting, total)
	}
}

// TestForwardMarkers sends what results become, so that the receiver's charts have the same gaps.
func TestForwardMarkers(t *testing.T) {
	v := &receiver{v2: true}
	srv := newReceiver(t, v)
	db := openTest(t, Options{RemoteWrite: []RemoteWrite{fast(srv.URL)}})
	add(t, db, point("a", noon.Add(-time.Hour), time.Minute, check.OK))
	sweepNow(t, db)
	drain(t, db)
	end := noon.Add(-59 * time.Minute).Add(-time.Millisecond).UnixMilli()
	k := fmt.Sprintf(`{__name__="egovmon_check_success", check="a", kind="http", machine="pc-1", service="cong_h", unit="xa-an-thanh"} %d`, end)
	if got := v.got[k]; got != 0x7ff0000000000002 || len(v.got) != 8 {
		t.Errorf("%d samples; the marker at the end is %x", len(v.got), got)
	}
}

func TestForwardCredentials(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(*RemoteWrite)
		want string
	}{
		{"basic", func(rw *RemoteWrite) { rw.User, rw.PasswordFile = "district", file }, "Basic ZGlzdHJpY3Q6czNjcmV0"},
		{"bearer", func(rw *RemoteWrite) { rw.BearerFile = file }, "Bearer s3cret"},
		{"none", func(*RemoteWrite) {}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got http.Header
			srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r.Header.Clone()
				w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "1")
			}))
			t.Cleanup(srv.Close)
			ca := filepath.Join(dir, "ca.pem")
			if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			rw := fast(srv.URL)
			rw.CAFile = ca
			rw.Headers = map[string]string{"X-Scope-OrgID": "tu-ky"}
			tt.edit(&rw)
			db := openTest(t, Options{RemoteWrite: []RemoteWrite{rw}, Version: "1.2.3"})
			if _, _, err := db.Append(t.Context(), []Sample{gauge("m", noon, 1)}); err != nil {
				t.Fatal(err)
			}
			if _, err := db.forwards[0].sendSome(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := []string{tt.want, "tu-ky", "egovmon/1.2.3", "snappy", "2.0.0"}
			var have []string
			for _, k := range []string{"Authorization", "X-Scope-OrgID", "User-Agent", "Content-Encoding", "X-Prometheus-Remote-Write-Version"} {
				have = append(have, got.Get(k))
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRemoteWriteMistakes(t *testing.T) {
	dir := t.TempDir()
	noPEM := filepath.Join(dir, "no.pem")
	if err := os.WriteFile(noPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	ok := RemoteWrite{Name: "centre", URL: "https://metrics.test/api/v1/write"}
	for _, tt := range []struct {
		edit func(*RemoteWrite)
		want string
	}{
		{func(rw *RemoteWrite) { rw.Name = "../x" }, "the name must be"},
		{func(rw *RemoteWrite) { rw.Name = "" }, "the name must be"},
		{func(rw *RemoteWrite) { rw.URL = "metrics.test/write" }, "https://host/path"},
		{func(rw *RemoteWrite) { rw.URL = "ftp://metrics.test/write" }, "https://host/path"},
		{func(rw *RemoteWrite) { rw.URL = "https://a:b@metrics.test/write" }, "password_file"},
		{func(rw *RemoteWrite) { rw.User = "a" }, "belong together"},
		{func(rw *RemoteWrite) { rw.User, rw.PasswordFile, rw.BearerFile = "a", "b", "c" }, "exclude each other"},
		{func(rw *RemoteWrite) { rw.BearerFile, rw.URL = "c", "http://metrics.test/write" }, "use https"},
		{func(rw *RemoteWrite) { rw.CAFile = filepath.Join(dir, "none.pem") }, "none.pem"},
		{func(rw *RemoteWrite) { rw.CAFile = noPEM }, "no PEM certificate"},
	} {
		rw := ok
		tt.edit(&rw)
		_, err := Open(withLogger(Options{Dir: t.TempDir(), RemoteWrite: []RemoteWrite{rw}}))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "remote_write[0]") {
			t.Errorf("%+v: %v, want an error with %q", rw, err, tt.want)
		}
	}
	if _, err := Open(withLogger(Options{Dir: t.TempDir(), RemoteWrite: []RemoteWrite{ok, ok}})); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same name twice: %v", err)
	}
}

// FuzzFrame decodes what may stand in a damaged queue.
func FuzzFrame(f *testing.F) {
	b, err := encode2([]stamped{{labels.FromStrings("__name__", "m", "a", "x"), 1, 2}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(snappy.Encode(nil, b))
	f.Add([]byte("\xff\xff\xff\xff\x7f"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		samples, err := decode2(b)
		if err != nil {
			return
		}
		again, err := encode2(samples)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode2(snappy.Encode(nil, again))
		if err != nil || len(back) != len(samples) {
			t.Errorf("%d samples became %d: %v", len(samples), len(back), err)
		}
	})
}
