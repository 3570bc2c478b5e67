package signature

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxListed is the most certificates that a trust list may have; the government's has some dozens.
const maxListed = 4096

// How far the signature of a trust list was judged.
const (
	listUnsigned = iota // it carries none
	listUnknown         // it carries one in a form that is not known here
	listSigned          // it is a CMS message (RFC 5652), and that holds
)

// A trustList is a list of authorities that signing programs trust, read and not yet judged: JSON with the keys Version,
// ListIdentifier, SequenceNumber, ThisUpdate, NextUpdate and Cerificates, which is spelt so.
type trustList struct {
	number     *big.Int  // nil when it has none
	this, next time.Time // zero when not given
	certs      []*x509.Certificate
	unreadable int // entries that are no certificate
	signed     int
	text       []byte // the JSON
	message    *signedData
}

// parseTrustList reads a list, bare or within a CMS message in DER or PEM.
func parseTrustList(body []byte) (*trustList, error) {
	l := &trustList{text: body}
	start := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	if bytes.HasPrefix(start, []byte("-----BEGIN")) {
		if b, _ := pem.Decode(start); b != nil {
			start = b.Bytes
		}
	}
	if bytes.HasPrefix(start, []byte{0x30}) {
		var err error
		if l.message, err = parseSigned(start); err != nil {
			return nil, err
		}
		start, l.text, l.signed = l.message.content, l.message.content, listSigned
	}
	return l, l.readJSON(bytes.TrimPrefix(start, []byte("\xef\xbb\xbf")))
}

// readJSON reads the list as it comes, so that a long one takes no more than its certificates.
func (l *trustList) readJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("no JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if key = strings.ToLower(key); seen[key] {
			return fmt.Errorf("the key %q stands twice", key)
		}
		if seen[key] = true; len(seen) > 64 {
			return errors.New("more than 64 keys")
		}
		if key == "cerificates" || key == "certificates" {
			err = l.readCertificates(d)
		} else {
			var raw json.RawMessage
			if err = d.Decode(&raw); err == nil {
				err = l.readKey(key, raw)
			}
		}
		if err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something after the JSON object")
	}
	if !seen["cerificates"] && !seen["certificates"] {
		return errors.New("no list of certificates (the key Cerificates)")
	}
	return nil
}

func (l *trustList) readKey(key string, raw json.RawMessage) error {
	text := strings.Trim(string(raw), `"`)
	var err error
	switch {
	case key == "sequencenumber":
		n, ok := new(big.Int).SetString(text[:min(len(text), 30)], 10)
		if !ok || n.Sign() < 0 || len(text) > 30 {
			return fmt.Errorf("the SequenceNumber %.40q", text)
		}
		l.number = n
	case key == "thisupdate":
		l.this, _, err = listTime(raw)
	case key == "nextupdate":
		_, l.next, err = listTime(raw)
	case strings.Contains(key, "sign") && string(raw) != "null" && l.signed == listUnsigned:
		l.signed = listUnknown
	}
	return err
}

// listTime reads an instant: RFC 3339, the form of .NET with milliseconds since 1970, or a time without zone, of which
// nobody knows whether it is UTC or Vietnam's. It returns the earliest and the latest instant that can be meant.
func listTime(raw json.RawMessage) (from, to time.Time, err error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return from, to, fmt.Errorf("a time %.40q", raw)
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, t, nil
	}
	if in, ok := strings.CutPrefix(s, "/Date("); ok {
		in = strings.TrimSuffix(in, ")/")
		if i := strings.LastIndexAny(in, "+-"); i > 0 {
			in = in[:i] // the zone is for showing only
		}
		if ms, err := strconv.ParseInt(in, 10, 64); err == nil && ms > 0 && ms < maxUnix*1000 {
			t := time.UnixMilli(ms)
			return t, t, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05", "02/01/2006 15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Add(-7 * time.Hour), t, nil
		}
	}
	return from, to, fmt.Errorf("a time %.40q", s)
}

func (l *trustList) readCertificates(d *json.Decoder) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New("certificates that are no list")
	}
	for n := 0; d.More(); n++ {
		if n == maxListed {
			return fmt.Errorf("more than %d certificates", maxListed)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if c := listedCertificate(raw); c != nil {
			l.certs = append(l.certs, c)
		} else {
			l.unreadable++
		}
	}
	_, err := d.Token()
	return err
}

// listedCertificate reads an entry: a certificate in base64 or PEM, or an object that holds one. Nil when it is none.
func listedCertificate(raw json.RawMessage) *x509.Certificate {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return textCertificate(s)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if json.Unmarshal(object[key], &s) == nil {
			if c := textCertificate(s); c != nil {
				return c
			}
		}
	}
	return nil
}

func textCertificate(s string) *x509.Certificate {
	if b, _ := pem.Decode([]byte(s)); b != nil {
		s = string(b.Bytes)
	} else {
		raw, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\r", "", "\n", "", " ", "").Replace(s))
		if err != nil {
			return nil
		}
		s = string(raw)
	}
	c, err := x509.ParseCertificate([]byte(s))
	if err != nil || usable(c) != nil {
		return nil
	}
	return c
}
