package host

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// A pad is the key of a pretended machine.
type pad byte

func (p pad) seal(b []byte) ([]byte, error) {
	out := []byte{byte(p)}
	for _, c := range b {
		out = append(out, c^byte(p))
	}
	return out, nil
}

func (p pad) open(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != byte(p) {
		return nil, errors.New("key not valid for use in specified state")
	}
	out, err := p.seal(b[1:])
	return out[1:], err
}

// What a machine's key protects is opened by that machine alone, and what was never protected is told apart.
func TestSeal(t *testing.T) {
	secret := []byte("mật khẩu\n")
	content, err := sealWith(pad(7), secret)
	if err != nil || bytes.Contains(content, []byte("kh")) || !bytes.HasPrefix(content, []byte(sealedMagic)) {
		t.Fatalf("%q, %v", content, err)
	}
	for _, tt := range []struct {
		name    string
		key     sealer
		content []byte
		plain   bool
		err     string
	}{
		{"its own", pad(7), content, false, ""},
		{"with line ends of an editor", pad(7), append(bytes.TrimSpace(content), "\r\n"...), false, ""},
		{"of a version before", pad(7), secret, true, ""},
		{"no key here", nil, secret, true, ""},
		{"copied to another machine", pad(8), content, false, "copied from another machine"},
		{"copied to another system", nil, content, false, "cannot be read on another system"},
		{"damaged", pad(7), append(bytes.Clone(content[:len(content)-4]), "!!!!"...), false, "damaged"},
	} {
		got, plain, err := openWith(tt.key, tt.content)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
		if err == nil && (!bytes.Equal(got, secret) || plain != tt.plain) {
			t.Errorf("%s: %q, plain %t", tt.name, got, plain)
		}
	}
	if same, err := sealWith(nil, secret); err != nil || !bytes.Equal(same, secret) {
		t.Errorf("without a key: %q, %v", same, err)
	}
}
