package alert

import (
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"time"
)

// A Config is what an installation says of its channels; addresses of people are in the profile.
type Config struct {
	// Mail sends to contacts of kind mail. Left out, none is sent.
	Mail *MailConfig `yaml:"mail"`
	// Webhook posts to contacts of kind webhook. Left out, none is called.
	Webhook *WebhookConfig `yaml:"webhook"`
	// Digest is when the morning digest goes out on working days. Default 07:30.
	Digest string `yaml:"digest"`
	// Hours names the hours of the calendars in which people are told at once of what is not critical. Default hanh-chinh.
	Hours string `yaml:"hours"`
}

// A MailConfig is the relay that takes e-mail for delivery.
type MailConfig struct {
	// Host and Port of the relay; the port's default is 587.
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
	// STARTTLS is required (the default, with a verified certificate) or none.
	STARTTLS string `yaml:"starttls"`
	// CAFile holds PEM certificates to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// User and PasswordFile log in at the relay; both or neither, and never without STARTTLS.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// From is the sender's address.
	From string `yaml:"from"`
	// Depends lists the services without which mail does not arrive. Default mail, dns_local, inet.
	Depends []string `yaml:"depends"`
}

// A WebhookConfig is how webhooks are called.
type WebhookConfig struct {
	// SecretFile holds the key of the HMAC in the header Egovmon-Signature. Left out, calls are not signed.
	SecretFile string `yaml:"secret_file"`
	// CAFile holds PEM certificates to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// Depends lists the services without which a webhook is not reached. Default none: it may be in the same room.
	Depends []string `yaml:"depends"`
}

// The channels, which are kinds of contact.
const (
	ByMail    = "mail"
	ByWebhook = "webhook"
)

// The values of STARTTLS.
const (
	TLSRequired = "required"
	TLSNone     = "none"
)

const (
	defaultDigest = "07:30"
	defaultHours  = "hanh-chinh"
	defaultPort   = 587
)

// Check fills in the defaults and returns every mistake at once.
func (c *Config) Check() error {
	var errs []error
	if c.Digest == "" {
		c.Digest = defaultDigest
	}
	if _, err := time.Parse("15:04", c.Digest); err != nil {
		errs = append(errs, fmt.Errorf("alert: digest: %q is no time of day: write it as 07:30", c.Digest))
	}
	if c.Hours == "" {
		c.Hours = defaultHours
	}
	if c.Mail != nil {
		errs = append(errs, c.Mail.check())
	}
	return errors.Join(errs...)
}

func (m *MailConfig) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("alert: mail: "+format, args...)) }
	if m.Host == "" {
		bad("host is empty: name the relay")
	}
	if m.Port == 0 {
		m.Port = defaultPort
	}
	if m.Port < 1 || m.Port > 65535 {
		bad("port: %d is none", m.Port)
	}
	if m.STARTTLS == "" {
		m.STARTTLS = TLSRequired
	}
	if !slices.Contains([]string{TLSRequired, TLSNone}, m.STARTTLS) {
		bad("starttls: %q is neither %s nor %s", m.STARTTLS, TLSRequired, TLSNone)
	}
	if (m.User == "") != (m.PasswordFile == "") {
		bad("user and password_file belong together")
	}
	if m.User != "" && m.STARTTLS == TLSNone {
		bad("a password is never sent in the clear: set starttls to %s, or leave user and password_file out", TLSRequired)
	}
	if _, err := mail.ParseAddress(m.From); err != nil {
		bad("from: %q is no address: %v", m.From, err)
	}
	if m.Depends == nil {
		m.Depends = []string{"mail", "dns_local", "inet"}
	}
	return errors.Join(errs...)
}

// digestAt is how long after midnight the digest goes out.
func (c *Config) digestAt() time.Duration {
	t, err := time.Parse("15:04", c.Digest)
	if err != nil {
		t, _ = time.Parse("15:04", defaultDigest)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
}

// View returns what Plan needs besides the profile.
func (c *Config) View() View {
	v := View{Channels: map[string]Channel{}, Hours: c.Hours, Digest: c.digestAt()}
	if c.Mail != nil {
		v.Channels[ByMail] = Channel{Depends: c.Mail.Depends}
	}
	if c.Webhook != nil {
		v.Channels[ByWebhook] = Channel{Depends: c.Webhook.Depends}
	}
	return v
}
