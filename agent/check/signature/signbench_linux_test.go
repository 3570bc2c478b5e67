package signature

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/big"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/token/talk"
	"egovmon/agent/token/tokentest"
)

// largePDF writes a document of one page with a stream of n bytes.
func largePDF(t testing.TB, n int) string {
	var b bytes.Buffer
	var at []int
	object := func(text string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), text)
	}
	b.WriteString("%PDF-1.7\n")
	object("<</Type/Catalog/Pages 2 0 R>>")
	object("<</Type/Pages/Kids[3 0 R]/Count 1>>")
	object("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<<>>/Contents 4 0 R>>")
	object(fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", n, bytes.Repeat([]byte("%"), n)))
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 5\n0000000000 65535 f \n")
	for _, o := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", xref)
	return write(t, "large.pdf", b.Bytes())
}

// processorTime is what this process and those that it started and that have ended have used.
func processorTime(tb testing.TB) (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// BenchmarkSign signs a PDF of 1 MB, stamps and verifies it, revocation data included; authority and helper program are
// part of it. The target is at most 150 ms of processor time.
func BenchmarkSign(b *testing.B) {
	tokentest.Helper(b)
	a := newAuthority(b, time.Now())
	stampCert, stampKey := a.stampCert(nil)
	serial := int64(0)
	tsa := serve(b, "application/timestamp-reply", func(q []byte) []byte {
		serial++
		return stamper{t: b, cert: stampCert, key: stampKey, at: time.Now(), info: func(i *wireInfo) { i.Serial = big.NewInt(serial) }}.answer(q)
	})
	list := a.listOver()
	cert, key := a.officer(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{list} })
	secret := keyPEM(b, key)
	o := check.Options{"key": "key", "certificate": certPEM(b, cert), "roots": a.file(), "tsa": tsa, "document": largePDF(b, 1_000_000), "form": talk.PAdES}
	c, err := newSignCheck(checktest.WithDefaults(b, signKind(), o), checktest.WithEnv(check.Env{Check: "a.sign", Now: time.Now, Secret: func(string) (string, error) { return secret, nil }}))
	if err != nil {
		b.Fatal(err)
	}
	c.find = tokentest.Build
	begin := processorTime(b)
	b.ResetTimer()
	for range b.N {
		if r := c.run(b.Context()); r.Reason != check.OK {
			b.Fatal(r.Reason, r.Detail)
		}
	}
	b.ReportMetric(float64(processorTime(b)-begin)/float64(b.N)/1e6, "cpu-ms/op")
}
