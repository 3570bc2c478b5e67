package signature

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

func oidTSTInfo() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
}

func oidTimeStamping() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
}

// maxSerialBits is the largest serial number that users of time stamps must take (RFC 3161, section 2.4.2).
const maxSerialBits = 160

// stampRequest writes a request for a time stamp that holds its certificate (RFC 3161, section 2.4.1). A nil policy
// leaves it to the authority.
func stampRequest(hash asn1.ObjectIdentifier, imprint []byte, policy asn1.ObjectIdentifier, nonce *big.Int) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			addAlgorithm(b, hash)
			b.AddASN1OctetString(imprint)
		})
		if policy != nil {
			b.AddASN1ObjectIdentifier(policy)
		}
		b.AddASN1BigInt(nonce)
		b.AddASN1Boolean(true)
	})
	return b.Bytes()
}

// A stampAnswer is the outer part of an answer (RFC 3161, section 2.4.2).
type stampAnswer struct {
	status  int64 // 0 granted, 1 granted with modifications
	text    string
	failure asn1.BitString
	token   []byte // nil when there is none
}

var errStamp = errors.New("its ASN.1 is not that of a time-stamp answer")

func parseStampAnswer(body []byte) (*stampAnswer, error) {
	in := cryptobyte.String(body)
	var resp, info, texts cryptobyte.String
	a := &stampAnswer{}
	if !in.ReadASN1(&resp, der.SEQUENCE) || !in.Empty() || !resp.ReadASN1(&info, der.SEQUENCE) || !info.ReadASN1Integer(&a.status) || a.status < 0 || a.status > maxCode {
		return nil, errStamp
	}
	var some bool
	if !info.ReadOptionalASN1(&texts, &some, der.SEQUENCE) {
		return nil, errStamp
	}
	for !texts.Empty() {
		var t cryptobyte.String
		if !texts.ReadASN1(&t, der.UTF8String) {
			return nil, errStamp
		}
		if len(a.text) < 200 {
			a.text = strings.TrimSpace(a.text + " " + string(t[:min(len(t), 200)]))
		}
	}
	if !info.Empty() && (!info.ReadASN1BitString(&a.failure) || !info.Empty()) {
		return nil, errStamp
	}
	if !resp.Empty() {
		var token cryptobyte.String
		if !resp.ReadASN1Element(&token, der.SEQUENCE) || !resp.Empty() {
			return nil, errStamp
		}
		a.token = token
	}
	return a, nil
}

// refusal says why no time stamp was given.
func (a *stampAnswer) refusal() string {
	status := fmt.Sprintf("status %d", a.status)
	if names := [...]string{2: "rejection", 3: "waiting", 4: "revocationWarning", 5: "revocationNotification"}; a.status > 1 && a.status < int64(len(names)) {
		status = names[a.status]
	}
	words := []string{status}
	for _, f := range []struct {
		bit  int
		name string
	}{
		{0, "badAlg"}, {2, "badRequest"}, {5, "badDataFormat"}, {14, "timeNotAvailable"}, {15, "unacceptedPolicy"},
		{16, "unacceptedExtension"}, {17, "addInfoNotAvailable"}, {25, "systemFailure"},
	} {
		if a.failure.At(f.bit) == 1 {
			words = append(words, f.name)
		}
	}
	if a.text != "" {
		words = append(words, fmt.Sprintf("%q", a.text))
	}
	return strings.Join(words, ", ")
}

// A stampInfo is what a time stamp says (TSTInfo).
type stampInfo struct {
	policy   asn1.ObjectIdentifier
	hash     asn1.ObjectIdentifier
	imprint  []byte
	serial   *big.Int
	genTime  time.Time
	accuracy time.Duration // 0 when not given
	nonce    *big.Int      // nil when not given
	critical asn1.ObjectIdentifier
}

var errStampInfo = errors.New("the time stamp's content cannot be read (TSTInfo)")

func parseStampInfo(content []byte) (*stampInfo, error) {
	in := cryptobyte.String(content)
	var info, imprint cryptobyte.String
	var version int64
	var hash algorithm
	t := &stampInfo{serial: new(big.Int)}
	if !in.ReadASN1(&info, der.SEQUENCE) || !in.Empty() || !info.ReadASN1Integer(&version) || version != 1 ||
		!info.ReadASN1ObjectIdentifier(&t.policy) || !info.ReadASN1(&imprint, der.SEQUENCE) || !readAlgorithm(&imprint, &hash) ||
		!imprint.ReadASN1Bytes(&t.imprint, der.OCTET_STRING) || !info.ReadASN1Integer(t.serial) || !readTime(&info, &t.genTime) {
		return nil, errStampInfo
	}
	if t.serial.Sign() < 0 || t.serial.BitLen() > maxSerialBits {
		return nil, fmt.Errorf("the serial number of the time stamp has %d bits, or is below zero", t.serial.BitLen())
	}
	t.hash = hash.oid
	if info.PeekASN1Tag(der.SEQUENCE) && !readAccuracy(&info, &t.accuracy) || !info.SkipOptionalASN1(der.BOOLEAN) {
		return nil, errStampInfo
	}
	if info.PeekASN1Tag(der.INTEGER) {
		t.nonce = new(big.Int)
		if !info.ReadASN1Integer(t.nonce) {
			return nil, errStampInfo
		}
	}
	if !info.SkipOptionalASN1(explicit(0)) {
		return nil, errStampInfo
	}
	if info.Empty() {
		return t, nil
	}
	var exts cryptobyte.String
	if !info.ReadASN1(&exts, explicit(1)) || !info.Empty() {
		return nil, errStampInfo
	}
	var err error
	t.critical, err = listedExtensions(exts, func(asn1.ObjectIdentifier, cryptobyte.String) bool { return false })
	return t, err
}

// readAccuracy reads seconds, milliseconds and microseconds, each of which may be absent.
func readAccuracy(s *cryptobyte.String, d *time.Duration) bool {
	var acc cryptobyte.String
	if !s.ReadASN1(&acc, der.SEQUENCE) {
		return false
	}
	for _, part := range []struct {
		tag  der.Tag
		unit time.Duration
		max  int64
	}{
		{der.INTEGER, time.Second, 1 << 31},
		{der.Tag(0).ContextSpecific(), time.Millisecond, 999},
		{der.Tag(1).ContextSpecific(), time.Microsecond, 999},
	} {
		if !acc.PeekASN1Tag(part.tag) {
			continue
		}
		var v int64
		if !acc.ReadASN1Int64WithTag(&v, part.tag) || v < 0 || v > part.max {
			return false
		}
		*d += time.Duration(v) * part.unit
	}
	return acc.Empty()
}
