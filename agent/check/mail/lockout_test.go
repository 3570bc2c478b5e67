package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/notes"
)

func TestLockout(t *testing.T) {
	at := checktest.Epoch()
	l := &lockout{pause: 6 * time.Hour}
	if bad := l.holds("x", at); bad != nil {
		t.Errorf("before any refusal: %v", bad)
	}
	if bad := l.refuse("x", "535", at); bad.Reason != check.Auth || bad.Detail != "the monitoring account was refused: 535" {
		t.Errorf("got %v", bad)
	}
	for _, tt := range []struct {
		name     string
		password string
		after    time.Duration
		held     bool
	}{
		{"at once", "x", 0, true},
		{"shortly before the end", "x", 6*time.Hour - time.Second, true},
		{"at the end", "x", 6 * time.Hour, false},
		{"another password", "y", time.Second, false},
		{"after the clock went back", "x", -time.Hour, false},
	} {
		if bad := l.holds(tt.password, at.Add(tt.after)); (bad != nil) != tt.held {
			t.Errorf("%s: %v, want held %v", tt.name, bad, tt.held)
		}
	}
	if bad := l.holds("x", at); !strings.Contains(bad.Detail, "not tried before 2026-11-23T09:00:00Z") || strings.Contains(bad.Detail, "x;") {
		t.Errorf("got %s", bad.Detail)
	}
}

// A refusal outlives the agent, without telling of the password.
func TestLockoutRemembers(t *testing.T) {
	at := checktest.Epoch()
	dir := filepath.Join(t.TempDir(), notes.Folder)
	begin := func(account string) *lockout {
		return &lockout{pause: time.Hour, account: account, notes: notes.New(dir, checktest.Epoch, slog.New(slog.DiscardHandler)).Of("a.mail", "imap")}
	}
	begin("mail.test:993 me").refuse("x", strings.Repeat("5", 2*maxSaid), at)
	for _, tt := range []struct {
		name, account, password string
		after                   time.Duration
		held                    bool
	}{
		{"the same", "mail.test:993 me", "x", time.Minute, true},
		{"after the pause", "mail.test:993 me", "x", time.Hour, false},
		{"another password", "mail.test:993 me", "y", time.Minute, false},
		{"another user", "mail.test:993 you", "x", time.Minute, false},
		{"after the clock went back", "mail.test:993 me", "x", -time.Hour, false},
	} {
		if bad := begin(tt.account).holds(tt.password, at.Add(tt.after)); (bad != nil) != tt.held {
			t.Errorf("%s: %v, want held %v", tt.name, bad, tt.held)
		}
	}
	again := begin("mail.test:993 me")
	if again.holds("x", at) == nil || again.refuse("y", "535", at) == nil || again.holds("x", at) != nil || again.holds("y", at) == nil {
		t.Error("another refusal does not take the place of the one before")
	}
	kept := again.notes.Note(refusedNote)
	if sum := sha256.Sum256([]byte("y")); bytes.Contains(kept, []byte(base64.StdEncoding.EncodeToString(sum[:])[:6])) || len(kept) > 200 {
		t.Errorf("what is kept tells of the password: %.300s", kept)
	}
	if begin("mail.test:993 me").holds("y", at) == nil {
		t.Error("it is not remembered")
	}
	long := strings.Replace(string(kept), `"said":": 535"`, `"said":"`+strings.Repeat("x", 2*maxSaid)+`"`, 1)
	for _, text := range []string{"{", "{}", `{"since":"2026-11-23T03:00:00Z"}`, `{"since":"2026-11-23T03:00:00Z","mark":""}`, long} {
		again.notes.Keep(refusedNote, []byte(text))
		if bad := begin("mail.test:993 me").holds("y", at); bad != nil {
			t.Errorf("%.60s: %v", text, bad)
		}
	}
}

// A password that was refused is sent once, not again at the next run or after a restart, and once more when the pause is
// over, the password is another, or the plan names another account.
func TestRefusedPasswordIsNotRepeated(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	cert := a.Leaf(nil, nil)
	for _, tt := range []struct {
		kind            check.Kind
		before, attempt string
		after           string
		temporary       string // an answer that says nothing of the password
	}{
		{smtpKind(), "S:220 hi\nC:EHLO\nS:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\nTLS\nC:EHLO\nS:250-x|250 AUTH PLAIN\n", "C:AUTH PLAIN\nS:535 5.7.8 no\n", "C:QUIT\nS:221 bye\n", "454 4.7.0 later"},
		{imapKind(), fullIMAP, "C:d AUTH\nS:d NO [AUTHENTICATIONFAILED] no\n", outIMAP, "d NO [UNAVAILABLE] later"},
		{pop3Kind(), fullPOP, "C:AUTH PLAIN\nS:-ERR no\n", outPOP, "-ERR [SYS/TEMP] later"},
	} {
		t.Run(tt.kind.Name, func(t *testing.T) {
			tried := make(chan bool, 1) // of each visit
			var temporary atomic.Bool
			address := checktest.Serve(t, func(conn net.Conn) {
				script := tt.before + tt.attempt + tt.after
				if temporary.Load() {
					_, answer, _ := strings.Cut(tt.attempt, "\nS:")
					script = strings.Replace(script, answer, tt.temporary+"\n", 1)
				}
				tried <- follow(conn, cert, script) == nil // else it said something other than its password
			})
			now, password := checktest.Epoch(), "wrong"
			dir, user := filepath.Join(t.TempDir(), notes.Folder), userName
			begin := func() check.Func {
				f, err := tt.kind.New(checktest.WithDefaults(t, tt.kind, check.Options{"address": address, "roots": a.Roots(), "starttls": tlsRequired, "user": user, "password": "mailbox", "login_pause": time.Hour}),
					check.Env{Now: func() time.Time { return now }, Timeout: 20 * time.Second, Secret: func(string) (string, error) { return password, nil },
						Notes: notes.New(dir, time.Now, slog.New(slog.DiscardHandler)).Of("a.mail", tt.kind.Name)})
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			f := begin()
			logins := func(what string, n int) {
				t.Helper()
				got := 0
				for range 3 {
					r := f(t.Context())
					if <-tried {
						got++
					}
					want(t, r, check.Auth, "")
					wantFacts(t, r, map[string]float64{"login_code": 0})
				}
				if got != n {
					t.Errorf("%s: %d logins in three runs, want %d", what, got, n)
				}
			}
			logins("refused", 1)
			now = now.Add(time.Hour)
			logins("after the pause", 1)
			password = "wrong too"
			logins("another password", 1)
			f = begin()
			logins("after a restart", 0)
			user = "other@xa.test"
			f = begin()
			logins("another account", 1)
			temporary.Store(true)
			user = userName
			f = begin()
			for range 2 {
				if f(t.Context()); !<-tried {
					t.Error("no login after one that was refused for the time being")
				}
			}
		})
	}
}
