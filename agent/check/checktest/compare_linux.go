package checktest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// peerVariable tells a test program that it is the server of a comparison; it holds the path of the certificate with its key.
const peerVariable = "EGOVMON_TEST_PEER"

// MainWithPeer is the TestMain of a package that calls [StartPeer]: in the program that StartPeer starts it serves h over HTTP and
// HTTPS until the input ends, so that the processor time of the tests is the client's alone.
func MainWithPeer(m *testing.M, h http.Handler) {
	pair := os.Getenv(peerVariable)
	if pair == "" {
		os.Exit(m.Run())
	}
	if err := serveAsPeer(pair, h); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveAsPeer(pair string, h http.Handler) error {
	cert, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	for _, l := range []net.Listener{plain, secure} {
		go func() { _ = http.Serve(l, h) }()
	}
	fmt.Println(plain.Addr(), secure.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// StartPeer runs this test program once more as a server until the test ends, and returns its two addresses, host:port.
func StartPeer(t testing.TB, a *Authority) (plain, secure string) {
	t.Helper()
	leaf := a.Leaf(nil, nil)
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var pair [][]byte
	for _, path := range []string{WritePEM(t, "cert.pem", "CERTIFICATE", leaf.Certificate[0]), WritePEM(t, "key.pem", "PRIVATE KEY", key)} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pair = append(pair, text)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), peerVariable+"="+WriteFile(t, "pair.pem", slices.Concat(pair...)))
	cmd.Stderr = os.Stderr
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	if _, err := fmt.Fscan(out, &plain, &secure); err != nil {
		t.Fatal(err)
	}
	return plain, secure
}

// BareClient is a plain Go client that fetches a page over a fresh connection and reads it: what a check must not be much dearer than.
func BareClient(a *Authority) func(ctx context.Context, url string) error {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Time: Epoch}}}
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

// Compare runs both turn by turn, a few times each, and reports the processor time of one run of each and their ratio.
func Compare(b *testing.B, turn int, ours, bare func(context.Context) error) {
	b.Helper()
	var spent [2]time.Duration
	n := 0
	for b.Loop() {
		for i, f := range [2]func(context.Context) error{ours, bare} {
			before := ProcessorTime(b)
			for range turn {
				ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
				err := f(ctx)
				cancel()
				if err != nil {
					b.Fatal(err)
				}
			}
			spent[i] += ProcessorTime(b) - before
		}
		n += turn
	}
	b.ReportMetric(float64(spent[0].Microseconds())/float64(n), "µs-cpu/ours")
	b.ReportMetric(float64(spent[1].Microseconds())/float64(n), "µs-cpu/bare")
	b.ReportMetric(float64(spent[0])/float64(spent[1]), "ratio")
}

// ProcessorTime is what this process has used so far, user and system (getrusage(2)).
func ProcessorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
