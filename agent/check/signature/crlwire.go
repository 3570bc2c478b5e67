package signature

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// A list is a certificate revocation list (RFC 5280, section 5), read and not yet judged. Its entries are counted and
// compared as they pass, and not kept: a list of a large authority has hundreds of thousands.
type list struct {
	*x509.RevocationList // without entries; Number is nil when the list has none

	signed   []byte   // what the signature is over
	base     *big.Int // number of the list that a delta builds on; nil for a complete list
	entries  int
	revoked  []entry  // those that were watched, in the order of the list
	removed  []entry  // those that were watched and that a delta takes off the complete list
	freshest []string // URLs of the delta list, in the complete one
	critical asn1.ObjectIdentifier
	scope    scope
}

// An entry is one revoked certificate.
type entry struct {
	serial []byte // as the integer's bytes stand in the list
	at     time.Time
	reason int // RFC 5280, section 5.3.1; 0 when not given
}

// A scope says which certificates a list is about (RFC 5280, section 5.2.5). The zero value is all of the issuer's.
type scope struct {
	user, ca, attribute, indirect, reasons bool
	points                                 []string // URLs of the distribution point that the list is of; nil when it names none
	raw                                    string   // the extension, which is the same in a delta list (section 5.2.4)
}

const (
	removeFromCRL = 8 // in a delta: no longer revoked
	maxWatched    = 1000
	// maxFrame is what a list may have beside its entries: names and extensions take many times their size when read.
	maxFrame = 64 << 10
)

var errCRL = errors.New("its ASN.1 is not that of a revocation list")

// unwrapCRL returns the DER of a list that may come as PEM.
func unwrapCRL(body []byte) []byte {
	if start := bytes.TrimLeft(body[:min(len(body), 64)], " \t\r\n\xef\xbb\xbf"); !bytes.HasPrefix(start, []byte("-----BEGIN")) {
		return body
	}
	for rest := body; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return body
		}
		if b.Type == "X509 CRL" {
			return b.Bytes
		}
	}
}

// parseCRL reads a list in DER and notes the entries of the watched serials, keyed by the bytes of their DER.
func parseCRL(raw []byte, watched map[string]bool) (*list, error) {
	in := cryptobyte.String(raw)
	var whole, signed, tbs, rest cryptobyte.String
	if !in.ReadASN1(&whole, der.SEQUENCE) || !in.Empty() || !whole.ReadASN1Element(&signed, der.SEQUENCE) {
		return nil, errCRL
	}
	rest = whole
	if s := signed; !s.ReadASN1(&tbs, der.SEQUENCE) {
		return nil, errCRL
	}
	head, entries, tail, ok := splitCRL(tbs)
	if !ok {
		return nil, errCRL
	}
	if n := len(head) + len(tail) + len(rest); n > maxFrame {
		return nil, fmt.Errorf("%d bytes beside its entries, at most %d are read", n, maxFrame)
	}
	l := &list{signed: signed}
	if err := l.walk(entries, watched); err != nil {
		return nil, err
	}
	// The standard library reads all but the entries, from a list that has none.
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(head); b.AddBytes(tail) })
		b.AddBytes(rest)
	})
	short, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	if l.RevocationList, err = x509.ParseRevocationList(short); err != nil {
		return nil, err
	}
	return l, l.readExtensions()
}

// splitCRL cuts the list of entries out of what is signed (TBSCertList).
func splitCRL(tbs cryptobyte.String) (head, entries, tail cryptobyte.String, ok bool) {
	s := tbs
	if !s.SkipOptionalASN1(der.INTEGER) || !s.SkipASN1(der.SEQUENCE) || !s.SkipASN1(der.SEQUENCE) || !skipTime(&s) {
		return nil, nil, nil, false
	}
	if (s.PeekASN1Tag(der.UTCTime) || s.PeekASN1Tag(der.GeneralizedTime)) && !skipTime(&s) {
		return nil, nil, nil, false
	}
	head = tbs[:len(tbs)-len(s)]
	if s.PeekASN1Tag(der.SEQUENCE) && !s.ReadASN1(&entries, der.SEQUENCE) {
		return nil, nil, nil, false
	}
	return head, entries, s, true
}

func skipTime(s *cryptobyte.String) bool {
	if s.PeekASN1Tag(der.UTCTime) {
		return s.SkipASN1(der.UTCTime)
	}
	return s.SkipASN1(der.GeneralizedTime)
}

// walk passes over the entries.
func (l *list) walk(s cryptobyte.String, watched map[string]bool) error {
	for !s.Empty() {
		var one, serial, when cryptobyte.String
		var tag der.Tag
		if !s.ReadASN1(&one, der.SEQUENCE) || !one.ReadASN1(&serial, der.INTEGER) || len(serial) == 0 || !one.ReadAnyASN1(&when, &tag) {
			return errCRL
		}
		l.entries++
		hit := watched[string(serial)]
		if one.Empty() && !hit {
			continue
		}
		e := entry{serial: serial}
		if hit {
			var err error
			if e.at, err = crlTime(tag, string(when)); err != nil {
				return err
			}
		}
		if !one.Empty() {
			if err := l.entryExtensions(one, &e); err != nil {
				return err
			}
		}
		switch {
		case hit && e.reason == removeFromCRL:
			l.removed = append(l.removed, e)
		case hit:
			l.revoked = append(l.revoked, e)
		}
	}
	return nil
}

// entryExtensions reads why an entry stands in the list.
func (l *list) entryExtensions(s cryptobyte.String, e *entry) error {
	var exts cryptobyte.String
	if !s.ReadASN1(&exts, der.SEQUENCE) || !s.Empty() {
		return errCRL
	}
	bad := false
	critical, err := listedExtensions(exts, func(oid asn1.ObjectIdentifier, value cryptobyte.String) bool {
		if !oid.Equal(asn1.ObjectIdentifier{2, 5, 29, 21}) {
			return false
		}
		bad = bad || !value.ReadASN1Enum(&e.reason)
		return true
	})
	if err != nil || bad {
		return errCRL
	}
	if critical != nil && l.critical == nil {
		l.critical = critical
	}
	return nil
}

func crlTime(tag der.Tag, text string) (time.Time, error) {
	layout := "20060102150405Z"
	if tag == der.UTCTime {
		layout = "060102150405Z"
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		return t, fmt.Errorf("a revocation date %q", text)
	}
	// A year of two digits is from 1950 to 2049 (RFC 5280, section 4.1.2.5.1); Go's is from 1969 to 2068.
	if tag == der.UTCTime && t.Year() >= 2050 {
		t = t.AddDate(-100, 0, 0)
	}
	return t, nil
}

// readExtensions reads what limits the list.
func (l *list) readExtensions() error {
	for _, e := range l.Extensions {
		value := cryptobyte.String(e.Value)
		switch {
		case e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}): // delta CRL indicator
			l.base = new(big.Int)
			if !value.ReadASN1Integer(l.base) {
				return errCRL
			}
		case e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28}): // issuing distribution point
			if !readScope(value, &l.scope) {
				return errCRL
			}
			l.scope.raw = string(e.Value)
		case e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 46}): // freshest CRL
			var points, point, name cryptobyte.String
			if !value.ReadASN1(&points, der.SEQUENCE) {
				return errCRL
			}
			for !points.Empty() {
				var some bool
				if !points.ReadASN1(&point, der.SEQUENCE) || !point.ReadOptionalASN1(&name, &some, explicit(0)) {
					return errCRL
				}
				l.freshest = append(l.freshest, fullNames(name)...)
			}
		case e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 20}), e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 35}): // number, authority key
		case e.Critical && l.critical == nil:
			l.critical = e.Id
		}
	}
	return nil
}

func readScope(s cryptobyte.String, sc *scope) bool {
	var seq, point cryptobyte.String
	var named bool
	if !s.ReadASN1(&seq, der.SEQUENCE) || !seq.ReadOptionalASN1(&point, &named, explicit(0)) {
		return false
	}
	sc.points = fullNames(point)
	for !seq.Empty() {
		var value cryptobyte.String
		var tag der.Tag
		if !seq.ReadAnyASN1(&value, &tag) {
			return false
		}
		on := len(value) == 1 && value[0] != 0
		switch tag {
		case der.Tag(1).ContextSpecific():
			sc.user = on
		case der.Tag(2).ContextSpecific():
			sc.ca = on
		case der.Tag(3).ContextSpecific():
			sc.reasons = true
		case der.Tag(4).ContextSpecific():
			sc.indirect = on
		case der.Tag(5).ContextSpecific():
			sc.attribute = on
		default:
			return false
		}
	}
	return true
}

// fullNames returns the URLs of a DistributionPointName (RFC 5280, section 4.2.1.13).
func fullNames(s cryptobyte.String) []string {
	var names cryptobyte.String
	if s.Empty() || !s.ReadASN1(&names, explicit(0)) {
		return nil
	}
	var urls []string
	for !names.Empty() {
		var name cryptobyte.String
		var tag der.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return nil
		}
		if tag == der.Tag(6).ContextSpecific() {
			urls = append(urls, string(name))
		}
	}
	return urls
}
