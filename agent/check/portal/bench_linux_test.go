package portal

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

// peerVariable makes the test binary the server of BenchmarkAgainstBare, so that only the client's processor time is
// counted.
const peerVariable = "EGOVMON_TEST_PORTAL_PEER"

func TestMain(m *testing.M) {
	if at := os.Getenv(peerVariable); at != "" {
		os.Exit(servePage(at))
	}
	os.Exit(m.Run())
}

// servePage serves one page of 2 kB over HTTP and HTTPS until its input ends. It prints both addresses.
func servePage(pair string) int {
	cert, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	page := []byte("<p>Tứ Kỳ</p>" + strings.Repeat("x", 2000))
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	go func() { _ = http.Serve(plain, h) }()
	go func() {
		_ = http.Serve(tls.NewListener(secure, &tls.Config{Certificates: []tls.Certificate{cert}}), h)
	}()
	fmt.Println(plain.Addr(), secure.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// startPeer runs servePage in another process.
func startPeer(b *testing.B, a *checktest.Authority) (plain, secure string) {
	b.Helper()
	leaf := a.Leaf(nil, nil)
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		b.Fatal(err)
	}
	path := checktest.WritePEM(b, "cert.pem", "CERTIFICATE", leaf.Certificate[0])
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	pair := checktest.WritePEM(b, "pair.pem", "PRIVATE KEY", key)
	more, err := os.ReadFile(pair)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(pair, append(text, more...), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), peerVariable+"="+pair)
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
	if _, err := fmt.Fscan(out, &plain, &secure); err != nil {
		b.Fatal(err)
	}
	return plain, secure
}

// BenchmarkAgainstBare compares the processor time of a check with that of a plain Go client that opens a fresh
// connection and reads the body, turn by turn in one process against the same server in another.
func BenchmarkAgainstBare(b *testing.B) {
	a := checktest.NewAuthority(b, "portal.test")
	plain, secure := startPeer(b, a)
	roots := a.Roots()
	for _, bb := range []struct{ name, url string }{{"http", "http://" + plain + "/"}, {"https", "https://" + secure + "/"}} {
		for _, with := range []struct {
			name string
			o    check.Options
		}{{"", check.Options{}}, {"+content", check.Options{"contains": []string{"Tứ Kỳ"}, "absent": []string{"bảo trì"}}}} {
			b.Run(bb.name+with.name, func(b *testing.B) {
				with.o["url"], with.o["roots"] = bb.url, roots
				ours := checktest.NewFunc(b, httpKind(), with.o, check.Env{})
				bare := bareClient(b, roots)
				compare(b, func() error {
					ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
					defer cancel()
					if r := ours(ctx); r.Reason != check.OK {
						return fmt.Errorf("%s: %s", r.Reason, r.Detail)
					}
					return nil
				}, func() error {
					ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
					defer cancel()
					return bare(ctx, bb.url)
				})
			})
		}
	}
}

// bareClient is the loop that a check must not be much dearer than.
func bareClient(b *testing.B, roots string) func(context.Context, string) error {
	b.Helper()
	text, err := os.ReadFile(roots)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: pool, Time: checktest.Epoch}}}
	return func(ctx context.Context, url string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
}

// compare runs both in turns of 20 and reports the processor time of each, and their ratio.
func compare(b *testing.B, ours, bare func() error) {
	b.Helper()
	var spent [2]time.Duration
	n := 0
	for b.Loop() {
		for i, f := range [2]func() error{ours, bare} {
			before := processorTime(b)
			for range 20 {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			spent[i] += processorTime(b) - before
		}
		n += 20
	}
	b.ReportMetric(float64(spent[0].Microseconds())/float64(n), "µs-cpu/check")
	b.ReportMetric(float64(spent[1].Microseconds())/float64(n), "µs-cpu/bare")
	b.ReportMetric(float64(spent[0])/float64(spent[1]), "ratio")
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
