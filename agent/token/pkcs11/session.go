package pkcs11

import (
	"crypto"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"unsafe"
)

// Classes, attributes and mechanisms.
const (
	classCertificate ulong = 1
	classPrivateKey  ulong = 3

	attrClass  ulong = 0
	attrLabel  ulong = 3
	attrValue  ulong = 0x11
	attrType   ulong = 0x100 // CKA_KEY_TYPE
	attrID     ulong = 0x102
	attrAlways ulong = 0x202 // CKA_ALWAYS_AUTHENTICATE

	keyRSA ulong = 0
	keyEC  ulong = 3

	mechRSA   ulong = 1      // CKM_RSA_PKCS
	mechECDSA ulong = 0x1041 // CKM_ECDSA

	userUser    = 1
	userContext = 2
)

type attribute struct {
	kind  ulong
	value []byte
}

// A Session is a conversation with one token.
type Session struct {
	m     *Module
	h     uintptr
	token Token
}

// Session opens a session, which is not logged in.
func (m *Module) Session(t Token) (*Session, error) {
	var h ulong
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&h)
	const serial = 4 // CKF_SERIAL_SESSION: read-only
	if err := m.call(fnOpenSession, uintptr(t.Slot), serial, 0, 0, uintptr(unsafe.Pointer(&h))).err("C_OpenSession"); err != nil {
		return nil, err
	}
	return &Session{m, uintptr(h), t}, nil
}

// Close logs out and ends the session.
func (s *Session) Close() {
	s.m.call(fnLogout, s.h)
	s.m.call(fnCloseSession, s.h)
}

// A Certificate is one that stands on a token.
type Certificate struct {
	ID    string // hexadecimal
	Label string
	DER   []byte
}

// Certificates lists the certificates that can be seen, at most 64.
func (s *Session) Certificates() ([]Certificate, error) {
	objects, err := s.find(attribute{attrClass, bytesOf(classCertificate)})
	if err != nil {
		return nil, err
	}
	var all []Certificate
	for _, o := range objects {
		der, err := s.get(o, attrValue)
		if err != nil {
			return all, err
		}
		id, _ := s.get(o, attrID)
		label, _ := s.get(o, attrLabel)
		all = append(all, Certificate{hex.EncodeToString(id), string(label), der})
	}
	return all, nil
}

// Login gives the token its PIN, once. A token that is not safe is not asked; the flags are looked at anew. tried tells
// whether the token was given the PIN.
func (s *Session) Login(pin string) (tried bool, err error) {
	t, err := s.m.token(ulong(s.token.Slot))
	if err != nil || t.Flags&FlagLoginRequired == 0 {
		return false, err
	}
	if err := t.Safe(); err != nil {
		return false, err
	}
	if pin == "" {
		return false, fmt.Errorf("%w is empty: it is not tried", ErrPIN)
	}
	return true, s.login(userUser, pin)
}

func (s *Session) login(user uintptr, secret string) error {
	b := []byte(secret)
	defer clear(b)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&b[0])
	v := s.m.call(fnLogin, s.h, user, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if v == rvAlreadyIn {
		return nil
	}
	return v.err("C_Login")
}

// A Key is a private key on a token that was logged in to.
type Key struct {
	s      *Session
	object ulong
	kind   ulong
	again  bool // asks for the PIN at each signature
}

// Key returns the private key with this CKA_ID in hexadecimal, or the only one when id is "".
func (s *Session) Key(id string) (*Key, error) {
	search := []attribute{{attrClass, bytesOf(classPrivateKey)}}
	if id != "" {
		raw, err := hex.DecodeString(id)
		if err != nil {
			return nil, fmt.Errorf("%w id %q is not in hexadecimal", ErrKey, id)
		}
		search = append(search, attribute{attrID, raw})
	}
	objects, err := s.find(search...)
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, fmt.Errorf("%w: %d private keys with id %q on the token, want one", ErrKey, len(objects), id)
	}
	k := &Key{s: s, object: objects[0]}
	kind, err := s.get(k.object, attrType)
	if err != nil || len(kind) != int(unsafe.Sizeof(k.kind)) {
		return nil, fmt.Errorf("the type of the key: %w", errors.Join(err, ErrKey))
	}
	k.kind = *(*ulong)(unsafe.Pointer(&kind[0]))
	always, err := s.get(k.object, attrAlways)
	k.again = err == nil && slices.Equal(always, []byte{1})
	return k, nil
}

// Sign signs a digest: PKCS #1 v1.5 or ECDSA, as ASN.1. pin is for keys that ask for it at each signature; it was good for
// the login.
func (k *Key) Sign(digest []byte, h crypto.Hash, pin string) ([]byte, error) {
	mech, data := mechECDSA, digest
	switch k.kind {
	case keyRSA:
		mech = mechRSA
		prefix, err := digestInfo(h)
		if err != nil {
			return nil, err
		}
		data = append(prefix, digest...)
	case keyEC:
	default:
		return nil, fmt.Errorf("%w is of type %#x, neither RSA nor EC", ErrKey, k.kind)
	}
	m := template(nil, []attribute{{mech, nil}}) // a CK_MECHANISM without parameter has the shape of a CK_ATTRIBUTE
	out := make([]byte, 1024)
	n := ulong(len(out))
	var pins runtime.Pinner
	defer pins.Unpin()
	for _, p := range []*byte{&m[0], &data[0], &out[0]} {
		pins.Pin(p)
	}
	pins.Pin(&n)
	if err := k.s.m.call(fnSignInit, k.s.h, uintptr(unsafe.Pointer(&m[0])), uintptr(k.object)).err("C_SignInit"); err != nil {
		return nil, err
	}
	if k.again {
		if err := k.s.login(userContext, pin); err != nil {
			return nil, err
		}
	}
	if err := k.s.m.call(fnSign, k.s.h, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(&out[0])), uintptr(unsafe.Pointer(&n))).err("C_Sign"); err != nil {
		return nil, err
	}
	out = out[:min(n, ulong(len(out)))]
	if k.kind == keyRSA {
		return out, nil
	}
	if len(out) == 0 || len(out)%2 != 0 {
		return nil, fmt.Errorf("%w gave a signature of %d bytes", ErrKey, len(out))
	}
	half := len(out) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(out[:half]), new(big.Int).SetBytes(out[half:])})
}

// digestInfo returns what stands before a digest in PKCS #1 v1.5 (RFC 8017, section 9.2).
func digestInfo(h crypto.Hash) ([]byte, error) {
	var last byte
	switch h {
	case crypto.SHA256:
		last = 1
	case crypto.SHA384:
		last = 2
	case crypto.SHA512:
		last = 3
	default:
		return nil, fmt.Errorf("hash %v is not known to the token", h)
	}
	n := byte(h.Size())
	return []byte{0x30, 17 + n, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last, 5, 0, 4, n}, nil
}

// find lists objects, at most 64.
func (s *Session) find(search ...attribute) ([]ulong, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	t := template(&pin, search)
	var found [maxObjects]ulong
	var n ulong
	pin.Pin(&t[0])
	pin.Pin(&found[0])
	pin.Pin(&n)
	if err := s.m.call(fnFindObjectsInit, s.h, uintptr(unsafe.Pointer(&t[0])), uintptr(len(search))).err("C_FindObjectsInit"); err != nil {
		return nil, err
	}
	defer s.m.call(fnFindObjectsFinal, s.h)
	if err := s.m.call(fnFindObjects, s.h, uintptr(unsafe.Pointer(&found[0])), maxObjects, uintptr(unsafe.Pointer(&n))).err("C_FindObjects"); err != nil {
		return nil, err
	}
	return slices.Clone(found[:min(n, maxObjects)]), nil
}

// get returns an attribute of an object.
func (s *Session) get(object, kind ulong) ([]byte, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	ask := func(t []byte) error {
		pin.Pin(&t[0])
		return s.m.call(fnGetAttributeValue, s.h, uintptr(object), uintptr(unsafe.Pointer(&t[0])), 1).err("C_GetAttributeValue")
	}
	length := func(t []byte) ulong { return *(*ulong)(unsafe.Pointer(&t[lengthAt])) }
	t := template(nil, []attribute{{kind, nil}})
	if err := ask(t); err != nil {
		return nil, err
	}
	n := length(t)
	if n > maxValue {
		return nil, fmt.Errorf("%w has an attribute of %d bytes, at most %d are read", ErrKey, n, maxValue)
	}
	if n == 0 {
		return nil, nil
	}
	value := make([]byte, n)
	t = template(&pin, []attribute{{kind, value}})
	if err := ask(t); err != nil {
		return nil, err
	}
	return value[:min(n, length(t))], nil
}

// lengthAt is where the length stands in a CK_ATTRIBUTE: after its type and a pointer, without a gap on any system that
// this runs on.
const lengthAt = unsafe.Sizeof(ulong(0)) + unsafe.Sizeof(uintptr(0))

// template writes CK_ATTRIBUTEs: type, pointer and length each. What they point at stays pinned until p is unpinned.
func template(p *runtime.Pinner, attrs []attribute) []byte {
	var out []byte
	for _, a := range attrs {
		var ptr uintptr
		if len(a.value) > 0 {
			p.Pin(&a.value[0])
			ptr = uintptr(unsafe.Pointer(&a.value[0]))
		}
		out = append(out, bytesOf(a.kind)...)
		out = append(out, bytesOf(ptr)...)
		out = append(out, bytesOf(ulong(len(a.value)))...)
	}
	return out
}

// bytesOf returns a number as it lies in memory.
func bytesOf[T ulong | uintptr](v T) []byte {
	return slices.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)))
}
