package mail

import (
	"testing"
	"time"

	"egovmon/agent/check"
)

// Dovecot finds a letter by its subject and sender, and tells when it arrived; nothing in the mailbox changes.
func TestMailboxOfDovecot(t *testing.T) {
	m, pki := startMailServer(t)
	o := check.Options{"address": m.IMAPS(), "roots": pki.Roots, "server_name": "mail.test", "user": userName, "password": "mailbox", "subject": "Tứ Kỳ", "from": "truc@vpcp.test"}
	if at, n, r := newestIn(t, o, 20*time.Second); !at.IsZero() || n != 0 || r.Reason != check.OK {
		t.Errorf("an empty mailbox: %d, %s %q", n, r.Reason, r.Detail)
	}
	for _, letter := range []string{
		"From: truc@vpcp.test\r\nSubject: =?UTF-8?B?VsSDbiBi4bqjbiBU4bupIEvhu7M=?=\r\n\r\nx", // Văn bản Tứ Kỳ
		"From: other@vpcp.test\r\nSubject: =?UTF-8?B?VsSDbiBi4bqjbiBU4bupIEvhu7M=?=\r\n\r\nx",
	} {
		if err := m.Put(userName, []byte(letter)); err != nil {
			t.Fatal(err)
		}
	}
	// Its clock is the machine's.
	box, err := NewMailbox(optionsOf(t, o), envOf(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		at, n, r := box.Newest(t.Context(), time.Now().AddDate(0, 0, -7))
		if n != 1 || time.Since(at).Abs() > time.Hour || r.Reason != check.OK {
			t.Errorf("%d, the newest of %s, %s %q", n, at, r.Reason, r.Detail)
		}
	}
}
