package mail

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// maxReplyLines bounds one reply; no server has so many extensions.
const maxReplyLines = 100

// A reply is one answer of an SMTP server. RFC 5321, section 4.2.
type reply struct {
	code  int
	lines []string // their texts, at least one
}

// String is the reply for a person, on one line.
func (r reply) String() string { return told(fmt.Sprintf("%d %s", r.code, strings.Join(r.lines, " "))) }

// numbers is the code and the enhanced status (RFC 3463), without the server's words.
func (r reply) numbers() string {
	word, _, _ := strings.Cut(r.lines[0], " ")
	for part := range strings.SplitSeq(word, ".") {
		if n, err := strconv.ParseUint(part, 10, 10); err != nil || strings.Count(word, ".") != 2 || n > 999 {
			return strconv.Itoa(r.code)
		}
	}
	return strconv.Itoa(r.code) + " " + word
}

// refused is the fault of a server that does not want to go on.
func (r reply) refused(what string) *reach.Fault {
	if r.code/100 == 4 || r.code/100 == 5 {
		return reach.Failf(check.MailRejected, "%s is answered %s", what, r)
	}
	return reach.Failf(check.Protocol, "%s is answered %s", what, r)
}

// ask sends a command and reads the reply.
func (s *session) ask(command, what string) (reply, *reach.Fault) {
	if bad := s.say(command); bad != nil {
		return reply{}, bad
	}
	return s.reply(what)
}

// reply reads one reply.
func (s *session) reply(to string) (reply, *reach.Fault) {
	var r reply
	for {
		line, err := s.line()
		if err != nil {
			return reply{}, broken(to, err)
		}
		code, text, last, err := parseReplyLine(line)
		switch {
		case err != nil:
			if what := stranger(line); what != "" {
				return reply{}, reach.Failf(check.Protocol, "%s, not SMTP", what)
			}
			return reply{}, reach.Failf(check.Protocol, "%s: %s", to, err)
		case r.code != 0 && code != r.code:
			return reply{}, reach.Failf(check.Protocol, "%s: a reply that begins with %d goes on with %d", to, r.code, code)
		case len(r.lines) == maxReplyLines:
			return reply{}, reach.Failf(check.Protocol, "%s: a reply of more than %d lines", to, maxReplyLines)
		}
		r.code = code
		r.lines = append(r.lines, text)
		if last {
			s.remember(r.code)
			return r, nil
		}
	}
}

// remember keeps the code as a fact: the last one counts.
func (s *session) remember(code int) {
	for i := range s.facts {
		if s.facts[i].Name == "reply_code" {
			s.facts[i].Value = float64(code)
			return
		}
	}
	s.facts.Add("reply_code", float64(code))
}

var errNoReply = errors.New("the server's line does not begin with a reply code")

// parseReplyLine reads `250-text` or `250 text`; a bare `250` is a last line too.
func parseReplyLine(line []byte) (code int, text string, last bool, err error) {
	if len(line) < 3 {
		return 0, "", false, errNoReply
	}
	for _, b := range line[:3] {
		if b < '0' || b > '9' {
			return 0, "", false, errNoReply
		}
		code = 10*code + int(b-'0')
	}
	if code < 200 || code > 599 {
		return 0, "", false, fmt.Errorf("%w from 200 to 599", errNoReply)
	}
	if len(line) == 3 {
		return code, "", true, nil
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, "", false, errNoReply
	}
	return code, string(line[4:]), line[3] == ' ', nil
}

// extensions are the words after each keyword that a server offers, by keyword in capital letters.
type extensions map[string][]string

// parseExtensions reads the lines of an answer to EHLO after the first. RFC 5321, section 4.1.1.1.
func parseExtensions(lines []string) extensions {
	e := extensions{}
	for _, line := range lines {
		// "AUTH=PLAIN LOGIN" is how programs from before RFC 4954 were told.
		words := strings.Fields(strings.ToUpper(strings.Replace(line, "=", " ", 1)))
		if len(words) > 0 {
			e[words[0]] = append(e[words[0]], words[1:]...)
		}
	}
	return e
}

func (e extensions) has(keyword string) bool { _, ok := e[keyword]; return ok }

// mechanisms lists the ways to log in, sorted.
func (e extensions) mechanisms() []string {
	m := slices.Clone(e["AUTH"])
	slices.Sort(m)
	return slices.Compact(m)
}

// report adds the numbers of the extensions.
func (e extensions) report(s *session) {
	s.facts.Add("extensions_count", float64(len(e)))
	s.facts.Add("auth_mechanisms_count", float64(len(e.mechanisms())))
	if v := e["SIZE"]; len(v) > 0 {
		if n, err := strconv.ParseUint(v[0], 10, 53); err == nil && n > 0 {
			s.facts.Add("size_limit_bytes", float64(n))
		}
	}
}

// saslPlain is the one message of the mechanism PLAIN. RFC 4616.
func saslPlain(user, password string) string { return base64Of("\x00" + user + "\x00" + password) }

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
