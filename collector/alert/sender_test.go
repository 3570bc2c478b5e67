package alert

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/collector/incident"
	"egovmon/collector/profile"
)

// A desk is a Sender over the time, with a webhook that answers as told.
type desk struct {
	t      *testing.T
	town   *town
	dir    string
	now    atomic.Int64
	status atomic.Int32
	came   chan string // deliveries, as they come in
	url    string

	mu        sync.Mutex
	incidents []incident.Incident
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, town: newTown(t), dir: filepath.Join(t.TempDir(), "outbox"), came: make(chan string, 100)}
	d.status.Store(200)
	d.set(at(23, 10, 0))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(int(d.status.Load()))
		d.came <- r.Header.Get(HeaderDelivery)
	}))
	t.Cleanup(srv.Close)
	d.url = srv.URL
	return d
}

func (d *desk) set(now time.Time) { d.now.Store(now.Unix()) }
func (d *desk) clock() time.Time  { return time.Unix(d.now.Load(), 0) }
func (d *desk) all() []incident.Incident {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.incidents
}

// tell takes over what the town says.
func (d *desk) tell() {
	all := d.town.incidents()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.incidents = all
}

func (d *desk) sender(c Config) *Sender {
	d.t.Helper()
	p := district()
	p.Offices[0].Contacts = []profile.Contact{contact(ByWebhook, d.url), contact(ByMail, "vhtt@d.test")}
	p.Roster = nil
	if c.Test == "" {
		c.Test = never
	}
	s, err := New(Options{Dir: d.dir, Config: c, Incidents: d.all, Profile: func() *profile.Profile { return p }, Now: d.clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// while runs a sender during what is done.
func (d *desk) while(s *Sender, do func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	do()
	cancel()
	if err := <-done; err != nil {
		d.t.Error(err)
	}
}

// next waits for a call.
func (d *desk) next() string {
	d.t.Helper()
	select {
	case k := <-d.came:
		return k
	case <-time.After(30 * time.Second):
		d.t.Fatal("no call came")
		return ""
	}
}

func (d *desk) quiet() {
	d.t.Helper()
	select {
	case k := <-d.came:
		d.t.Errorf("%s came, and nothing should", k)
	default:
	}
}

func hooks() Config { return Config{Webhook: &WebhookConfig{}} }

func TestARestartNeitherLosesNorRepeats(t *testing.T) {
	d := newDesk(t)
	d.status.Store(500)
	d.town.opens("cong", at(23, 10, 0))
	d.tell()
	var first string
	s := d.sender(hooks())
	d.while(s, func() { first = d.next() })
	if diff := cmp.Diff([]Count{{ByWebhook, ResultError, 1}, {ByWebhook, ResultOK, 0}}, s.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	s = d.sender(hooks()) // the first attempt failed: the next one waits
	s.send(t.Context(), ByWebhook)
	d.quiet()
	d.set(at(23, 10, 1))
	d.status.Store(200)
	d.while(s, func() {
		if again := d.next(); again != first {
			t.Errorf("the second attempt is of %s, the first was of %s", again, first)
		}
	})
	for range 3 { // told is told
		d.set(d.clock().Add(time.Hour))
		s = d.sender(hooks())
		s.send(t.Context(), ByWebhook)
	}
	d.quiet()
	told := s.Told("i-cong")
	if len(told) != 1 || told[0].Attempts != 2 || told[0].At.IsZero() {
		t.Errorf("told: %+v", told)
	}
	d.town.closes("cong", d.clock())
	d.tell()
	s = d.sender(hooks())
	s.send(t.Context(), ByWebhook)
	s.send(t.Context(), ByWebhook)
	if k := d.next(); !strings.Contains(k, ".closed.") {
		t.Errorf("the all-clear is %s", k)
	}
	d.quiet()
}

func TestKilledBetweenSentAndRecorded(t *testing.T) {
	d := newDesk(t)
	d.town.opens("cong", at(23, 10, 0))
	d.tell()
	s := d.sender(hooks())
	s.send(t.Context(), ByWebhook)
	first := d.next()
	r := s.outbox.all()[first]
	r.Sent, r.Next = time.Time{}, at(23, 10, 0).Add(retryFirst) // as the file was when the attempt began
	if err := s.outbox.put(r); err != nil {
		t.Fatal(err)
	}
	s = d.sender(hooks())
	d.set(at(23, 10, 1))
	s.send(t.Context(), ByWebhook)
	if again := d.next(); again != first {
		t.Errorf("the repeat does not carry the name of the first: %s, %s", again, first)
	}
}

func TestWhatCannotBeRememberedIsNotSent(t *testing.T) {
	d := newDesk(t)
	d.town.opens("cong", at(23, 10, 0))
	d.tell()
	s := d.sender(hooks())
	if err := os.RemoveAll(d.dir); err != nil {
		t.Fatal(err)
	}
	s.send(t.Context(), ByWebhook)
	d.quiet()
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.send(t.Context(), ByWebhook)
	d.next()
}

func TestAResultThatCannotBeKeptIsRemembered(t *testing.T) {
	d := newDesk(t)
	d.town.opens("cong", at(23, 10, 0))
	d.tell()
	s := d.sender(hooks())
	s.transports[ByWebhook] = breaker{s.transports[ByWebhook], d.dir}
	s.send(t.Context(), ByWebhook)
	d.next()
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d.set(d.clock().Add(time.Hour))
	s.send(t.Context(), ByWebhook)
	d.quiet()
}

// A breaker takes the outbox's folder away while a message is under way.
type breaker struct {
	transport
	dir string
}

func (b breaker) send(ctx context.Context, to string, c Content) error {
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	return b.transport.send(ctx, to, c)
}

func TestOutboxRefusesWhatItCannotRead(t *testing.T) {
	for name, text := range map[string]string{"torn": `{"version":1,"k`, "newer": `{"version":2,"key":"x"}`, "another's": `{"version":1,"key":"y"}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openOutbox(dir, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.json.12.new"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := openOutbox(dir, slog.New(slog.DiscardHandler))
	if err != nil || len(o.all()) != 0 {
		t.Errorf("a leftover of a crash: %v, %d records", err, len(o.all()))
	}
	for _, key := range []string{"", "../x", "a/b", ".x"} {
		if err := o.put(Record{Key: key}); err == nil {
			t.Errorf("%q became the name of a file", key)
		}
	}
}

func TestPruneKeepsWhatIsOpen(t *testing.T) {
	o, err := openOutbox(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Record{{Key: "old", First: at(1, 0, 0), Covers: []Cover{{"a", Opened}}}, {Key: "open", First: at(1, 0, 0), Covers: []Cover{{"b", Opened}}},
		{Key: "young", First: at(23, 0, 0), Covers: []Cover{{"c", Opened}}}} {
		if err := o.put(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.prune(at(1, 0, 0).Add(keepRecords), map[string]bool{"b": true}); err != nil {
		t.Fatal(err)
	}
	again, err := openOutbox(o.dir, slog.New(slog.DiscardHandler))
	if err != nil || len(again.all()) != 2 || again.all()["old"].Key != "" {
		t.Errorf("left: %v, %v", again.all(), err)
	}
}

// relay answers SMTP line by line as told; what is not told gets no answer.
func relay(t *testing.T, answers map[string]string) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				_, _ = io.WriteString(conn, answers["hello"])
				in := bufio.NewScanner(conn)
				for in.Scan() {
					word, _, _ := strings.Cut(in.Text(), " ")
					if a := answers[word]; a == "hang up" {
						_ = conn.Close()
					} else if a != "" {
						_, _ = io.WriteString(conn, a)
					}
				}
			}()
		}
	}()
	a, _ := l.Addr().(*net.TCPAddr)
	return a
}

// takes returns the answers of a relay that takes every letter, but for what is told.
func takes(change map[string]string) map[string]string {
	a := map[string]string{"hello": "220 r ESMTP\r\n", "EHLO": "250 r\r\n", "MAIL": "250 ok\r\n", "RCPT": "250 ok\r\n", "DATA": "354 go\r\n", ".": "250 taken\r\n", "QUIT": "221 bye\r\n", "RSET": "250 ok\r\n"}
	maps.Copy(a, change)
	return a
}

func TestRelayFaults(t *testing.T) {
	good := takes
	tests := []struct {
		name    string
		answers map[string]string
		tls     string
		want    string // of the error; "" for none
	}{
		{"takes it", good(nil), TLSNone, ""},
		{"says nothing", map[string]string{}, TLSNone, "no answer within"},
		{"hangs at the end of the letter", good(map[string]string{".": ""}), TLSNone, "no answer within"},
		{"hangs up at the end of the letter", good(map[string]string{".": "hang up"}), TLSNone, "EOF"},
		{"takes it and hangs up", good(map[string]string{"QUIT": "hang up"}), TLSNone, ""},
		{"refuses the sender", good(map[string]string{"MAIL": "550 no\r\n"}), TLSNone, "550"},
		{"refuses the letter", good(map[string]string{".": "451 later\r\n"}), TLSNone, "451"},
		{"never stops talking", good(map[string]string{"EHLO": strings.Repeat("250-x\r\n", 200_000)}), TLSNone, "more than"},
		{"offers no STARTTLS", good(nil), TLSRequired, "STARTTLS"},
	}
	for _, tt := range tests {
		addr := relay(t, tt.answers)
		m, err := newMailer(MailConfig{Host: "127.0.0.1", Port: addr.Port, STARTTLS: tt.tls, From: "egovmon@d.test"})
		if err != nil {
			t.Fatal(err)
		}
		m.within = 500 * time.Millisecond
		err = m.send(t.Context(), "vhtt@d.test", Content{Key: "k", Subject: "Gián đoạn", Text: "Thư\n"})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestAHangingRelayHoldsNoWebhookUp(t *testing.T) {
	d := newDesk(t)
	d.town.opens("cong", at(23, 10, 0))
	d.tell()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, _ := l.Addr().(*net.TCPAddr)
	s := d.sender(Config{Mail: &MailConfig{Host: "127.0.0.1", Port: addr.Port, STARTTLS: TLSNone, From: "egovmon@d.test"}, Webhook: &WebhookConfig{}})
	m, _ := s.transports[ByMail].(*mailer)
	m.within = 2 * time.Second
	d.while(s, func() {
		conn, err := l.Accept() // and not a word
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		d.next()
	})
	if diff := cmp.Diff([]Count{{ByMail, ResultError, 1}, {ByMail, ResultOK, 0}, {ByWebhook, ResultError, 0}, {ByWebhook, ResultOK, 1}}, s.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// TestEscalationsAreTold: who keeps the life of incidents is told of a step before it is tried, even when it fails; of an opening
// nobody is.
func TestEscalationsAreTold(t *testing.T) {
	d := newDesk(t)
	d.status.Store(500)
	s := d.sender(Config{Webhook: &WebhookConfig{}})
	var told []string
	s.opts.Escalated = func(_ context.Context, id string, step profile.Name) { told = append(told, id+" "+step.VI) }
	for _, event := range []string{Opened, Escalated + "-2", Closed} {
		m := Message{Key: "k." + event, Address: Address{ByWebhook, d.url}, Items: []Item{{Cover: Cover{"x", event}, Step: profile.Name{VI: "Trưởng phòng"}}}}
		s.try(t.Context(), &m, s.opts.Profile())
	}
	if diff := cmp.Diff([]string{"x Trưởng phòng"}, told); diff != "" {
		t.Error(diff)
	}
}

// TestARelayThatTakesAndLoses: a letter that a relay has taken counts as sent, whatever became of it. Only a person's word says
// that it was read: without it the next step of the roster is told, by another way.
func TestARelayThatTakesAndLoses(t *testing.T) {
	for _, acked := range []bool{false, true} {
		d := newDesk(t)
		d.town.opens("cong", at(23, 9, 0))
		if acked {
			d.town.acks("cong", at(23, 9, 10))
		}
		d.tell()
		s := d.sender(Config{Mail: &MailConfig{Host: "127.0.0.1", Port: relay(t, takes(nil)).Port, STARTTLS: TLSNone, From: "egovmon@d.test"}, Webhook: &WebhookConfig{}})
		p := district()
		p.Offices[0].Contacts = []profile.Contact{contact(ByMail, "vhtt@d.test")}
		p.Services[1].Severity = profile.Major // one way: what is critical goes by two at once
		p.Roster = p.Roster[:2]
		p.Roster[1].Contacts = []profile.Contact{contact(ByWebhook, d.url)}
		s.opts.Profile = func() *profile.Profile { return p }
		for now := at(23, 9, 0); now.Before(at(23, 10, 0)); now = now.Add(time.Minute) {
			d.set(now)
			s.send(t.Context(), ByMail)
			s.send(t.Context(), ByWebhook)
			if early := now.Before(at(23, 9, 30)); early && len(d.came) > 0 {
				t.Fatalf("the next step is told at %s already", now.Format("15:04"))
			}
		}
		want := 1
		if acked {
			want = 0
		}
		if got := len(d.came); got != want {
			t.Errorf("acknowledged %v: the next step is told %d times, want %d", acked, got, want)
		}
		if diff := cmp.Diff([]Count{{ByMail, ResultError, 0}, {ByMail, ResultOK, 1}, {ByWebhook, ResultError, 0}, {ByWebhook, ResultOK, uint64(want)}}, s.Counts()); diff != "" {
			t.Errorf("acknowledged %v: counts (-want +got):\n%s", acked, diff)
		}
	}
}

// TestAnHourOf500: a webhook that fails for an hour is tried ever more rarely, always with the same delivery, and told once when
// it is well again.
func TestAnHourOf500(t *testing.T) {
	d := newDesk(t)
	d.status.Store(500)
	d.town.opens("cong", at(23, 9, 0))
	d.tell()
	s := d.sender(hooks())
	p := s.opts.Profile()
	p.Offices[0].Contacts = []profile.Contact{contact(ByWebhook, d.url)}
	var when []string
	keys := map[string]bool{}
	for now := at(23, 9, 0); now.Before(at(23, 10, 30)); now = now.Add(5 * time.Second) {
		if now.Equal(at(23, 10, 0)) {
			d.status.Store(200)
		}
		d.set(now)
		s.send(t.Context(), ByWebhook)
		for len(d.came) > 0 {
			keys[<-d.came] = true
			when = append(when, now.Format("15:04:05"))
		}
	}
	want := []string{"09:00:00", "09:00:15", "09:00:45", "09:01:45", "09:03:45", "09:07:45", "09:15:45", "09:30:45", "09:45:45", "10:00:45"}
	if diff := cmp.Diff(want, when); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if len(keys) != 1 {
		t.Errorf("the attempts name %d deliveries, want one: whoever is called cannot tell a repetition", len(keys))
	}
	if diff := cmp.Diff([]Count{{ByWebhook, ResultError, 9}, {ByWebhook, ResultOK, 1}}, s.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
