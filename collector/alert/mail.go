package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	gomail "github.com/wneessen/go-mail"
)

const (
	// mailTimeout bounds one delivery to the relay, from the name to the answer to the letter.
	mailTimeout = 30 * time.Second
	// maxReplies is the most bytes that a relay may say in one delivery; a talkative one says a few thousand.
	maxReplies = 256 << 10
	maxSecret  = 4 << 10
	maxCA      = 1 << 20
)

// A mailer hands letters to a relay (RFC 6409).
type mailer struct {
	config MailConfig
	roots  *x509.CertPool // nil for the system's
	from   *mail.Address
	within time.Duration
	dkim   *dkim.SignOptions // nil signs nothing
}

func newMailer(c MailConfig) (*mailer, error) {
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return nil, fmt.Errorf("alert: mail: from: %w", err)
	}
	m := &mailer{config: c, from: from, within: mailTimeout}
	if m.roots, err = rootsOf(c.CAFile); err != nil {
		return nil, fmt.Errorf("alert: mail: %w", err)
	}
	if c.DKIM != nil {
		if m.dkim, err = signing(c.DKIM); err != nil {
			return nil, fmt.Errorf("alert: mail: dkim: %w", err)
		}
	}
	if c.PasswordFile != "" {
		if _, err := readSecret(c.PasswordFile); err != nil {
			return nil, fmt.Errorf("alert: mail: password_file: %w", err)
		}
	}
	return m, nil
}

// send returns nil once the relay has taken the letter.
func (m *mailer) send(ctx context.Context, to string, c Content) error {
	letter, err := m.letter(to, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.within)
	defer cancel()
	options := []gomail.Option{gomail.WithPort(m.config.Port), gomail.WithTimeout(m.within + time.Second), gomail.WithDialContextFunc(dial(ctx)),
		gomail.WithoutNoop(), gomail.WithoutSMTPUTF8(), gomail.WithTLSPolicy(gomail.TLSMandatory)}
	if m.config.STARTTLS == TLSNone {
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	options = append(options, gomail.WithTLSConfig(&tls.Config{ServerName: m.config.Host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}))
	if m.config.User != "" {
		password, err := readSecret(m.config.PasswordFile)
		if err != nil {
			return err
		}
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(m.config.User), gomail.WithPassword(string(password)))
	}
	client, err := gomail.NewClient(m.config.Host, options...)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, letter)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("relay %s: no answer within %v: %w", m.config.Host, m.within, ctx.Err())
	}
	var failed *gomail.SendError
	if err != nil && letter.IsDelivered() && !errors.As(err, &failed) {
		return nil // it was taken; only the good-bye went wrong
	}
	return err
}

func (m *mailer) letter(to string, c Content) (*gomail.Msg, error) {
	letter := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	letter.FromMailAddress(m.from)
	if err := letter.To(to); err != nil {
		return nil, fmt.Errorf("the address of a contact cannot be used: %w", err)
	}
	letter.Subject(c.Subject)
	_, domain, _ := strings.Cut(m.from.Address, "@")
	letter.SetMessageIDWithValue(c.Key + "@" + domain)
	letter.SetDate()
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no machine is to answer
	letter.SetGenHeader("Egovmon-Delivery", c.Key)
	if c.Urgent {
		letter.SetImportance(gomail.ImportanceHigh)
	}
	letter.SetBodyString(gomail.TypeTextPlain, c.Text)
	if m.dkim != nil {
		if err := signLetter(letter, m.dkim); err != nil {
			return nil, fmt.Errorf("dkim: %w", err)
		}
	}
	return letter, nil
}

// dial connects so that the end of ctx ends whatever is under way on the connection.
func dial(ctx context.Context) gomail.DialContextFunc {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		return &boundedConn{Conn: conn, left: maxReplies, stop: stop}, nil
	}
}

// A boundedConn gives so many bytes, and then an error.
type boundedConn struct {
	net.Conn
	left int
	stop func() bool
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the relay said more than %d bytes", maxReplies)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *boundedConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// readSecret returns what a file holds, without the end of its line.
func readSecret(path string) ([]byte, error) {
	data, err := readFile(path, maxSecret)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	return data, nil
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return data, err
}

func rootsOf(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readFile(path, maxCA)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("ca_file: %s holds no PEM certificate", path)
	}
	return pool, nil
}
