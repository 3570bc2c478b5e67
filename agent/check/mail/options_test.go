package mail

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// What the plan says of a server's certificate and of TLS is asked of the server of each kind.
func TestTLSOptionsOfEachKind(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	cert := a.Leaf(nil, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, 100) })
	for _, k := range []struct {
		kind   check.Kind
		opened string // as far as TLS
		whole  string
		more   check.Options
	}{
		{smtpKind(), openSMTP, fullSMTP + quitSMTP, nil},
		{imapKind(), openIMAP, fullIMAP + outIMAP, nil},
		{pop3Kind(), openPOP, fullPOP + outPOP, nil},
		{mailloopKind(), "TLS\n", loopIMAP + noLetter + "HANG", check.Options{"mailbox": userName, "user": userName, "password": "mailbox", "key": "mailbox", "wait": time.Duration(0)}},
	} {
		for _, tt := range []struct {
			name   string
			with   check.Options
			reason check.Reason // zero for OK
			refuse bool         // the handshake does not come off
		}{
			{"long enough", check.Options{"warn_days": int64(99)}, "", false},
			{"ends soon", check.Options{"warn_days": int64(101)}, check.CertExpiring, false},
			{"old enough", check.Options{"min_version": "1.2"}, "", false},
			{"not new enough", check.Options{"min_version": "1.3"}, check.WeakTLS, false},
			{"the issuer", check.Options{"issuer": "test root"}, "", false},
			{"another issuer", check.Options{"issuer": "Somebody Else"}, check.TLSUntrusted, true},
			{"another one was withdrawn", check.Options{"distrusted": []string{fingerprint(nil)}}, "", false},
			{"its authority was withdrawn", check.Options{"distrusted": []string{fingerprint(a.Cert.Raw)}}, check.TLSUntrusted, true},
		} {
			t.Run(k.kind.Name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				script, address := k.whole, "address"
				if tt.refuse {
					script = k.opened
				}
				o := check.Options{"roots": a.Roots(), "starttls": tlsRequired}
				if k.kind.Name == "mailloop" {
					o["address"], address = checktest.ClosedPort(t), "imap"
				}
				maps.Copy(o, k.more)
				maps.Copy(o, tt.with)
				o[address] = play(t, cert, strings.Replace("\n"+script, "\nTLS\n", "\nTLS1.2\n", 1))
				reason := cmp.Or(tt.reason, check.OK)
				if k.kind.Name != "mailloop" {
					want(t, run(t, k.kind, o, check.Env{}), reason, "")
					return
				}
				c, err := newLoopCheck(checktest.WithDefaults(t, k.kind, o), checktest.WithEnv(check.Env{Secret: func(string) (string, error) { return password, nil }}))
				if err != nil {
					t.Fatal(err)
				}
				c.last = checktest.Epoch() // it only looks
				want(t, c.run(t.Context()), reason, "")
			})
		}
	}
}
