package alert

import (
	"bytes"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/collector/alert/alerttest"
)

func TestPostfixTakesOneLetterAnEvent(t *testing.T) {
	relay := alerttest.Start(t)
	d := newDesk(t)
	d.town.opens("cong", at(23, 10, 0))
	d.tell()
	config := Config{Mail: &MailConfig{Host: "127.0.0.1", Port: relay.Port, CAFile: relay.CA, From: "egovmon@d.test"}}
	letters := func() []string {
		names, _ := filepath.Glob(filepath.Join(relay.Mail, "*"))
		return names
	}
	for range 3 { // restarts
		d.sender(config).send(t.Context(), ByMail)
		d.set(d.clock().Add(time.Minute))
	}
	alerttest.Until(t, "the alert is in the mailbox", func() bool { return len(letters()) == 1 })
	raw, err := os.ReadFile(letters()[0])
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "Gián đoạn: Cổng TTĐT huyện" {
		t.Errorf("subject %q, %v", subject, err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || !strings.Contains(string(body), "Hệ thống: Cổng TTĐT huyện\n") {
		t.Errorf("body %q, %v", body, err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || !strings.Contains(m.Header.Get("Message-ID"), "<i-cong.opened.") ||
		!strings.Contains(string(raw), "with ESMTPS") {
		t.Errorf("headers:\n%s", raw)
	}
	d.town.closes("cong", d.clock())
	d.tell()
	for range 3 {
		d.sender(config).send(t.Context(), ByMail)
		d.set(d.clock().Add(time.Minute))
	}
	alerttest.Until(t, "the all-clear is in the mailbox", func() bool { return len(letters()) >= 2 })
	if n := len(letters()); n != 2 {
		t.Errorf("%d letters, want one alert and one all-clear", n)
	}
}

func TestPostfixWithAnUnknownAuthority(t *testing.T) {
	relay := alerttest.Start(t)
	m, err := newMailer(MailConfig{Host: "127.0.0.1", Port: relay.Port, STARTTLS: TLSRequired, From: "egovmon@d.test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.send(t.Context(), "vhtt@d.test", Content{Key: "k", Text: "x"}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the relay's certificate was believed: %v", err)
	}
}
