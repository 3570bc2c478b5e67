package mail

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// A Mailbox is one folder of a monitoring mailbox, whose newest letter can be asked for. No letter is opened and none is changed:
// the folder is examined (RFC 9051, section 6.3.3), and of one letter the date of its arrival is fetched.
type Mailbox struct {
	server        *server
	folder        string
	from, subject string
}

// MailboxOptions are the options that [NewMailbox] reads, without those of TLS, the address family and slow.
func MailboxOptions() []check.Option {
	return []check.Option{
		{Name: "address", Type: check.TypeAddress, Help: "A mailbox server (IMAP), as host:port, whose newest letter counts."},
		{Name: "starttls", Type: check.TypeString, Default: tlsImplicit, Enum: []string{tlsImplicit, tlsRequired},
			Help: "How the mailbox server begins TLS: implicit from the start (993), required by STARTTLS (143)."},
		{Name: "folder", Type: check.TypeString, Default: "INBOX", Help: "The mailbox's folder, as the server names it."},
		{Name: "from", Type: check.TypeString, Help: "Only letters whose From holds this text count."},
		{Name: "subject", Type: check.TypeString, Help: "Only letters whose Subject holds this text count."},
		pauseOption(),
	}
}

// MailboxFacts are the numbers that [Mailbox.Newest] may report, without those of TLS and the address family.
func MailboxFacts() []check.FactDef {
	var fs []check.FactDef
	for _, f := range serverFacts() {
		switch f.Name {
		case "starttls_code", "auth_plaintext_code", "login_code":
			fs = append(fs, f)
		}
	}
	return fs
}

// MailboxPhases are the steps that [Mailbox.Newest] may report, the last of them "total".
func MailboxPhases() []string {
	return []string{phaseDNS, phaseConnect, phaseGreeting, phaseHello, phaseSTARTTLS, phaseTLS, phaseLogin, phaseSearch, phaseTotal}
}

const phaseSearch = "search"

// NewMailbox reads the options. Its errors name the one that is wrong.
func NewMailbox(o check.Options, env check.Env) (*Mailbox, error) {
	s, err := newServer(o, env)
	if err != nil {
		return nil, err
	}
	if s.password == nil {
		return nil, fmt.Errorf("option \"user\": a mailbox needs its account: write user and password: {secret: NAME}")
	}
	s.bounds = bounds{line: 64 << 10, heard: 256 << 10} // a list of letters is one line
	m := &Mailbox{server: s, folder: o.String("folder"), from: o.String("from"), subject: o.String("subject")}
	for _, one := range [][2]string{{"folder", m.folder}, {"from", m.from}} {
		if !plainText(one[1]) {
			return nil, fmt.Errorf("option %q: %q: write printable ASCII without quotes and backslashes", one[0], one[1])
		}
	}
	if m.folder == "" {
		return nil, fmt.Errorf("option \"folder\": it is empty: write e.g. INBOX")
	}
	if strings.ContainsAny(m.subject, "\x00\r\n") || !utf8.ValidString(m.subject) || len(m.subject) > 200 {
		return nil, fmt.Errorf("option \"subject\": write at most 200 bytes on one line")
	}
	return m, nil
}

// plainText reports whether s can stand between quotes in a command as it is.
func plainText(s string) bool {
	return len(s) <= 200 && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) < 0
}

// Newest asks when the newest letter that counts arrived: the one of the highest number, which is the one that came into the folder
// last. at is zero when there is none since the day of since; matched is how many there are. The result tells how the conversation
// went; at means something when it is up or degraded.
func (m *Mailbox) Newest(ctx context.Context, since time.Time) (at time.Time, matched int, r check.Result) {
	r = m.server.visit(ctx, "z LOGOUT\r\n", func(s *session) *reach.Fault {
		c := &imapCheck{server: m.server}
		caps, bad := c.open(s)
		if bad != nil {
			return bad
		}
		begin := time.Now()
		defer s.add(phaseSearch, begin)
		box := mailboxView{s: s}
		if _, bad = box.must(`EXAMINE "`+m.folder+`"`, "opening the folder"); bad != nil {
			return bad
		}
		short := slices.Contains(caps, "ESEARCH") || slices.Contains(caps, "IMAP4REV2")
		var uid uint64
		if uid, matched, bad = m.search(&box, since, short); bad != nil || uid == 0 {
			return bad
		}
		said, bad := box.must(fmt.Sprintf("UID FETCH %d (UID INTERNALDATE)", uid), "FETCH")
		for _, one := range said {
			if f, ok := parseFetch(one.line); ok && f.uid == uid {
				at = f.placed
			}
		}
		if bad == nil && at.IsZero() {
			bad = reach.Failf(check.Protocol, "FETCH: the server does not say when letter %d arrived", uid)
		}
		return bad
	})
	return at, matched, r
}

// search returns the highest number of the letters that count, 0 for none.
func (m *Mailbox) search(box *mailboxView, since time.Time, short bool) (uid uint64, matched int, bad *reach.Fault) {
	command := "UID SEARCH "
	if short {
		command += "RETURN (MAX COUNT) " // RFC 4731
	}
	if m.subject != "" {
		command += "CHARSET UTF-8 "
	}
	command += "UNDELETED SINCE " + since.UTC().AddDate(0, 0, -1).Format("2-Jan-2006") // the server's zone may be another
	if m.from != "" {
		command += ` FROM "` + m.from + `"`
	}
	said, bad := m.ask(box, command)
	if bad != nil {
		return 0, 0, bad
	}
	for _, r := range said {
		switch words := strings.Fields(r.rest); r.word {
		case "SEARCH":
			for _, w := range words {
				n, err := strconv.ParseUint(w, 10, 32)
				if err != nil || n == 0 {
					return 0, 0, reach.Failf(check.Protocol, "SEARCH: %s is no number of a letter", told(w))
				}
				uid = max(uid, n)
			}
			matched += len(words)
		case "ESEARCH":
			for i := 0; i+1 < len(words); i++ {
				n, err := strconv.ParseUint(words[i+1], 10, 32)
				if err != nil {
					continue
				}
				switch strings.ToUpper(words[i]) {
				case "MAX":
					uid = n
				case "COUNT":
					matched = int(n)
				}
			}
		}
	}
	return uid, matched, nil
}

// ask sends a search, with the subject as a literal at its end: it may hold any letter. RFC 9051, section 4.3.
func (m *Mailbox) ask(box *mailboxView, command string) ([]response, *reach.Fault) {
	if m.subject == "" {
		return box.must(command, "SEARCH")
	}
	box.n++
	tag := "L" + strconv.Itoa(box.n)
	end, _, bad := box.s.command(tag, fmt.Sprintf("%s SUBJECT {%d}\r\n", command, len(m.subject)), "SEARCH")
	if bad != nil {
		return nil, bad
	}
	if end.tag != "+" {
		return nil, refusedByIMAP(end, "SEARCH")
	}
	if bad = box.s.say(m.subject + "\r\n"); bad != nil {
		return nil, bad
	}
	var said []response
	for range maxResponses {
		r, bad := box.s.response("SEARCH")
		switch {
		case bad != nil:
			return nil, bad
		case r.tag == tag && r.word == "OK":
			return said, nil
		case r.tag == tag:
			return nil, refusedByIMAP(r, "SEARCH")
		case r.tag != "*":
			return nil, reach.Failf(check.Protocol, "SEARCH: a line that belongs to no command: %s", told(r.line))
		}
		said = append(said, r)
	}
	return nil, reach.Failf(check.Protocol, "SEARCH: more than %d lines", maxResponses)
}
