package dnssec

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// now is the instant that everything is judged at.
var now = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// A signer is a zone's key.
type signer struct {
	t    testing.TB
	zone string
	key  *mdns.DNSKEY
	priv crypto.Signer
}

func newSigner(t testing.TB, zone string) *signer {
	t.Helper()
	k := &mdns.DNSKEY{Hdr: mdns.RR_Header{Name: zone, Rrtype: mdns.TypeDNSKEY, Class: mdns.ClassINET, Ttl: 60}, Flags: mdns.ZONE | mdns.SEP, Protocol: 3, Algorithm: mdns.ECDSAP256SHA256}
	priv, err := k.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t, zone, k, priv.(crypto.Signer)}
}

// sign signs records of one name and type for a day around now.
func (s *signer) sign(rrs ...mdns.RR) *mdns.RRSIG { return s.between(-time.Hour, 23*time.Hour, rrs...) }

func (s *signer) between(begin, end time.Duration, rrs ...mdns.RR) *mdns.RRSIG {
	s.t.Helper()
	sig := &mdns.RRSIG{Hdr: mdns.RR_Header{Ttl: 60}, Algorithm: s.key.Algorithm, KeyTag: s.key.KeyTag(), SignerName: s.zone,
		Inception: uint32(now.Add(begin).Unix()), Expiration: uint32(now.Add(end).Unix())}
	if err := sig.Sign(s.priv, rrs); err != nil {
		s.t.Fatal(err)
	}
	return sig
}

// with returns records followed by the signature over them.
func (s *signer) with(rrs ...mdns.RR) []mdns.RR { return append(slices.Clone(rrs), s.sign(rrs...)) }

func (s *signer) ds() *mdns.DS {
	ds := s.key.ToDS(mdns.SHA256)
	ds.Hdr.Ttl = 60
	return ds
}

func rr(t testing.TB, text string) mdns.RR {
	t.Helper()
	r, err := mdns.NewRR(text)
	if err != nil || r == nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// A world holds the messages that a resolver would give, by name and type.
type world struct {
	t               testing.TB
	said            map[string]*mdns.Msg
	asked           []string
	root, lab, tuky *signer
}

// newWorld has three signed zones; www.tuky.lab. has an address.
func newWorld(t testing.TB) *world {
	w := &world{t: t, said: map[string]*mdns.Msg{}, root: newSigner(t, "."), lab: newSigner(t, "lab."), tuky: newSigner(t, "tuky.lab.")}
	for _, s := range []*signer{w.root, w.lab, w.tuky} {
		w.answer(s.zone, "DNSKEY", s.with(s.key)...)
	}
	w.answer("lab.", "DS", w.root.with(w.lab.ds())...)
	w.answer("tuky.lab.", "DS", w.lab.with(w.tuky.ds())...)
	w.answer("www.tuky.lab.", "A", w.tuky.with(rr(t, "www.tuky.lab. 60 A 192.0.2.1"))...)
	return w
}

func key(name, typ string) string { return strings.ToLower(name) + " " + typ }

func (w *world) answer(name, typ string, rrs ...mdns.RR) *mdns.Msg {
	m := &mdns.Msg{Answer: rrs}
	w.said[key(name, typ)] = m
	return m
}

// deny says that there is no such type, or with gone no such name.
func (w *world) deny(name, typ string, gone bool, rrs ...mdns.RR) *mdns.Msg {
	m := &mdns.Msg{Ns: rrs}
	if gone {
		m.Rcode = mdns.RcodeNameError
	}
	w.said[key(name, typ)] = m
	return m
}

var errSilent = errors.New("nobody answers")

func (w *world) ask(_ context.Context, name string, typ uint16) (*mdns.Msg, error) {
	k := key(name, mdns.Type(typ).String())
	w.asked = append(w.asked, k)
	m, ok := w.said[k]
	if !ok {
		return nil, errSilent
	}
	return m, nil
}

func (w *world) anchors() Anchors { return Anchors{".": {w.root.ds()}} }

// prove proves what the world says to a question.
func (w *world) prove(name, typ string) (*Walk, Proof, error) {
	w.t.Helper()
	walk := New(w.anchors(), now, w.ask)
	m, ok := w.said[key(name, typ)]
	if !ok {
		w.t.Fatalf("the world says nothing of %s %s", name, typ)
	}
	p, err := walk.Prove(w.t.Context(), m, name, mdns.StringToType[typ])
	return walk, p, err
}

// spoil changes one bit of a signature.
func spoil(t testing.TB, sig mdns.RR) {
	t.Helper()
	s, ok := sig.(*mdns.RRSIG)
	if !ok {
		t.Fatalf("%s is no signature", sig)
	}
	b, err := base64.StdEncoding.DecodeString(s.Signature)
	if err != nil {
		t.Fatal(err)
	}
	b[7] ^= 1
	s.Signature = base64.StdEncoding.EncodeToString(b)
}

// twin makes a key that has another one's tag.
func twin(t testing.TB, k *mdns.DNSKEY) *mdns.DNSKEY {
	t.Helper()
	for range 1000 {
		raw := make([]byte, 64)
		rand.Read(raw)
		d := *k
		d.PublicKey = base64.StdEncoding.EncodeToString(raw)
		word := int(raw[0])<<8 | int(raw[1])
		word = (word + int(k.KeyTag()) - int(d.KeyTag()) + 1<<16) % (1 << 16)
		raw[0], raw[1] = byte(word>>8), byte(word)
		d.PublicKey = base64.StdEncoding.EncodeToString(raw)
		if d.KeyTag() == k.KeyTag() {
			return &d
		}
	}
	t.Fatal("no key of the same tag was found")
	return nil
}

// nsec3 makes the record of a name, or, with a name that is not there, one that covers it. Flags 1 is opt-out.
func nsec3(t testing.TB, zone, name string, there bool, flags uint8, iterations uint16, types ...uint16) *mdns.NSEC3 {
	t.Helper()
	h := mdns.HashName(name, mdns.SHA1, iterations, "ab")
	owner, next := h, neighbour(h, 1)
	if !there {
		owner = neighbour(h, -1)
	}
	slices.Sort(types)
	return &mdns.NSEC3{Hdr: mdns.RR_Header{Name: strings.ToLower(owner) + "." + strings.TrimPrefix(zone, "."), Rrtype: mdns.TypeNSEC3, Class: mdns.ClassINET, Ttl: 60},
		Hash: mdns.SHA1, Flags: flags, Iterations: iterations, SaltLength: 1, Salt: "ab", HashLength: 20, NextDomain: next, TypeBitMap: types}
}

// neighbour is the hash just before or after another one.
func neighbour(h string, by int) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	b := []byte(strings.ToUpper(h))
	for i := len(b) - 1; i >= 0; i-- {
		n := strings.IndexByte(digits, b[i]) + by
		b[i] = digits[(n+len(digits))%len(digits)]
		if n >= 0 && n < len(digits) {
			break
		}
	}
	return string(b)
}
