package access

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"html/template"
	"image/png"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// One-time codes of RFC 6238, with what every authenticator app understands: SHA-1, six digits, 30 s.
const (
	codeStep   = 30 * time.Second
	codeSkew   = 1 // steps that a phone's clock may be off, either way
	codeIssuer = "egovmon"
	codePixels = 220
)

// newCodeKey makes a secret, in base32.
func newCodeKey(user string) (string, error) {
	k, err := totp.Generate(totp.GenerateOpts{Issuer: codeIssuer, AccountName: user})
	if err != nil {
		return "", fmt.Errorf("secret for one-time codes: %w", err)
	}
	return k.Secret(), nil
}

// matchCode returns the step whose code was given, which is later than last; ok is false when there is none. So no code
// is good twice.
func matchCode(key, code string, last int64, now time.Time) (step int64, ok bool) {
	code = strings.Join(strings.Fields(code), "")
	at := now.Unix() / int64(codeStep/time.Second)
	for s := at - codeSkew; s <= at+codeSkew; s++ {
		want, err := totp.GenerateCodeCustom(key, time.Unix(s*int64(codeStep/time.Second), 0), totp.ValidateOpts{
			Period: uint(codeStep / time.Second), Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err == nil && s > last && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}

// codePicture is a QR code of a secret, as the address of an image.
func codePicture(user, key string) (template.URL, error) {
	k, err := otp.NewKeyFromURL("otpauth://totp/" + codeIssuer + ":" + user + "?secret=" + key + "&issuer=" + codeIssuer)
	if err != nil {
		return "", err
	}
	img, err := k.Image(codePixels, codePixels)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// spaced is a secret as people type it: in groups of four.
func spaced(key string) string {
	var b strings.Builder
	for i, r := range key {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
