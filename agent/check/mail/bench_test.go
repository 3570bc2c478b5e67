package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/smtp"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// BenchmarkSMTP makes a whole run with STARTTLS, beside a bare session of the standard library that judges nothing. The
// server's work is in both figures.
func BenchmarkSMTP(b *testing.B) {
	a := checktest.NewAuthority(b, "mail.test")
	cert := a.Leaf(nil, nil)
	address := checktest.Serve(b, func(c net.Conn) {
		_ = follow(c, cert, "S:220 hi\nC:EHLO\nS:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\nTLS\nC:EHLO\nS:250-x|250 AUTH PLAIN\nC:QUIT\nS:221 bye\n")
	})
	b.Run("check", func(b *testing.B) {
		f, err := smtpKind().New(checktest.WithDefaults(b, smtpKind(), check.Options{"address": address, "roots": a.Roots()}), check.Env{Now: checktest.Epoch})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
			if r := f(ctx); r.Reason != check.OK {
				b.Fatal(r.Reason, r.Detail)
			}
			cancel()
		}
	})
	b.Run("bare", func(b *testing.B) {
		roots := x509.NewCertPool()
		roots.AddCert(a.Cert)
		cfg := &tls.Config{ServerName: "127.0.0.1", RootCAs: roots, Time: checktest.Epoch}
		b.ReportAllocs()
		for b.Loop() {
			if err := bareSMTP(address, cfg); err != nil && err != io.EOF {
				b.Fatal(err)
			}
		}
	})
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
