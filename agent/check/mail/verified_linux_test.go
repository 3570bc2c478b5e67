package mail

import (
	"bytes"
	"cmp"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
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

	letter := taken(t, m)
	changed := bytes.Replace(letter, []byte("\nSubject: "), []byte("\nSubject: x"), 1)
	if bytes.Equal(changed, letter) {
		t.Fatal("the letter has no subject")
	}
	deliver(t, m.Addr(), userName, peerName, changed)
	b := newVantage(t, m, pki, peerName, check.Options{"pace": 24 * time.Hour, "pass": []string{"dkim"}})
	b.c.last = b.now() // it only looks
	r = b.until("letters_count")
	want(t, r, check.MailAuth, "dkim: fail")
	wantFacts(t, r, map[string]float64{"dkim_code": authFail, "altered_count": 0})
}

// What opendkim and opendmarc find of a letter that comes in from another server is read, and not what the letter says of itself.
func TestJudgedLetters(t *testing.T) {
	key, err := servers.NewDKIMKey()
	if err != nil {
		t.Fatal(err)
	}
	const claims = "Authentication-Results: mail.test; spf=%[1]s smtp.mailfrom=xa.test; dkim=%[1]s header.d=xa.test; dmarc=%[1]s header.from=xa.test\r\n"
	all := check.Options{"pass": []string{"spf", "dkim", "dmarc"}}
	for i, tt := range []struct {
		name   string
		from   string // whom the other server names as the sender; "" for a receiver that judges nothing
		old    string // in the letter
		with   string
		claim  string // that the letter makes
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{"in order, and it says the contrary", userName, "", "", "fail", check.OK, "", map[string]float64{"spf_code": authPass, "dkim_code": authPass, "dmarc_code": authPass}},
		{"changed, from another domain, and it says all is well", "a@other.test", "\nSubject: ", "\nSubject: x", "pass", check.MailAuth, "dkim: fail", map[string]float64{"spf_code": authPass, "dkim_code": authFail, "dmarc_code": authFail}},
		{"nobody judges, and it says all is well", "", "", "", "pass", check.MailAuth, "nothing", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := servers.MailConfig{}
			if tt.from != "" {
				c.Judge = fmt.Sprintf("127.0.53.%d", i+1)
				c.DKIM, c.Verify = key, true
				resolverAt(t, c.Judge+":53", `xa.test. TXT "v=spf1 ip4:127.0.0.1 -all"`+"\n"+`other.test. TXT "v=spf1 ip4:127.0.0.1 -all"`+"\n"+`_dmarc.xa.test. TXT "v=DMARC1; p=reject"`)
			}
			if tt.from == "" {
				c.DKIM = key
			}
			m, pki := startMailServerWith(t, c)
			a := newVantage(t, m, pki, userName, check.Options{"peers": []string{peerName}, "wait": time.Minute})
			want(t, a.look(0), check.OK, "")
			letter := taken(t, m)
			// What this server wrote when it took the letter is left out, but for the signature.
			letter = letter[bytes.Index(letter, []byte("DKIM-Signature: ")):]
			way, own := bytes.Index(letter, []byte("\nReceived: ")), bytes.Index(letter, []byte("\nFrom: "))
			letter = slices.Delete(letter, way, own)
			if tt.old != "" {
				letter = bytes.Replace(letter, []byte(tt.old), []byte(tt.with), 1)
			}
			deliver(t, m.Addr(), cmp.Or(tt.from, userName), peerName, append(fmt.Appendf(nil, claims, tt.claim), letter...))
			b := newVantage(t, m, pki, peerName, check.Options{"pace": 24 * time.Hour, "pass": all["pass"]})
			b.c.last = b.now() // it only looks
			r := b.until("letters_count")
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
			if _, told := r.Facts.Get("dkim_code"); tt.from == "" && told {
				t.Error("the letter's own claims were believed")
			}
		})
	}
}

// taken takes the one letter that came to the peer out of its mailbox.
func taken(t *testing.T, m *servers.Mail) []byte {
	t.Helper()
	var files []string
	var err error
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
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	return letter
}

// deliver hands in a letter as another server does, without a login.
func deliver(t *testing.T, address, from, to string, letter []byte) {
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
	must(c.Mail(from))
	must(c.Rcpt(to))
	w, err := c.Data()
	must(err)
	_, err = w.Write(letter)
	must(err)
	must(w.Close())
	must(c.Quit())
}
