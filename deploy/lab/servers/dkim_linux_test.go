package servers

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Letters of those who have logged in carry a signature that the key in the zone verifies (RFC 6376, section 6.1).
func TestDKIM(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("Postfix and Dovecot are started as root only")
	}
	need(t, "/usr/lib/postfix/sbin/master", "dovecot", "/usr/lib/dovecot/imap", "opendkim")
	p := localhost(t)
	pki, key := newPKI(t, p), must[*DKIMKey](t)(NewDKIMKey())
	m := must[*Mail](t)(StartMail(t.Context(), p, MailConfig{PKI: pki, Host: "mail.tuky.lab", Domains: []string{"tuky.lab", "tinh.lab"}, DKIM: key,
		Boxes: map[string]string{officer: "matkhau9", province: "matkhau7"}}))
	defer m.Stop()
	send(t, pki, m, "signed")
	comes(t, m, "signed")
	files := must[[]string](t)(filepath.Glob(filepath.Join(m.Folder(province), "new", "*")))
	letter := must[[]byte](t)(os.ReadFile(files[0]))
	if err := verified(letter, key); err != "" {
		t.Error(err)
	}
	if err := verified(bytes.Replace(letter, []byte("Subject: signed"), []byte("Subject: forged"), 1), key); err != "the signature does not verify" {
		t.Errorf("with another subject: %q", err)
	}
	if err := verified(letter, must[*DKIMKey](t)(NewDKIMKey())); err != "the signature does not verify" {
		t.Errorf("with another key: %q", err)
	}
}

// verified says what is wrong with a letter's signature, "" when nothing is. It knows what opendkim writes here: rsa-sha256 over
// relaxed headers and a relaxed body.
func verified(letter []byte, k *DKIMKey) string {
	head, body, _ := strings.Cut(strings.ReplaceAll(string(letter), "\r\n", "\n"), "\n\n")
	blank := regexp.MustCompile(`[ \t\r\n]+`)
	relaxed := func(line string) string {
		name, value, _ := strings.Cut(line, ":")
		return strings.ToLower(strings.TrimSpace(name)) + ":" + strings.TrimSpace(blank.ReplaceAllString(value, " "))
	}
	headers := map[string]string{} // relaxed, by name; each stands once in our letters
	for line := range strings.SplitSeq(regexp.MustCompile(`\n[ \t]+`).ReplaceAllString(head, " "), "\n") {
		name, _, _ := strings.Cut(line, ":")
		headers[strings.ToLower(name)] = relaxed(line)
	}
	signature := headers["dkim-signature"]
	tags := map[string]string{}
	for tag := range strings.SplitSeq(strings.TrimPrefix(signature, "dkim-signature:"), ";") {
		name, value, _ := strings.Cut(tag, "=")
		tags[strings.TrimSpace(name)] = strings.ReplaceAll(value, " ", "")
	}
	if tags["a"] != "rsa-sha256" || tags["c"] != "relaxed/relaxed" || tags["d"] != "tuky.lab" || tags["s"] != "s1" {
		return "no signature that this knows: " + signature
	}
	sum := sha256.Sum256([]byte(strings.ReplaceAll(strings.TrimRight(body, "\n")+"\n", "\n", "\r\n")))
	if base64.StdEncoding.EncodeToString(sum[:]) != tags["bh"] {
		return "the body was changed"
	}
	var signed strings.Builder
	for name := range strings.SplitSeq(tags["h"], ":") {
		if h, ok := headers[strings.ToLower(name)]; ok {
			signed.WriteString(h + "\r\n")
		}
	}
	signed.WriteString(regexp.MustCompile(`([; ]b=)[^;]*`).ReplaceAllString(signature, "$1"))
	value, err := base64.StdEncoding.DecodeString(tags["b"])
	sum = sha256.Sum256([]byte(signed.String()))
	if err != nil || rsa.VerifyPKCS1v15(&k.key.PublicKey, crypto.SHA256, sum[:], value) != nil {
		return "the signature does not verify"
	}
	return ""
}
