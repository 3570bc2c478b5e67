package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// play starts a server that follows a script, one step a line:
//
//	S:text    sends the text, "|" standing for the end of a line, "¶" for one without CR, and ends it
//	RAW:text  sends the text without an end
//	C:text    reads a line, which must begin so
//	BYTE      reads one byte
//	TLS       makes the handshake, by TLS 1.3; TLS1.2 and TLS1.1 by these
//	CUT       sends the beginning of a record of TLS and nothing more
//	HANG      says nothing more until the other side goes
//	DRIP:x    sends x, slowly and without end
//	FLOOD:x   sends x without end
//	BULK:n    sends n bytes, from a small buffer
//
// Where the script ends it hangs up; where the other side says something else it reports that.
func play(t testing.TB, cert tls.Certificate, script string) string {
	t.Helper()
	return checktest.Serve(t, func(conn net.Conn) {
		if err := follow(conn, cert, script); err != nil {
			t.Error(err)
		}
	})
}

func follow(conn net.Conn, cert tls.Certificate, script string) error {
	raw, in := conn, bufio.NewReader(conn)
	for step := range strings.Lines(script) {
		word, text, _ := strings.Cut(strings.TrimSpace(step), ":")
		text = strings.NewReplacer("|", "\r\n", "¶", "\n").Replace(text)
		switch word {
		case "":
		case "S", "RAW":
			if word == "S" {
				text += "\r\n"
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return nil // the other side has gone, and says why
			}
		case "C":
			got, err := in.ReadString('\n')
			if err != nil {
				return nil
			}
			if !strings.HasPrefix(got, text) {
				return errors.New("the script has " + text + ", the check said " + got)
			}
		case "BYTE":
			if _, err := in.ReadByte(); err != nil {
				return nil
			}
		case "TLS", "TLS1.2", "TLS1.1":
			versions := map[string]uint16{"TLS": tls.VersionTLS13, "TLS1.2": tls.VersionTLS12, "TLS1.1": tls.VersionTLS11}
			s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: versions[word], MaxVersion: versions[word]})
			if s.Handshake() != nil {
				return nil
			}
			conn, in = s, bufio.NewReader(s)
		case "CUT":
			_, _ = raw.Write([]byte{23, 3, 3})
			if half, ok := raw.(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
			_, _ = io.Copy(io.Discard, raw) // what is left unread would reset the connection
			return nil
		case "HANG":
			_, _ = io.Copy(io.Discard, in)
		case "DRIP":
			for i := 0; ; i++ {
				if _, err := conn.Write([]byte{text[i%len(text)]}); err != nil {
					return nil
				}
				time.Sleep(10 * time.Millisecond)
			}
		case "FLOOD":
			for {
				if _, err := io.WriteString(conn, text); err != nil {
					return nil
				}
			}
		case "BULK":
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return err
			}
			for buffer := bytes.Repeat([]byte("x"), 4096); n > 0; n -= int64(len(buffer)) {
				if _, err := conn.Write(buffer[:min(n, int64(len(buffer)))]); err != nil {
					return nil
				}
			}
		default:
			return errors.New("no such step: " + step)
		}
	}
	return nil
}

// run makes a check of the kind with these options over its defaults and runs it once.
func run(t testing.TB, k check.Kind, o check.Options, env check.Env) check.Result {
	t.Helper()
	return runFor(t, k, o, env, 20*time.Second)
}

func runFor(t testing.TB, k check.Kind, o check.Options, env check.Env, limit time.Duration) check.Result {
	t.Helper()
	if env.Now == nil {
		env.Now = checktest.Epoch
	}
	if env.Secret == nil {
		env.Secret = func(name string) (string, error) {
			if name != "mailbox" {
				return "", errors.New("there is none")
			}
			return password + "\n", nil
		}
	}
	f, err := k.New(checktest.WithDefaults(t, k, o), env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	r := f(ctx)
	sound(t, k, r)
	return r
}

// sound sees that a result is one that the kind may give.
func sound(t testing.TB, k check.Kind, r check.Result) {
	t.Helper()
	checktest.Sound(t, k, r)
	if r.State == check.Down && !slices.Contains(downReasons(k.Name), r.Reason) {
		t.Errorf("%s is down by %s, which is none of its reasons", k.Name, r.Reason)
	}
}

// downReasons are those for which a kind can be down. Go's resolver does not tell of one that refuses.
func downReasons(kind string) []check.Reason {
	if kind == "maildns" {
		return []check.Reason{check.DNSNXDomain, check.DNSServfail, check.DNSRefused, check.DNSTimeout, check.DNSEmpty, check.DNSMismatch,
			check.ConnectRefused, check.ConnectUnreachable, check.ConnectReset, check.Truncated, check.Protocol}
	}
	all := []check.Reason{check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.DNSEmpty,
		check.ConnectRefused, check.ConnectTimeout, check.ConnectUnreachable, check.ConnectReset,
		check.TLSHandshake, check.TLSExpired, check.TLSNotYetValid, check.TLSName, check.TLSUntrusted, check.TLSProtocol,
		check.Timeout, check.Truncated, check.Protocol, check.Auth, check.MailRejected}
	if kind == "smtp" {
		all = append(all, check.DNSBogus)
	}
	if kind == "mailloop" {
		all = append(all, check.MailLost, check.MailAltered)
	}
	return all
}

// The monitoring account of the tests. Neither may stand in a detail.
const (
	userName = "probe@xa.test"
	password = `p"\a ssứ}`
)

func want(t testing.TB, r check.Result, reason check.Reason, detail string) {
	t.Helper()
	if r.Reason != reason || !strings.Contains(r.Detail, detail) {
		t.Errorf("got %s (%s), want %s (%s)", r.Reason, r.Detail, reason, detail)
	}
}

func wantFacts(t testing.TB, r check.Result, facts map[string]float64) {
	t.Helper()
	for name, v := range facts {
		if got, ok := r.Facts.Get(name); !ok || got != v {
			t.Errorf("fact %s = %v, %v; want %v", name, got, ok, v)
		}
	}
}
