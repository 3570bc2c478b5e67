package alert

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/deploy/lab/servers"
)

func startMessages(t *testing.T) *servers.Messages {
	t.Helper()
	var out bytes.Buffer
	m, err := servers.StartMessages(t.Context(), servers.Loopback(t.TempDir(), netip.MustParseAddr("127.0.0.1"), &out), servers.MessagesConfig{
		APIKey: "k", SecretKey: "s", Templates: []string{"7"}, AppID: "app", AppSecret: "geheim", RefreshToken: "r-0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Stop() })
	return m
}

func TestSMSGateway(t *testing.T) {
	m := startMessages(t)
	g, err := newGateway(BySMS, GatewayConfig{Preset: "esms", URL: m.URL() + "/MainService.svc/json/SendMultipleMessage_V4_post_json/",
		Secrets: map[string]string{"key": secretFile(t, "k\n"), "secret": secretFile(t, "s")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.send(t.Context(), "+84 912 345 678", content()); err != nil {
		t.Fatal(err)
	}
	if got := m.Taken(); len(got) != 1 || got[0].Phone != "0912345678" || got[0].Text != content().Short {
		t.Errorf("%+v", got)
	}
	_ = m.Refuse(true)
	if err := g.send(t.Context(), "0912345678", content()); err == nil || !strings.Contains(err.Error(), `CodeResult "101"`) {
		t.Errorf("%v", err)
	}
}

func TestZalo(t *testing.T) {
	m := startMessages(t)
	now := at(23, 10, 0)
	first := secretFile(t, "r-0\n")
	file := filepath.Join(t.TempDir(), "alerts"+zaloSuffix)
	open := func() *zalo {
		t.Helper()
		z, err := newZalo(ZaloConfig{AppID: "app", SecretKeyFile: secretFile(t, "geheim"), RefreshTokenFile: first, TemplateID: "7", URL: m.URL() + "/message/template", OAuthURL: m.URL() + "/v4/oa/access_token"},
			file, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	z := open()
	if err := z.send(t.Context(), "0912 345 678", content()); err != nil {
		t.Fatal(err)
	}
	got := m.Taken()
	if len(got) != 1 || got[0].Phone != "84912345678" || got[0].Data["system"] != "Cổng TTĐT" || got[0].Tracking != content().Key {
		t.Fatalf("%+v", got)
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file of tokens: %v, %v", fi.Mode(), err)
	}
	z = open() // a start goes on with what was kept: r-0 is used up
	if err := z.send(t.Context(), "0912345678", content()); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(file); !bytes.Equal(kept, again) {
		t.Error("a token that was good was renewed")
	}
	m.ForgetToken() // it ended before its time
	if err := z.send(t.Context(), "0912345678", content()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(25 * time.Hour) // … and in its time
	if err := z.send(t.Context(), "0912345678", content()); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Taken()); n != 4 {
		t.Errorf("%d messages came, want 4", n)
	}
	// An older copy of the file, as from a backup: the token was used, and a person must get another.
	if err := os.WriteFile(file, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := z.send(t.Context(), "0912345678", content()); err == nil || !strings.Contains(err.Error(), first) {
		t.Errorf("%v: it does not say where a new token goes", err)
	}
	m2 := startMessages(t) // whose account begins with r-0
	if err := os.WriteFile(first, []byte("r-0 "), 0o600); err != nil {
		t.Fatal(err)
	}
	z.config.URL, z.config.OAuthURL = m2.URL()+"/message/template", m2.URL()+"/v4/oa/access_token"
	if err := os.WriteFile(first, []byte("r-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := z.send(t.Context(), "0912345678", content()); err == nil {
		t.Error("a token that Zalo never gave was taken")
	}
	if err := os.WriteFile(first, []byte("r-0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := z.send(t.Context(), "0912345678", content()); err != nil {
		t.Errorf("with a fresh token: %v", err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := z.send(t.Context(), "0912345678", content()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v", err)
	}
}

func TestZaloIsCheckedBeforehand(t *testing.T) {
	good := func() ZaloConfig {
		return ZaloConfig{AppID: "app", SecretKeyFile: secretFile(t, "x"), RefreshTokenFile: secretFile(t, "r"), TemplateID: "7"}
	}
	tests := map[string]func(*ZaloConfig){
		"app_id":          func(c *ZaloConfig) { c.AppID = "" },
		"template_id":     func(c *ZaloConfig) { c.TemplateID = "" },
		"secret_key_file": func(c *ZaloConfig) { c.SecretKeyFile = "" },
		"no such file":    func(c *ZaloConfig) { c.RefreshTokenFile = "/none" },
		"https://host":    func(c *ZaloConfig) { c.URL = "zalo" },
		"data:":           func(c *ZaloConfig) { c.Data = map[string]string{"a": "{{.Nothing}}"} },
	}
	if _, err := newZalo(good(), "x", time.Now); err != nil {
		t.Fatal(err)
	}
	for want, edit := range tests {
		c := good()
		edit(&c)
		if _, err := newZalo(c, "x", time.Now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestEveryChannelTogether opens a sender with every channel and has one incident and the weekly test told.
func TestEveryChannelTogether(t *testing.T) {
	m := startMessages(t)
	d := newDesk(t)
	c := Config{Webhook: &WebhookConfig{}, Test: "mon 09:59",
		SMS: &GatewayConfig{Preset: "esms", URL: m.URL() + "/MainService.svc/json/SendMultipleMessage_V4_post_json/", Secrets: map[string]string{"key": secretFile(t, "k"), "secret": secretFile(t, "s")}},
		Zalo: &ZaloConfig{AppID: "app", SecretKeyFile: secretFile(t, "geheim"), RefreshTokenFile: secretFile(t, "r-0"), TemplateID: "7",
			URL: m.URL() + "/message/template", OAuthURL: m.URL() + "/v4/oa/access_token"}}
	d.town.opens("cong", at(23, 10, 0))
	d.tell()
	s := d.sender(c)
	p := s.opts.Profile()
	p.Offices[0].Contacts = append(p.Offices[0].Contacts, contact(BySMS, "0912345678"), contact(ByZalo, "0912345678"))
	for _, channel := range []string{BySMS, ByZalo, ByWebhook} {
		s.send(t.Context(), channel)
	}
	var got []string
	for _, x := range m.Taken() {
		got = append(got, x.Channel)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"sms", "sms", "zalo", "zalo"}) {
		t.Errorf("%v came, want an alert and a test by each", got)
	}
}
