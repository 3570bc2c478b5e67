package alert

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/collector/profile"
)

func TestCriticalGoesTwoWays(t *testing.T) {
	const phone = "0912345678"
	mail, gateway := []string{"mail", "inet"}, []string{"inet"}
	tests := []struct {
		name     string
		contacts []profile.Contact
		channels map[string][]string // what each depends on
		breaks   string              // a service that is down already
		want     []string
		waits    string
	}{
		{"mail and a gateway share the Internet: the modem stands by", []profile.Contact{contact(ByMail, "a@d.test"), contact(BySMS, phone)},
			map[string][]string{ByMail: mail, BySMS: gateway, ByModem: nil}, "", []string{"mail a@d.test", "modem " + phone, "sms " + phone}, ""},
		{"a modem alone serves sms", []profile.Contact{contact(ByMail, "a@d.test"), contact(BySMS, phone)},
			map[string][]string{ByMail: mail, ByModem: nil}, "", []string{"mail a@d.test", "modem " + phone}, ""},
		{"the gateway's way is cut", []profile.Contact{contact(BySMS, phone)},
			map[string][]string{BySMS: gateway, ByModem: nil}, "inet", []string{"modem " + phone}, OneChannel},
		{"the next step of the roster has the other way", []profile.Contact{contact(ByMail, "a@d.test")},
			map[string][]string{ByMail: mail, ByWebhook: nil}, "", []string{"mail a@d.test", "webhook http://d.test/head"}, ""},
		{"there is no other way", []profile.Contact{contact(ByMail, "a@d.test"), contact(BySMS, phone)},
			map[string][]string{ByMail: mail, BySMS: gateway}, "", []string{"mail a@d.test", "sms " + phone}, OneChannel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newTown(t)
			w.view.Profile.Offices[0].Contacts = tt.contacts
			w.view.Channels = map[string]Channel{}
			for name, d := range tt.channels {
				w.view.Channels[name] = Channel{d}
			}
			if tt.breaks != "" {
				w.opens(tt.breaks, at(22, 1, 0))
			}
			w.opens("cong", at(22, 2, 0))
			messages, waiting := Plan(at(22, 2, 0), w.incidents(), nil, w.view)
			var got []string
			for _, m := range messages {
				if m.Items[0].Incident == "i-cong" {
					got = append(got, m.Channel+" "+m.To)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("told by %q, want %q", got, tt.want)
			}
			waits := ""
			for _, d := range waiting {
				if d.Incident == "i-cong" && d.Why == OneChannel {
					waits = d.Why
				}
			}
			if waits != tt.waits {
				t.Errorf("said %q, want %q", waits, tt.waits)
			}
		})
	}
}

func TestProgramsAreToldAtOnceAndCountForNobody(t *testing.T) {
	w := newTown(t)
	w.view.Channels[ByAlertmanager], w.view.Channels[BySiren] = Channel{}, Channel{}
	w.view.Always, w.view.Critical = []Address{{ByAlertmanager, "http://am"}}, []Address{{BySiren, "here"}}
	w.opens("tabmis", at(22, 2, 0)) // a Sunday, and not critical: people hear of it on Monday
	w.run(at(22, 2, 0), at(22, 6, 0))
	w.want("22 02:00 am critical: tabmis opened")
	w.closes("tabmis", at(22, 6, 0))
	w.run(at(22, 6, 0), at(23, 7, 31))
	w.want("22 02:00 am critical: tabmis opened", "22 06:00 am critical: tabmis closed", "23 07:30 tckh@d.test waiting_digest: tabmis closed")

	w = newTown(t)
	w.view.Channels[ByAlertmanager] = Channel{}
	w.view.Always = []Address{{ByAlertmanager, "http://am"}}
	w.opens("tabmis", at(22, 2, 0))
	w.run(at(22, 2, 0), at(23, 7, 50)) // the next step of the roster waits for people to have had their time
	w.want("22 02:00 am critical: tabmis opened", "23 07:30 tckh@d.test waiting_digest: tabmis opened")

	w = newTown(t)
	w.view.Channels[BySiren] = Channel{}
	w.view.Critical = []Address{{BySiren, "here"}}
	w.opens("cong", at(22, 2, 0))
	w.down[ByMail], w.down[ByWebhook] = true, true
	w.run(at(22, 2, 0), at(22, 2, 20))
	w.acks("cong", at(22, 2, 20))
	w.want("22 02:00 here critical: cong opened")
}

func TestWeeklyTest(t *testing.T) {
	w := newTown(t)
	w.view.TestDay, w.view.TestAt = time.Monday, 8*time.Hour+10*time.Minute
	w.run(at(22, 8, 10), at(23, 8, 9))
	w.want()
	w.run(at(23, 8, 10), at(23, 18, 0))
	w.want("23 08:10 chief@d.test weekly_test: ", "23 08:10 head weekly_test: ", "23 08:10 tckh@d.test weekly_test: ", "23 08:10 vhtt weekly_test: ", "23 08:10 vhtt@d.test weekly_test: ")
	w.log, w.sent = nil, map[string]Record{}
	w.run(at(23, 11, 11), at(23, 18, 0)) // the collector was away: too late
	w.want()
	c := Render(&Message{Key: "test-1", Test: true}, w.view.Profile, at(23, 8, 10))
	if !strings.Contains(c.Text, "thử") || !strings.Contains(c.Text, "weekly test") || c.Short == "" || c.Subject == "" {
		t.Errorf("%+v", c)
	}
	for s, want := range map[string]bool{"mon 08:10": true, "sun 23:59": true, never: true, "Monday 8": false, "mon": false, "mon 25:00": false} {
		if _, _, err := parseTest(s); (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestManyMessagesBecomeOne(t *testing.T) {
	w := newTown(t)
	w.view.Most = 3
	w.view.Channels = map[string]Channel{ByMail: {}}
	w.view.Profile.Roster = nil
	for i := range 6 {
		id := fmt.Sprintf("tabmis-%d", i)
		s := w.view.Profile.Services[2]
		s.ID = id
		w.view.Profile.Services = append(w.view.Profile.Services, s)
		w.opens(id, at(23, 10, i))
	}
	w.opens("cong", at(23, 10, 6)) // critical: never waits
	w.view.Profile.Services[1].Owner = "TCKH"
	w.run(at(23, 10, 0), at(23, 11, 10))
	w.want("23 10:00 tckh@d.test in_hours: tabmis-0 opened", "23 10:01 tckh@d.test in_hours: tabmis-1 opened", "23 10:02 tckh@d.test in_hours: tabmis-2 opened",
		"23 10:06 tckh@d.test critical: cong opened",
		"23 11:01 tckh@d.test waiting_digest: tabmis-3 opened, tabmis-4 opened, tabmis-5 opened")
}

func content() Content {
	return Content{Key: "i-cong.opened.ab12", Subject: `Gián đoạn: "Cổng"`, Short: "Gián đoạn: \"Cổng\". Từ 10:00. Máy chủ từ chối", Text: "dài\n", Why: NowCritical,
		Items: []Payload{{Incident: "i-cong", Event: Opened, Kind: "service", Service: "cong", Severity: "critical", Reason: "connect_refused", State: "down", Since: at(23, 9, 59), Opened: at(23, 10, 0),
			Text: Text{Title: "Gián đoạn: Cổng", System: "Cổng TTĐT", Unit: "Xã A", Since: "10:00"}, English: Text{Title: "Down: portal"}}}}
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGatewayTemplatesAreTriedBeforehand(t *testing.T) {
	tests := []struct {
		want string
		c    GatewayConfig
	}{
		{"none of esms", GatewayConfig{Preset: "viettel"}},
		{`secret "key" has no file`, GatewayConfig{Preset: "esms"}},
		{"no such file", GatewayConfig{Preset: "telegram", Secrets: map[string]string{"token": "/none"}}},
		{"it becomes no URL", GatewayConfig{URL: "gateway.test", Body: "{}"}},
		{"url:", GatewayConfig{URL: "https://{{.To", Body: "{}"}},
		{"body:", GatewayConfig{URL: "https://g.test", Body: "{{if}}"}},
		{"can't evaluate field Phone", GatewayConfig{URL: "https://g.test", Body: `{"to":{{.Phone | json}}}`}},
		{"it is no JSON", GatewayConfig{URL: "https://g.test", Body: `{"text":"{{.Short}}"}`}},
		{"headers: X:", GatewayConfig{URL: "https://g.test", Body: "{}", Headers: map[string]string{"X": "{{nope}}"}}},
		{"ca_file", GatewayConfig{URL: "https://g.test", Body: "{}", CAFile: "/none"}},
		{"more than 65536 bytes", GatewayConfig{URL: "https://g.test", Body: `"{{printf "%070000d" 1}}"`}},
	}
	for _, tt := range tests {
		if _, err := newGateway("sms", tt.c); err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 500 {
			t.Errorf("%.200v, want %s", err, tt.want)
		}
	}
}

func TestGatewayAnswers(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	private := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { private = true }))
	defer inside.Close()
	answers := map[string]func(w http.ResponseWriter){
		"":                      func(w http.ResponseWriter) { fmt.Fprint(w, `{"code":100,"more":[1]}`) },
		`says code "101"`:       func(w http.ResponseWriter) { fmt.Fprint(w, `{"code":"101"}`) },
		`says code ""`:          func(w http.ResponseWriter) { fmt.Fprint(w, `{}`) },
		"no JSON object":        func(w http.ResponseWriter) { fmt.Fprint(w, `<html>`) },
		"answered 500":          func(w http.ResponseWriter) { w.WriteHeader(500) },
		"redirects are not":     func(w http.ResponseWriter) { w.Header().Set("Location", inside.URL); w.WriteHeader(302) },
		"more than 65536 bytes": func(w http.ResponseWriter) { _, _ = w.Write(bytes.Repeat([]byte("x"), 100<<20)) },
	}
	for want, answer := range answers {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w) }))
		g, err := newGateway(BySMS, GatewayConfig{URL: srv.URL, Body: `{}`, Taken: TakenConfig{"code", "100"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.send(t.Context(), "1", content()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		srv.Close()
	}
	if private {
		t.Error("a redirect was followed")
	}
	g, err := newGateway(BySMS, GatewayConfig{URL: "http://127.0.0.1:1/bot{{secret \"token\"}}", Body: `{}`, Secrets: map[string]string{"token": secretFile(t, "bí-mật")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.send(t.Context(), "1", content()); err == nil || strings.Contains(err.Error(), "bot") || strings.Contains(err.Error(), "%C3") {
		t.Errorf("the error holds the secret of the URL: %v", err)
	}
}

func TestTelegram(t *testing.T) {
	var path, body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		path, body = r.URL.Path, string(b)
		fmt.Fprint(w, `{"ok":true,"result":{}}`)
	}))
	defer srv.Close()
	c := GatewayConfig{Preset: ByTelegram, Secrets: map[string]string{"token": secretFile(t, "12:ab\n")}}
	if err := c.fill(); err != nil {
		t.Fatal(err)
	}
	c.URL = strings.Replace(c.URL, "https://api.telegram.org", srv.URL, 1)
	g, err := newGateway(ByTelegram, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.send(t.Context(), "-100", content()); err != nil {
		t.Fatal(err)
	}
	if path != "/bot12:ab/sendMessage" || body != `{"chat_id":"-100","text":"dài\n"}` {
		t.Errorf("%s %s", path, body)
	}
}

func TestPhones(t *testing.T) {
	for in, want := range map[string]string{"0912 345 678": "84912345678", "+84912345678": "84912345678", "0084912345678": "84912345678", "84912345678": "84912345678"} {
		if got := phone84(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestSiren(t *testing.T) {
	out := filepath.Join(t.TempDir(), "said")
	s, err := newSiren(SirenConfig{Command: []string{"/bin/sh", "-c", `cat >"$0"; echo "$EGOVMON_TITLE/$EGOVMON_EVENT" >>"$0"`, out}})
	if err != nil {
		t.Skip(err)
	}
	if err := s.send(t.Context(), "here", content()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "dài\nGián đoạn: \"Cổng\"/opened\n" {
		t.Errorf("%q, %v", b, err)
	}
	s.command = []string{"/bin/sh", "-c", "exit 3"}
	if err := s.send(t.Context(), "here", content()); err == nil {
		t.Error("a program that failed counts as heard")
	}
	for _, c := range [][]string{nil, {"/none/x"}} {
		if _, err := newSiren(SirenConfig{Command: c}); err == nil {
			t.Errorf("%v was taken", c)
		}
	}
}

// TestSubmits compares with PDUs put together by hand from 3GPP TS 23.040.
func TestSubmits(t *testing.T) {
	got := submits("84912345678", "Ừ", 7)
	want := "00" + "01" + "00" + "0B" + "91" + "4819325476F8" + "00" + "08" + "02" + "1EEA"
	if len(got) != 1 || strings.ToUpper(hex.EncodeToString(got[0])) != want {
		t.Errorf("%x, want %s", got, want)
	}
	if got := submits("8491", "U\u031b\u0300", 7); hex.EncodeToString(got[0][len(got[0])-2:]) != "1eea" {
		t.Errorf("the letter is not composed: %x", got)
	}
	for text, want := range map[string][]int{"": {0}, strings.Repeat("ế", 70): {70}, strings.Repeat("ế", 71): {67, 4}, strings.Repeat("ế", 200): {67, 67, 66},
		strings.Repeat("ế", 400): {67, 67, 67}, strings.Repeat("a", 66) + "😀" + strings.Repeat("b", 9): {66, 11}} {
		var sizes []int
		for i, p := range submits("84912345678", text, 9) {
			data := p[14:]
			if len(data) != int(p[13]) {
				t.Fatalf("a part says that it has %d bytes, and has %d", p[13], len(data))
			}
			if len(want) > 1 {
				if !bytes.Equal(data[:6], []byte{5, 0, 3, 9, byte(len(want)), byte(i + 1)}) || p[1] != 0x41 {
					t.Errorf("the header of part %d is %x, %x", i, p[1], data[:6])
				}
				data = data[6:]
			}
			sizes = append(sizes, len(data)/2)
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("%.10s…: parts of %v, want %v", text, sizes, want)
		}
	}
}

func TestAlertmanagerConfig(t *testing.T) {
	for want, c := range map[string]AlertmanagerConfig{"name one": {}, "no URL": {URLs: []string{"am:9093"}}, "belong together": {URLs: []string{"http://a"}, User: "x"},
		"password_file": {URLs: []string{"http://a"}, User: "x", PasswordFile: "/none"}} {
		if _, err := newAlertmanager(c, time.Now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	var got []amAlert
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	a, err := newAlertmanager(AlertmanagerConfig{URLs: []string{srv.URL}}, func() time.Time { return at(23, 10, 0) })
	if err != nil {
		t.Fatal(err)
	}
	c := content()
	c.Items = append(c.Items, Payload{Event: Escalated + "-2"})
	if err := a.send(t.Context(), srv.URL, c); err != nil || len(got) != 1 || got[0].Labels["service"] != "cong" || !got[0].EndsAt.After(at(23, 10, 0)) {
		t.Errorf("%+v, %v", got, err)
	}
	c.Items[0].Closed = at(23, 11, 0)
	if err := a.send(t.Context(), srv.URL, c); err != nil || !got[0].EndsAt.Equal(at(23, 11, 0)) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A fakePort answers AT commands by a table.
type fakePort struct {
	answers map[string]string
	sent    *[]string
	out     chan []byte
	closed  chan struct{}
	in      bytes.Buffer
}

func newFakePort(answers map[string]string, sent *[]string) *fakePort {
	return &fakePort{answers: answers, sent: sent, out: make(chan []byte, 100), closed: make(chan struct{})}
}

func (p *fakePort) Read(b []byte) (int, error) {
	select {
	case <-p.closed:
		return 0, errors.New("port closed")
	case x := <-p.out:
		return copy(b, x), nil
	}
}

func (p *fakePort) Write(b []byte) (int, error) {
	p.in.Write(b)
	for {
		text := p.in.String()
		i := strings.IndexAny(text, "\r\x1a")
		if i < 0 {
			return len(b), nil
		}
		p.in.Next(i + 1)
		cmd := strings.Trim(text[:i], "\x1b")
		if cmd == "" {
			continue
		}
		*p.sent = append(*p.sent, cmd)
		name, _, _ := strings.Cut(cmd, "=")
		answer, ok := p.answers[name]
		if text[i] == '\x1a' {
			answer, ok = p.answers["pdu"]
		}
		if !ok {
			answer = "\r\nOK\r\n"
		}
		for part := range slices.Chunk([]byte(answer), 7) { // as a serial line gives it: in pieces
			p.out <- part
		}
	}
}

func (p *fakePort) Close() error { close(p.closed); return nil }

func TestModem(t *testing.T) {
	healthy := map[string]string{"AT+CPIN?": "\r\n+CPIN: READY\r\n\r\nOK\r\n", "AT+CREG?": "\r\n+CREG: 0,1\r\n\r\nOK\r\n", "AT+CMGS": "\r\n> ", "pdu": "\r\n+CMGS: 12\r\n\r\nOK\r\n"}
	with := func(k, v string) map[string]string {
		m := map[string]string{}
		maps.Copy(m, healthy)
		m[k] = v
		return m
	}
	tests := []struct {
		name    string
		answers map[string]string
		want    string
	}{
		{"sent", healthy, ""},
		{"roaming", with("AT+CREG?", "\r\n+CREG: 2,5,\"1A\",\"2B\"\r\nOK\r\n"), ""},
		{"a ring in between", with("AT+CREG?", "\r\nRING\r\n+CREG: 0,1\r\nOK\r\n"), ""},
		{"no card", with("AT+CPIN?", "\r\n+CME ERROR: 10\r\n"), "no SIM card"},
		{"a locked card", with("AT+CPIN?", "\r\n+CPIN: SIM PUK\r\nOK\r\n"), "locked"},
		{"a PIN is wanted", with("AT+CPIN?", "\r\n+CPIN: SIM PIN\r\nOK\r\n"), "set pin_file"},
		{"no network", with("AT+CREG?", "\r\n+CREG: 0,2\r\nOK\r\n"), "no mobile network"},
		{"not taken", with("pdu", "\r\n+CMS ERROR: 500\r\n"), "+CMS ERROR: 500"},
		{"taken without a reference", with("pdu", "\r\nOK\r\n"), "without a reference"},
		{"an endless line", with("AT+CPIN?", strings.Repeat("x", 700)+"\r\n"), "no answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := newModem(ModemConfig{Port: "/dev/none"})
			if err != nil {
				t.Fatal(err)
			}
			var sent []string
			m.open = func() (io.ReadWriteCloser, error) { return newFakePort(tt.answers, &sent), nil }
			ctx := t.Context()
			if tt.want == "no answer" {
				c, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				ctx, tt.want = c, "deadline"
			}
			err = m.send(ctx, "0912 345 678", content())
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if err == nil && (!slices.Contains(sent, "AT+CMGF=0") || !strings.HasPrefix(sent[len(sent)-1], "0001000B914819325476F80008")) {
				t.Errorf("sent %q", sent)
			}
		})
	}
}

func TestAWrongPINIsTriedOnce(t *testing.T) {
	m, err := newModem(ModemConfig{Port: "/dev/none", PINFile: secretFile(t, "1234\n")})
	if err != nil {
		t.Fatal(err)
	}
	var sent []string
	m.open = func() (io.ReadWriteCloser, error) {
		return newFakePort(map[string]string{"AT+CPIN?": "\r\n+CPIN: SIM PIN\r\nOK\r\n", "AT+CPIN": "\r\n+CME ERROR: 16\r\n"}, &sent), nil
	}
	for range 3 {
		if err := m.send(t.Context(), "0912345678", content()); err == nil || !strings.Contains(err.Error(), "PIN") || strings.Contains(err.Error(), "1234") {
			t.Errorf("%v", err)
		}
	}
	if n := len(slices.DeleteFunc(sent, func(s string) bool { return s != "AT+CPIN=1234" })); n != 1 {
		t.Errorf("the PIN was given %d times", n)
	}
}

func TestModemUnplugged(t *testing.T) {
	m, err := newModem(ModemConfig{Port: "/dev/egovmon-no-such-modem"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.send(t.Context(), "0912345678", content()); err == nil || !strings.Contains(err.Error(), "plugged in") {
		t.Errorf("%v", err)
	}
	for _, c := range []ModemConfig{{}, {Port: "x", Baud: 3}, {Port: "x", PINFile: "/none"}} {
		if _, err := newModem(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
