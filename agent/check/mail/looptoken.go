package mail

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tokenHeader is the header of a letter that carries its token.
const tokenHeader = "X-Egovmon-Loop"

// maxSerial is one more than the largest serial.
const maxSerial = 1 << 53

// A token is what a letter says of itself, signed with the key that the machines of the loop share:
//
//	v=1; serial=N; sent=UNIX_MS; from=MAILBOX; sha256=HEX; mac=HEX
//
// mac is HMAC-SHA-256 over "egovmon-loop/1\n" and the lines serial, sent, from and sha256, each ended by a line feed. A
// letter without a token that holds is not of the loop, whoever sent it.
type token struct {
	serial uint64    // random, below maxSerial: the same at both ends, and nobody else knows it beforehand
	sent   time.Time // by the sender's clock, in milliseconds
	from   string    // the sender's mailbox
	sum    [sha256.Size]byte
}

// newSerial makes one.
func newSerial() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:]) % maxSerial
}

// lines are what is signed.
func (t token) lines() string {
	return fmt.Sprintf("egovmon-loop/1\n%d\n%d\n%s\n%x\n", t.serial, t.sent.UnixMilli(), t.from, t.sum)
}

// text is the token as it stands in a letter.
func (t token) text(key []byte) string {
	return fmt.Sprintf("v=1; serial=%d; sent=%d; from=%s; sha256=%x; mac=%x", t.serial, t.sent.UnixMilli(), t.from, t.sum, t.mac(key))
}

func (t token) mac(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(t.lines()))
	return h.Sum(nil)
}

var errToken = errors.New("no token of this loop")

// proof is by what our own letter is known again when the key has changed meanwhile: it covers all that is signed.
func (t token) proof() proof {
	sum := sha256.Sum256([]byte(t.lines()))
	return proof(sum[:])
}

// A proof is the beginning of the SHA-256 of what a letter's token signs; the zero value is none.
type proof [12]byte

// genuine tells whether a token with this signature is of the loop.
type genuine func(t token, mac []byte) bool

// signedWith takes what one key has signed.
func signedWith(key []byte) genuine {
	return func(t token, mac []byte) bool { return hmac.Equal(mac, t.mac(key)) }
}

// parseToken reads a token that is of the loop.
func parseToken(text string, holds genuine) (token, error) {
	fields := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; !ok || twice || len(fields) == 6 {
			return token{}, errToken
		}
		fields[name] = value
	}
	serial, err := strconv.ParseUint(fields["serial"], 10, 53)
	ms, err2 := strconv.ParseInt(fields["sent"], 10, 64)
	sum, err3 := hex.DecodeString(fields["sha256"])
	mac, err4 := hex.DecodeString(fields["mac"])
	if err := errors.Join(err, err2, err3, err4); err != nil || fields["v"] != "1" || len(sum) != sha256.Size {
		return token{}, errToken
	}
	t := token{serial: serial, sent: time.UnixMilli(ms).UTC(), from: fields["from"], sum: [sha256.Size]byte(sum)}
	if !holds(t, mac) {
		return token{}, errToken
	}
	return t, nil
}

// content is what the letter's attachment holds: bytes that nobody guesses, the same at both ends.
func content(serial uint64, key []byte, size int) []byte {
	b := make([]byte, 0, size+sha256.Size)
	for block := uint64(0); len(b) < size; block++ {
		h := hmac.New(sha256.New, key)
		fmt.Fprintf(h, "egovmon-loop/1 attachment\n%d\n%d\n", serial, block)
		b = h.Sum(b)
	}
	return b[:size]
}
