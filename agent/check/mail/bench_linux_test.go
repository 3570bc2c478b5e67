package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// benchServer tells a test program that it is the server of [BenchmarkSMTP] and nothing else.
const benchServer = "EGOVMON_BENCH_SMTP"

const benchScript = "S:220 hi\nC:EHLO\nS:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\nTLS\nC:EHLO\nS:250-x|250 AUTH PLAIN\nC:QUIT\nS:221 bye\n"

func TestMain(m *testing.M) {
	if _, asked := os.LookupEnv(benchServer); !asked {
		os.Exit(m.Run())
	}
	if err := serveSMTP(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveSMTP reads a certificate with its key, up to an empty line, tells where it listens, and serves until in ends.
func serveSMTP(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	var text []byte
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		if len(line) == 1 {
			break
		}
		text = append(text, line...)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := follow(conn, cert, benchScript); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}()
		}
	}()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, lines)
	return err
}

// startSMTP runs the server in a process of its own, whose work is not in this one's figures, and returns its address.
func startSMTP(b *testing.B, cert tls.Certificate) string {
	b.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		b.Fatal(err)
	}
	var text bytes.Buffer
	for _, der := range cert.Certificate {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	text.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"=1")
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
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if _, err := fmt.Fprintf(in, "%s\n", text.Bytes()); err != nil {
		b.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// BenchmarkSMTP compares the processor time of a whole run with STARTTLS with that of a bare session of the standard
// library, which judges nothing, turn by turn in one process. The server is in another.
func BenchmarkSMTP(b *testing.B) {
	a := checktest.NewAuthority(b, "mail.test")
	address := startSMTP(b, a.Leaf(nil, nil))
	f := checktest.NewFunc(b, smtpKind(), check.Options{"address": address, "roots": a.Roots()}, check.Env{Now: checktest.Epoch})
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	cfg := &tls.Config{ServerName: "127.0.0.1", RootCAs: roots, Time: checktest.Epoch}
	sessions := [2]func() error{
		func() error {
			ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
			defer cancel()
			if r := f(ctx); r.Reason != check.OK {
				return fmt.Errorf("%s: %s", r.Reason, r.Detail)
			}
			return nil
		},
		func() error { return bareSMTP(address, cfg) },
	}
	var spent [2]time.Duration
	n := 0
	for b.Loop() {
		for i, session := range sessions {
			before := processorTime(b)
			for range 20 {
				if err := session(); err != nil {
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

func bareSMTP(address string, cfg *tls.Config) error {
	c, err := smtp.Dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(cfg); err != nil {
		return err
	}
	return c.Quit()
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
