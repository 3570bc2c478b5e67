package alert

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Config is what an installation says of its channels; addresses of people are in the profile.
type Config struct {
	// Mail sends to contacts of kind mail. Left out, none is sent.
	Mail *MailConfig `yaml:"mail"`
	// Webhook posts to contacts of kind webhook. Left out, none is called.
	Webhook *WebhookConfig `yaml:"webhook"`
	// SMS calls a gateway for contacts of kind sms.
	SMS *GatewayConfig `yaml:"sms"`
	// Modem sends to contacts of kind sms where there is no gateway, where the gateway depends on what broke, and besides
	// it for what is critical.
	Modem *ModemConfig `yaml:"modem"`
	// Zalo sends approved templates to contacts of kind zalo.
	Zalo *ZaloConfig `yaml:"zalo"`
	// Telegram sends to contacts of kind telegram, whose value is a chat's number.
	Telegram *GatewayConfig `yaml:"telegram"`
	// Alertmanager is told of every incident, whoever else is.
	Alertmanager *AlertmanagerConfig `yaml:"alertmanager"`
	// Siren runs a program on this machine for what is critical.
	Siren *SirenConfig `yaml:"siren"`
	// Watcher is told, as long as the collector sees, that it does; see [Watcher].
	Watcher *WatcherConfig `yaml:"watcher"`
	// Test is when every address gets a message that the channel works: a weekday and a time, or never. Default
	// "mon 08:10".
	Test string `yaml:"test"`
	// Most is how many messages an address gets in an hour at the most; what comes then waits and goes out as one. What is
	// critical never waits. Default 20.
	Most int `yaml:"most"`
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
	// DKIM signs letters here, for relays that do not. Left out, they are not signed.
	DKIM *DKIMConfig `yaml:"dkim"`
	// Depends lists the services without which mail does not arrive. Default mail, dns_local, inet.
	Depends []string `yaml:"depends"`
}

// A DKIMConfig is how letters are signed (RFC 6376).
type DKIMConfig struct {
	// Domain is the one that signs. Default that of the sender's address, with which it must agree for DMARC.
	Domain string `yaml:"domain"`
	// Selector names the public key in DNS: SELECTOR._domainkey.DOMAIN.
	Selector string `yaml:"selector"`
	// KeyFile is the private key, PEM: PKCS #8 or PKCS #1, RSA of at least 1024 bits or Ed25519.
	KeyFile string `yaml:"key_file"`
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
	ByMail         = "mail"
	ByWebhook      = "webhook"
	BySMS          = "sms"
	ByModem        = "modem" // no kind of contact: it sends to those of kind sms
	ByZalo         = "zalo"
	ByTelegram     = "telegram"
	ByAlertmanager = "alertmanager" // no kind of contact
	BySiren        = "siren"        // likewise
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
	defaultTest   = "mon 08:10"
	defaultMost   = 20
	never         = "never"
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
	if c.Test == "" {
		c.Test = defaultTest
	}
	if _, _, err := parseTest(c.Test); err != nil {
		errs = append(errs, err)
	}
	if c.Most == 0 {
		c.Most = defaultMost
	}
	if c.Most < 1 || c.Most > 1000 {
		errs = append(errs, fmt.Errorf("alert: most: %d: write how many messages an address gets in an hour, 1 to 1000", c.Most))
	}
	if c.Mail != nil {
		errs = append(errs, c.Mail.check())
	}
	for name, g := range map[string]*GatewayConfig{BySMS: c.SMS, ByTelegram: c.Telegram} {
		if g == nil {
			continue
		}
		if name == ByTelegram && g.Preset == "" && g.URL == "" {
			g.Preset = ByTelegram
		}
		if err := g.fill(); err != nil {
			errs = append(errs, fmt.Errorf("alert: %s: %w", name, err))
		}
	}
	if c.Watcher != nil {
		errs = append(errs, c.Watcher.check())
	}
	if c.Zalo != nil && c.Zalo.Depends == nil {
		c.Zalo.Depends = []string{"inet", "dns_local"}
	}
	return errors.Join(errs...)
}

// parseTest reads when the weekly test is: ok is false for never.
func parseTest(s string) (day time.Weekday, after time.Duration, err error) {
	if s == never {
		return 0, -1, nil
	}
	word, clock, _ := strings.Cut(s, " ")
	t, err := time.Parse("15:04", clock)
	day = time.Weekday(slices.Index([]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, word))
	if err != nil || day < 0 {
		return 0, 0, fmt.Errorf("alert: test: %q: write a weekday and a time, as \"mon 08:10\", or never", s)
	}
	return day, time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// dnsName is a name of a host or domain.
var dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$`)

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
	if d := m.DKIM; d != nil {
		if a, err := mail.ParseAddress(m.From); d.Domain == "" && err == nil {
			_, d.Domain, _ = strings.Cut(a.Address, "@")
		}
		if !dnsName.MatchString(d.Domain) || !dnsName.MatchString(d.Selector) || d.KeyFile == "" {
			bad("dkim: domain %.80q, selector %.80q, key_file %.80q: all three are needed, as in DNS", d.Domain, d.Selector, d.KeyFile)
		}
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
	day, after, err := parseTest(c.Test)
	if err != nil || c.Test == "" {
		after = -1
	}
	v := View{Channels: map[string]Channel{}, Hours: c.Hours, Digest: c.digestAt(), TestDay: day, TestAt: after, Most: c.Most}
	put := func(name string, on bool, depends func() []string) {
		if on {
			v.Channels[name] = Channel{Depends: depends()}
		}
	}
	put(ByMail, c.Mail != nil, func() []string { return c.Mail.Depends })
	put(ByWebhook, c.Webhook != nil, func() []string { return c.Webhook.Depends })
	put(BySMS, c.SMS != nil, func() []string { return c.SMS.Depends })
	put(ByModem, c.Modem != nil, func() []string { return c.Modem.Depends })
	put(ByZalo, c.Zalo != nil, func() []string { return c.Zalo.Depends })
	put(ByTelegram, c.Telegram != nil, func() []string { return c.Telegram.Depends })
	if c.Alertmanager != nil {
		v.Channels[ByAlertmanager] = Channel{}
		for _, u := range c.Alertmanager.URLs {
			v.Always = append(v.Always, Address{ByAlertmanager, u})
		}
	}
	if c.Siren != nil {
		v.Channels[BySiren] = Channel{}
		v.Critical = append(v.Critical, Address{BySiren, "here"})
	}
	return v
}
