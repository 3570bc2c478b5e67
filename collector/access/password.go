package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// What Argon2id costs (RFC 9106): the second choice of OWASP's sheet on password storage, which leaves a small server
// its memory. Hashes say what they were made with, so that the figures can grow.
const (
	argonTime    = 2
	argonMemory  = 19 << 10 // KiB
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32

	// Bounds of what a stored hash may ask for.
	maxArgonTime   = 16
	maxArgonMemory = 256 << 10
)

// Lengths of passwords in characters: with a second factor and without one, as the law's control of password policies
// asks (m12 of the profile's law set).
const (
	MinWithCode = 8
	MinAlone    = 14
	maxPassword = 128
)

// hashPassword makes the hash of a password in the PHC string format.
func hashPassword(password string) string {
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey(plain(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, enc(salt), enc(key))
}

// checkPassword reports whether a password is that of a hash.
func checkPassword(hash, password string) (bool, error) {
	var version, memory, times, threads uint32
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false, errors.New("not a hash of Argon2id")
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, fmt.Errorf("hash of Argon2 version %q", parts[2])
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &times, &threads); err != nil ||
		memory < 8 || memory > maxArgonMemory || times < 1 || times > maxArgonTime || threads < 1 || threads > 16 {
		return false, fmt.Errorf("hash with parameters %q", parts[3])
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return false, errors.New("hash without a salt")
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) < 16 || len(want) > 64 {
		return false, errors.New("hash without a key")
	}
	got := argon2.IDKey(plain(password), salt, times, memory, uint8(threads), uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// plain is a password as it is hashed: however a keyboard composes "ế", it is the same.
func plain(password string) []byte { return []byte(norm.NFC.String(password)) }

// A weakness says why a password is not taken: the key of a phrase, and its figures.
type weakness struct {
	phrase string
	args   []any
}

// weak returns why a password is not taken, nil when it is.
func weak(password, user string, withCode bool) *weakness {
	least := MinAlone
	if withCode {
		least = MinWithCode
	}
	n := utf8.RuneCountInString(norm.NFC.String(password))
	switch {
	case !utf8.ValidString(password) || n > maxPassword:
		return &weakness{"access.pw.long", []any{maxPassword}}
	case n < least:
		return &weakness{"access.pw.short", []any{least}}
	case strings.Contains(strings.ToLower(password), user):
		return &weakness{"access.pw.name", nil}
	case dull(password):
		return &weakness{"access.pw.dull", nil}
	}
	return nil
}

// dull reports whether a password is of too few different characters, or one run of neighbours as on a keyboard.
func dull(password string) bool {
	seen := map[rune]bool{}
	steps := map[rune]int{}
	last, n := rune(-1), 0
	for _, r := range strings.ToLower(password) {
		seen[r] = true
		if last >= 0 {
			steps[r-last]++
		}
		last = r
		n++
	}
	return len(seen) < 5 || steps[1] >= n-2 || steps[-1] >= n-2
}
