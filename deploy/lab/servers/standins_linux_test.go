package servers

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
)

func TestClock(t *testing.T) {
	need(t, "chronyd")
	places(t, func(t *testing.T, p Place) {
		k := must[*Clock](t)(StartClock(t.Context(), p, ClockConfig{}))
		defer k.Stop()
		offset := func(want time.Duration) {
			t.Helper()
			c := must[net.Conn](t)(net.Dial("udp", k.Addr()))
			defer c.Close()
			q := make([]byte, 48)
			q[0] = 4<<3 | 3
			copy(q[40:], "question")
			must[int](t)(c.Write(q))
			a := make([]byte, 48)
			must[int](t)(c.Read(a))
			const from1900 = 2_208_988_800
			got := time.Until(time.Unix(int64(binary.BigEndian.Uint32(a[40:]))-from1900, 0))
			if a[0]&7 != 4 || a[1] != 3 || string(a[24:32]) != "question" || (got-want).Abs() > 30*time.Second {
				t.Errorf("offset %s, want %s; answer %x", got, want, a)
			}
		}
		offset(0)
		for _, ahead := range []time.Duration{5 * time.Minute, 5 * time.Minute, -5 * time.Minute, 0, 0} {
			if err := k.Shift(ahead); err != nil {
				t.Fatal(err)
			}
			offset(ahead)
		}
		for _, on := range []bool{true, true, false, false} {
			if err := k.Halt(on); err != nil {
				t.Fatal(err)
			}
		}
		offset(0)
	})
}

// ipp asks a printer, and returns the status and the answer's bytes.
func ipp(t *testing.T, s *Printer, operation uint16) (uint16, string) {
	t.Helper()
	q := binary.BigEndian.AppendUint16([]byte{2, 0}, operation)
	q = append(q, 0, 0, 0, 7, tagOperation, tagEnd)
	resp := must[*http.Response](t)(http.Post(s.URL(), "application/ipp", bytes.NewReader(q)))
	defer resp.Body.Close()
	a := must[[]byte](t)(io.ReadAll(resp.Body))
	if len(a) < 9 || binary.BigEndian.Uint32(a[4:]) != 7 || a[len(a)-1] != tagEnd {
		t.Fatalf("answer %x", a)
	}
	return binary.BigEndian.Uint16(a[2:]), string(a)
}

func TestPrinter(t *testing.T) {
	places(t, func(t *testing.T, p Place) {
		s := must[*Printer](t)(StartPrinter(t.Context(), p, PrinterConfig{Name: "may-in-mot-cua"}))
		defer s.Stop()
		idle := must[[]byte](t)(hex.DecodeString("23000d7072696e7465722d7374617465000400000003")) // printer-state, 4 bytes: idle
		if status, a := ipp(t, s, ippGetPrinter); status != ippOK || !strings.Contains(a, "may-in-mot-cua") || !strings.Contains(a, string(idle)) {
			t.Errorf("status %x, %x", status, a)
		}
		if status, _ := ipp(t, s, 0x0002); status != ippNotSupported {
			t.Errorf("a page was taken by IPP: %x", status)
		}
		if err := s.OutOfPaper(true); err != nil {
			t.Fatal(err)
		}
		if _, a := ipp(t, s, ippGetPrinter); !strings.Contains(a, "media-empty") || strings.Contains(a, string(idle)) {
			t.Errorf("%x", a)
		}
		port := func(reason check.Reason) look {
			return look{kind: "tcp", with: check.Options{"address": s.Addr()}, reason: reason}
		}
		walk(t, []step{
			{"on", nil, port(check.OK)},
			{"off", func() error { return s.Off(true) }, port(check.ConnectRefused)},
			{"on again", func() error { return s.Off(false) }, port(check.OK)},
		})
	})
}

func TestSignService(t *testing.T) {
	p := common(localhost(t))
	s := must[*SignService](t)(StartSignService(t.Context(), p, SignServiceConfig{}))
	defer s.Stop()
	old := localhost(t)
	ending := must[*SignService](t)(StartSignService(t.Context(), old, SignServiceConfig{Ends: time.Now().Add(48 * time.Hour)}))
	defer ending.Stop()
	service := func(s *SignService, reason check.Reason) look {
		return look{kind: "signservice", with: check.Options{"address": s.Addr()}, reason: reason}
	}
	walk(t, []step{
		{"on", nil, service(s, check.OK)},
		{"ending", nil, service(ending, check.CertExpiring)},
		{"off", func() error { return s.Off(true) }, service(s, check.ConnectRefused)},
		{"on again", func() error { return s.Off(false) }, service(s, check.OK)},
	})
	if s.Asked() != 0 {
		t.Error("a check asked it to do something")
	}
	c := must[*tls.Conn](t)(tls.Dial("tcp", s.Addr(), &tls.Config{InsecureSkipVerify: true}))
	defer c.Close()
	_, _ = io.WriteString(c, "GET /SignXML HTTP/1.1\r\nHost: 127.0.0.1:8987\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x00")
	answer := string(must[[]byte](t)(io.ReadAll(c)))
	// The key and its answer are the example of RFC 6455, section 1.3.
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.Contains(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") || !strings.HasSuffix(answer, "\x88\x02\x03\xf0") || s.Asked() != 1 {
		t.Errorf("asked %d, answer %q", s.Asked(), answer)
	}
}

func TestMobilePKI(t *testing.T) {
	p := localhost(t)
	pki := newPKI(t, p)
	server := must[*ServerIdentity](t)(pki.Server([]string{"mpki.test"}, p.IP))
	client := must[*Identity](t)(pki.G1.Issue("ap", &x509.Certificate{Subject: pkix.Name{CommonName: "ap"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))
	s := must[*MobilePKI](t)(StartMobilePKI(t.Context(), p, MobilePKIConfig{PKI: pki, Server: server, AP: "ap", Pass: "x"}))
	defer s.Stop()
	service := func(reason check.Reason) look {
		return look{kind: "mobilepki", with: check.Options{"url": s.URL(p.IP.String()), "roots": pki.Roots, "client_cert": client.CertFile, "client_key": client.KeyFile}, reason: reason}
	}
	walk(t, []step{
		{"on", nil, service(check.OK)},
		{"ending", func() error { return s.Use(Ending) }, service(check.CertExpiring)},
		{"off", func() error { return s.Dead(true) }, service(check.ConnectRefused)},
		{"on again", func() error { return s.Dead(false) }, service(check.CertExpiring)},
	})
	// Whoever asks it to sign is counted, and not let in.
	pair := must[tls.Certificate](t)(tls.LoadX509KeyPair(client.CertFile, client.KeyFile))
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp := must[*http.Response](t)(c.Post(s.URL(p.IP.String()), "text/xml", strings.NewReader("<Envelope><Body><MSS_Signature/></Body></Envelope>")))
	defer resp.Body.Close()
	if text := string(must[[]byte](t)(io.ReadAll(resp.Body))); !strings.Contains(text, "_104<") || s.Asked() != 1 {
		t.Errorf("asked %d times, answer %.200q", s.Asked(), text)
	}
}

func TestMessages(t *testing.T) {
	places(t, func(t *testing.T, p Place) {
		m := must[*Messages](t)(StartMessages(t.Context(), p, MessagesConfig{APIKey: "k", SecretKey: "s", Token: "t", Templates: []string{"7"}}))
		defer m.Stop()
		post := func(path, token, body string) string {
			t.Helper()
			r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, m.URL()+path, strings.NewReader(body)))
			r.Header.Set("access_token", token)
			resp := must[*http.Response](t)(http.DefaultTransport.RoundTrip(r))
			defer resp.Body.Close()
			return string(must[[]byte](t)(io.ReadAll(resp.Body)))
		}
		const sms, zalo = "/MainService.svc/json/SendMultipleMessage_V4_post_json/", "/message/template"
		const right = `{"phone":"84912345678","template_id":"7","template_data":{"xa":"Tứ Kỳ","phut":5},"tracking_id":"a1"}`
		for _, tt := range []struct{ path, token, body, want string }{
			{sms, "", `{"ApiKey":"k","SecretKey":"s","Phone":"0912345678","Content":"Mat mang","SmsType":"2"}`, `"CodeResult":"100"`},
			{sms, "", `{"ApiKey":"k","SecretKey":"x","Phone":"0912345678","Content":"Mat mang"}`, `"CodeResult":"101"`},
			{sms, "", `{"ApiKey":"k","SecretKey":"s"}`, `"CodeResult":"99"`},
			{sms, "", `{`, `"CodeResult":"99"`},
			{zalo, "t", right, `"msg_id":"`},
			{zalo, "x", right, `"error":-124`},
			{zalo, "t", `{"phone":"0912345678","template_id":"7"}`, `"error":-108`},
			{zalo, "t", `{"phone":"84912345678","template_id":"8"}`, `"error":-112`},
		} {
			if got := post(tt.path, tt.token, tt.body); !strings.Contains(got, tt.want) {
				t.Errorf("%s %s: %s, want %s", tt.path, tt.body, got, tt.want)
			}
		}
		taken := m.Taken()
		if len(taken) != 2 || taken[0].Text != "Mat mang" || taken[1].Data["xa"] != "Tứ Kỳ" || taken[1].Data["phut"] != "5" || taken[1].Tracking != "a1" {
			t.Errorf("taken %+v", taken)
		}
		if err := m.Refuse(true); err != nil {
			t.Fatal(err)
		}
		if got := post(zalo, "t", right); !strings.Contains(got, "-124") || len(m.Taken()) != 2 {
			t.Errorf("refused: %s", got)
		}
		port := func(reason check.Reason) look {
			return look{kind: "tcp", with: check.Options{"address": m.Addr()}, reason: reason}
		}
		walk(t, []step{{"dead", func() error { return m.Dead(true) }, port(check.ConnectRefused)}, {"alive", func() error { return m.Dead(false) }, port(check.OK)}})
	})
}

// What is sent without end is not kept.
func TestBounds(t *testing.T) {
	p := localhost(t)
	m := must[*Messages](t)(StartMessages(t.Context(), p, MessagesConfig{}))
	defer m.Stop()
	for size, want := range map[int]string{maxBody / 2: `"CodeResult":"100"`, maxBody: `"CodeResult":"99"`} {
		body := `{"Phone":"0912345678","Content":"` + strings.Repeat("x", size) + `"}`
		resp := must[*http.Response](t)(http.Post(m.URL()+"/MainService.svc/json/SendMultipleMessage_V4_post_json/", "application/json", strings.NewReader(body)))
		got := string(must[[]byte](t)(io.ReadAll(resp.Body)))
		resp.Body.Close()
		if !strings.Contains(got, want) {
			t.Errorf("%d bytes: %.100s, want %s", size, got, want)
		}
	}
	for range maxMessages + 1 {
		m.take(Message{})
	}
	if n := len(m.Taken()); n != maxMessages {
		t.Errorf("%d messages are kept", n)
	}
	site := &Site{c: SiteConfig{Kind: OneStopSite}, sessions: map[string]*session{}}
	form := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://motcua.lab/dang-nhap", nil))
	for range maxSessions + 1 {
		site.ServeHTTP(&answer{header: http.Header{}}, form)
	}
	if n := len(site.sessions); n == 0 || n > maxSessions {
		t.Errorf("%d sessions are kept", n)
	}
}
