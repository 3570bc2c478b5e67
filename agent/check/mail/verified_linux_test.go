package mail

import (
	"bytes"
	"net/smtp"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/deploy/lab/servers"
)

// What a verifier of Debian writes of a letter that it finds in order, and of one that was changed on its way, is read.
func TestVerifiedLetters(t *testing.T) {
	key, err := servers.NewDKIMKey()
	if err != nil {
		t.Fatal(err)
	}
	m, pki := startMailServerWith(t, servers.MailConfig{DKIM: key, Verify: true})
	a := newVantage(t, m, pki, userName, check.Options{"peers": []string{peerName}, "wait": time.Minute, "pass": []string{"dkim"}})
	r := a.look(0)
	want(t, r, check.OK, "")
	wantFacts(t, r, map[string]float64{"dkim_code": authPass, "altered_count": 0})

	var files []string
	for range 300 {
		if files, err = filepath.Glob(filepath.Join(m.Folder(peerName), "new", "*")); err != nil || len(files) > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(files) != 1 {
		t.Fatalf("%d letters came to the peer, want 1", len(files))
	}
	letter, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(letter, []byte("\nSubject: "), []byte("\nSubject: x"), 1)
	if bytes.Equal(changed, letter) {
		t.Fatal("the letter has no subject")
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	deliver(t, m.Addr(), peerName, changed)
	b := newVantage(t, m, pki, peerName, check.Options{"pace": 24 * time.Hour, "pass": []string{"dkim"}})
	b.c.last = b.now() // it only looks
	r = b.until("letters_count")
	want(t, r, check.MailAuth, "dkim: fail")
	wantFacts(t, r, map[string]float64{"dkim_code": authFail, "altered_count": 0})
}

// deliver hands in a letter as another server does, without a login.
func deliver(t *testing.T, address, to string, letter []byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := smtp.Dial(address)
	must(err)
	defer c.Close()
	must(c.Mail(userName))
	must(c.Rcpt(to))
	w, err := c.Data()
	must(err)
	_, err = w.Write(letter)
	must(err)
	must(w.Close())
	must(c.Quit())
}
