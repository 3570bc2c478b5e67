package onestop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// peerVariable makes the test binary the server of BenchmarkJourneyAgainstBare, so that only the client's processor time counts.
const peerVariable = "EGOVMON_TEST_ONESTOP_PEER"

func TestMain(m *testing.M) {
	if pair := os.Getenv(peerVariable); pair != "" {
		os.Exit(serveSteps(pair))
	}
	os.Exit(m.Run())
}

// serveSteps serves pages of 2 kB with a form token over HTTPS until its input ends. It prints its address.
func serveSteps(pair string) int {
	cert, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	page := []byte(`<h1>Một cửa</h1><form method=post><input type=hidden name=token value=t0ken-12345><td class=ma>HS-2026/77</td></form>` + strings.Repeat("<p>Hồ sơ</p>", 130))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return 1
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "s1", Path: "/"})
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(page)
		}))
	}()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// BenchmarkJourneyAgainstBare compares the processor time of a journey of five steps, with a cookie, a form token, a value taken
// from an element and texts that must be there, with that of five requests of a plain Go client on fresh connections.
func BenchmarkJourneyAgainstBare(b *testing.B) {
	a := checktest.NewAuthority(b, "127.0.0.1")
	address := startSteps(b, a)
	roots := a.Roots()
	o := parse(b, steps("https://"+address, approved+"      roots: "+roots+"\n",
		"{name: a, get: /, inputs: {token: token}, contains: [Một cửa]}",
		"{name: b, post: /b, form: {token: '${token}', user: probe}, contains: [Hồ sơ]}",
		"{name: c, get: /c, extract_select: {ma: td.ma}}",
		"{name: d, get: '/d?ma=${ma}', contains: [Hồ sơ], absent: [Lỗi]}",
		"{name: e, get: /e, extract: {x: 'HS-([0-9]+)'}}"))
	f, err := journeyKind().New(o, check.Env{Now: checktest.Epoch, Timeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Time: checktest.Epoch}}}
	ours := func(ctx context.Context) error {
		if r := f(ctx); r.Reason != check.OK {
			return fmt.Errorf("%s: %s", r.Reason, r.Detail)
		}
		return nil
	}
	bare := func(ctx context.Context) error {
		for range 5 {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/", nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil {
				return err
			}
		}
		return nil
	}
	var spent [2]time.Duration
	n := 0
	for b.Loop() {
		for i, do := range []func(context.Context) error{ours, bare} {
			before := processorTime(b)
			for range 10 {
				if err := do(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			spent[i] += processorTime(b) - before
		}
		n += 10
	}
	b.ReportMetric(float64(spent[0].Microseconds())/float64(n), "µs-cpu/journey")
	b.ReportMetric(float64(spent[1].Microseconds())/float64(n), "µs-cpu/five-bare")
	b.ReportMetric(float64(spent[0])/float64(spent[1]), "ratio")
}

// startSteps runs serveSteps in another process.
func startSteps(b *testing.B, a *checktest.Authority) string {
	b.Helper()
	leaf := a.Leaf(nil, nil)
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		b.Fatal(err)
	}
	var pair []byte
	for _, path := range []string{checktest.WritePEM(b, "cert.pem", "CERTIFICATE", leaf.Certificate[0]), checktest.WritePEM(b, "key.pem", "PRIVATE KEY", key)} {
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		pair = append(pair, text...)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), peerVariable+"="+checktest.WriteFile(b, "pair.pem", pair))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	var address string
	if _, err := fmt.Fscan(out, &address); err != nil {
		b.Fatal(err)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		b.Fatal(err)
	}
	return address
}

// processorTime is what this process has used, user and system.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
