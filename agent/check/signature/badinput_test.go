package signature

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// bounded runs a check and sees that it ends long before its time is up, and what it allocates meanwhile: the server of
// the test in the same process counts too.
func bounded(t *testing.T, k check.Kind, o check.Options, most uint64) check.Result {
	t.Helper()
	f := checktest.NewFunc(t, k, o, check.Env{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := f(ctx)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Errorf("%d bytes were allocated, at most %d are allowed", n, most)
	}
	if ctx.Err() != nil {
		t.Error("it went on until its time was up")
	}
	return r
}

// flood answers with n zero bytes after the head, and counts what it could send.
func flood(t testing.TB, head string, n int64, sent *atomic.Int64) string {
	return "http://" + checktest.Serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, head)
		block := make([]byte, 32<<10)
		for left := n; left > 0; left -= int64(len(block)) {
			m, err := c.Write(block)
			sent.Add(int64(m))
			if err != nil {
				return
			}
		}
	})
}

// deep is DER nested n times.
func deep(n int) []byte {
	b := bytes.Repeat([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, n)
	return append(b, 0x30, 0)
}

// honest is DER nested n times whose lengths are right.
func honest(t testing.TB, n int) []byte {
	out := []byte{0x05, 0}
	for range n {
		out = sequence(t, out)
	}
	return out
}

// sequence is the DER of a SEQUENCE of these parts.
func sequence(t testing.TB, parts ...[]byte) []byte {
	return marshal(t, tagged(asn1.ClassUniversal, asn1.TagSequence, slices.Concat(parts...)))
}

// hollow is a list by an authority with these entries and extensions, whose signature does not hold.
func hollow(t testing.TB, a *authority, entries, extensions []byte) []byte {
	algo := marshal(t, pkix.AlgorithmIdentifier{Algorithm: []int{1, 2, 840, 10045, 4, 3, 2}})
	tbs := slices.Concat([]byte{2, 1, 1}, algo, a.cert.RawSubject, marshal(t, checktest.Epoch()), marshal(t, checktest.Epoch().Add(time.Hour)))
	if entries != nil {
		tbs = append(tbs, sequence(t, entries)...)
	}
	if extensions != nil {
		tbs = append(tbs, tagged2(t, 0, sequence(t, extensions))...)
	}
	return sequence(t, sequence(t, tbs), algo, []byte{3, 2, 0, 0})
}

// Lists that are there to do harm: each ends in its state and reason, in bounded memory, long before its time is up.
func TestCRLBadInput(t *testing.T) {
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	other := a.sub("Another")
	short := []byte{0x30, 7, 2, 1, 1, 0x17, 2, '1', '2'} // an entry, with less of a date than there must be
	extension := []byte{0x30, 5, 6, 1, 42, 4, 0}
	entryWith := sequence(t, []byte{2, 1, 1, 0x17, 2, '1', '2'}, sequence(t, bytes.Repeat(extension, 1_000_000)))
	for _, tt := range []struct {
		name   string
		body   []byte
		reason check.Reason
		detail string
		most   uint64
	}{
		{"bad signature", func() []byte { b := a.list(nil); b[len(b)-1] ^= 1; return b }(), check.RevocationInvalid, "the signature of the list", 8 << 20},
		{"wrong issuer", other.list(nil), check.RevocationInvalid, `the list is of "Another"`, 8 << 20},
		{"wrong issuer of the same name", stranger.list(nil), check.RevocationInvalid, "the signature of the list", 8 << 20},
		{"expired", a.list(func(l *x509.RevocationList) { l.NextUpdate = checktest.Epoch().Add(-time.Second) }), check.RevocationStale, "was due", 8 << 20},
		{"lengths that promise gigabytes", deep(1_000_000), check.Protocol, "", 64 << 20},
		{"nested", honest(t, 200), check.Protocol, "", 8 << 20},
		{"a million entries", hollow(t, a, bytes.Repeat(short, 1_000_000), nil), check.RevocationInvalid, "the signature of the list", 80 << 20},
		{"a million extensions of an entry", hollow(t, a, entryWith, nil), check.RevocationInvalid, "the signature of the list", 80 << 20},
		{"a million extensions", hollow(t, a, nil, bytes.Repeat(extension, 1_000_000)), check.Protocol, "beside its entries, at most 65536 are read", 64 << 20},
		{"an issuer of megabytes", hollow(t, &authority{t: t, at: a.at, cert: &x509.Certificate{RawSubject: sequence(t, bytes.Repeat([]byte{0x31, 2, 0x30, 0}, 1<<20))}}, nil, nil), check.Protocol, "beside its entries", 64 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": serve(t, "application/pkix-crl", func([]byte) []byte { return tt.body }), "issuer": a.file()}
			want(t, bounded(t, crlKind(), o, tt.most), tt.reason, tt.detail)
		})
	}
	for _, tt := range []struct {
		name, head string
		most       uint64 // of one that is not told, a buffer that doubles up to 16 MiB
	}{
		{"1 GB, told", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1<<30), 1 << 20},
		{"1 GB, not told", "HTTP/1.0 200 OK\r\n\r\n", 40 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent atomic.Int64
			o := check.Options{"url": flood(t, tt.head, 1<<30, &sent), "issuer": a.file()}
			want(t, bounded(t, crlKind(), o, tt.most), check.TooLarge, "more than 16777216 bytes")
			if n := sent.Load(); n > 64<<20 {
				t.Errorf("%d bytes were taken", n)
			}
		})
	}
}

// A list of 100,000 entries takes less than 64 MB, fetched, verified and looked through.
func TestCRLMemory(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	raw := largeList(a)
	o := check.Options{"url": serve(t, "application/pkix-crl", func([]byte) []byte { return raw }), "issuer": a.file(), "serials": []string{"4000000000000001"}}
	r := bounded(t, crlKind(), o, 64<<20)
	want(t, r, check.Revoked, "")
	wantFacts(t, r, map[string]float64{"entries_count": 100_000})
}

func largeList(a *authority) []byte {
	return a.list(func(l *x509.RevocationList) {
		for i := range int64(100_000) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(1<<62 + i), RevocationTime: checktest.Epoch(), ReasonCode: 1})
		}
	})
}

// Answers of responders that are there to do harm.
func TestOCSPBadInput(t *testing.T) {
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	other, _ := a.officer(nil)
	plain, plainKey := a.officer(nil) // a certificate of the same authority that may not answer
	now := checktest.Epoch()
	answer := func(signer *x509.Certificate, by *authority, r ocsp.Response) []byte {
		key := by.key
		if signer == plain {
			key, r.Certificate = plainKey, plain
		}
		body, err := ocsp.CreateResponse(a.cert, signer, r, key)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	good := ocsp.Response{SerialNumber: cert.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}
	for _, tt := range []struct {
		name   string
		body   []byte
		with   check.Options
		reason check.Reason
		detail string
	}{
		{"unauthorised responder", answer(plain, a, good), nil, check.RevocationInvalid, "no extended key usage OCSPSigning"},
		{"unauthorised stranger", answer(stranger.cert, stranger, good), nil, check.RevocationInvalid, "the signature of the answer"},
		{"wrong serial", answer(a.cert, a, ocsp.Response{SerialNumber: other.SerialNumber, ThisUpdate: now}), nil, check.RevocationInvalid, "for another certificate"},
		{"replayed old answer", answer(a.cert, a, ocsp.Response{SerialNumber: cert.SerialNumber, ThisUpdate: now.AddDate(0, -1, 0), NextUpdate: now.AddDate(0, 0, -20)}), nil, check.RevocationStale, "was due"},
		{"replayed old answer without end", answer(a.cert, a, ocsp.Response{SerialNumber: cert.SerialNumber, ThisUpdate: now.AddDate(-1, 0, 0)}), nil, check.RevocationStale, "without a next update"},
		{"no nonce", answer(a.cert, a, good), check.Options{"nonce": "require"}, check.RevocationInvalid, "holds no nonce"},
		{"try later", ocsp.TryLaterErrorResponse, nil, check.RevocationInvalid, "tryLater (3)"},
		{"lengths that promise gigabytes", deep(10_000), nil, check.Protocol, ""},
		{"nested", honest(t, 100), nil, check.Protocol, ""},
		{"too large", make([]byte, ocspBytes+1), nil, check.TooLarge, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": serve(t, "application/ocsp-response", func([]byte) []byte { return tt.body }), "certificate": certPEM(t, cert), "issuer": a.file()}
			maps.Copy(o, tt.with)
			want(t, bounded(t, ocspKind(), o, 8<<20), tt.reason, tt.detail)
		})
	}
}

// Time stamps that are there to do harm; a token of many certificates costs little.
func TestTSABadInput(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	list := newShelf(t)
	list.body = a.list(revokedNow(cert))
	at := func(change func(*stamper)) responder {
		s := stamper{t: t, cert: cert, key: key, at: checktest.Epoch()}
		change(&s)
		return s.answer
	}
	for _, tt := range []struct {
		name   string
		answer responder
		with   check.Options
		reason check.Reason
		state  check.State
	}{
		{"other imprint", at(func(s *stamper) {
			s.info = func(i *wireInfo) { i.Imprint.Hashed = bytes.Repeat([]byte{7}, 32) }
		}), nil, check.TSAInvalid, check.Down},
		{"other nonce", at(func(s *stamper) { s.info = func(i *wireInfo) { i.Nonce = big.NewInt(7) } }), nil, check.TSAInvalid, check.Down},
		{"revoked certificate", at(func(*stamper) {}), check.Options{"crl": list.url}, check.Revoked, check.Down},
		{"clock +7 h", at(func(s *stamper) { s.at = checktest.Epoch().Add(7 * time.Hour) }), nil, check.TSASkew, check.Degraded},
		{"lengths that promise gigabytes", func([]byte) []byte { return deep(40_000) }, nil, check.Protocol, check.Down},
		{"nested", func([]byte) []byte { return honest(t, 100) }, nil, check.Protocol, check.Down},
		{"a crowd of certificates", at(func(s *stamper) { s.more = slices.Repeat([]*x509.Certificate{cert}, 500) }), nil, check.TSAInvalid, check.Down},
		{"too large", func([]byte) []byte { return make([]byte, tsaBytes+1) }, nil, check.TooLarge, check.Down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": serve(t, "application/timestamp-reply", tt.answer), "roots": a.file()}
			maps.Copy(o, tt.with)
			r := bounded(t, tsaKind(), o, 16<<20)
			want(t, r, tt.reason, "")
			if r.State != tt.state {
				t.Errorf("state %v, want %v", r.State, tt.state)
			}
		})
	}
}

// Trust lists that are there to do harm.
func TestTrustlistBadInput(t *testing.T) {
	var sent atomic.Int64
	for name, url := range map[string]string{
		"nested arrays":  serve(t, "", func([]byte) []byte { return []byte(`{"a":` + strings.Repeat("[", 1<<20)) }),
		"nested objects": serve(t, "", func([]byte) []byte { return []byte(strings.Repeat(`{"a":`, 200_000)) }),
		"a long number": serve(t, "", func([]byte) []byte {
			return []byte(`{"SequenceNumber":` + strings.Repeat("9", 1<<20) + `,"Cerificates":[]}`)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			want(t, bounded(t, trustlistKind(), check.Options{"url": url}, 64<<20), check.Protocol, "")
		})
	}
	url := flood(t, "HTTP/1.0 200 OK\r\n\r\n", 1<<30, &sent)
	want(t, bounded(t, trustlistKind(), check.Options{"url": url}, 32<<20), check.TooLarge, "")
	if n := sent.Load(); n > 32<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}
