package mail

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

const (
	maxResponses = 100     // lines that answer one command
	maxQuota     = 1 << 53 // the largest whole number a fact keeps
	maxFilled    = 1e6     // a mailbox fuller than that is no fuller
)

// A response is one line of an IMAP server, its literals put in as quoted strings. RFC 9051, section 7.
type response struct {
	tag  string // "*", "+" or the command's
	word string // OK, NO, BYE, CAPABILITY, …, in capital letters
	rest string
	line string // all of it
}

// parseResponse takes a line apart. A line without a second word has an empty one.
func parseResponse(line string) response {
	r := response{line: line}
	var after string
	r.tag, after, _ = strings.Cut(line, " ")
	r.word, r.rest, _ = strings.Cut(after, " ")
	r.word = strings.ToUpper(r.word)
	return r
}

// response reads one response with its literals.
func (s *session) response(to string) (response, *reach.Fault) {
	var b strings.Builder
	for {
		line, err := s.line()
		if err != nil {
			return response{}, broken(to, err)
		}
		n, at, ok := literalSize(line)
		if !ok {
			b.Write(line)
			return parseResponse(b.String()), nil
		}
		if most := s.server.bounds.or().heard; n > uint64(most) || s.heard+int(n) > most {
			return response{}, reach.Failf(check.Protocol, "%s: a literal of %d bytes, more than fit", to, n)
		}
		b.Write(line[:at])
		text := make([]byte, n)
		if _, err := io.ReadFull(s.in, text); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF // what is cut short here is the conversation
			}
			return response{}, broken(to, err)
		}
		s.heard += int(n)
		b.WriteString(strconv.Quote(string(text)))
	}
}

// literalSize returns the number in {n} or {n+} at the end of a line, and where that begins.
func literalSize(line []byte) (n uint64, at int, ok bool) {
	if len(line) < 3 || line[len(line)-1] != '}' {
		return 0, 0, false
	}
	at = strings.LastIndexByte(string(line), '{')
	if at < 0 {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(string(line[at+1:len(line)-1]), "+"), 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		return 1<<63 - 1, at, true
	}
	return n, at, err == nil
}

// command sends a command and reads until it is answered. It returns the answer and what was said before it.
func (s *session) command(tag, command, what string) (end response, said []response, bad *reach.Fault) {
	if bad = s.say(tag + " " + command); bad != nil {
		return response{}, nil, bad
	}
	for range maxResponses {
		r, bad := s.response(what)
		switch {
		case bad != nil:
			return response{}, nil, bad
		case r.tag == tag:
			return r, said, nil
		case r.tag == "+":
			return r, said, nil
		case r.tag != "*":
			return response{}, nil, reach.Failf(check.Protocol, "%s: a line that belongs to no command: %s", what, told(r.line))
		case r.word == "BYE":
			return response{}, nil, reach.Failf(check.MailRejected, "%s: the server closes: %s", what, told(r.rest))
		}
		said = append(said, r)
	}
	return response{}, nil, reach.Failf(check.Protocol, "%s: more than %d lines", what, maxResponses)
}

// inParts logs in with a command that is sent part by part, each when the server asks for more. What the server says
// is kept out of the faults: it may repeat what it was told.
func (s *session) inParts(tag string, parts []string) (response, *reach.Fault) {
	parts[0] = tag + " " + parts[0]
	for i, p := range parts {
		if bad := s.say(p); bad != nil {
			return response{}, bad
		}
		r, bad := s.untilTagged(tag)
		if bad != nil || r.tag == tag {
			return r, bad
		}
		if i == len(parts)-1 {
			break
		}
	}
	return response{}, reach.Failf(check.Protocol, "login: the server asks for more than there is")
}

// untilTagged reads until the server asks for more or answers.
func (s *session) untilTagged(tag string) (response, *reach.Fault) {
	for range maxResponses {
		r, bad := s.response("login")
		switch {
		case bad != nil:
			return response{}, bad
		case r.tag == tag, r.tag == "+":
			return r, nil
		case r.word == "BYE":
			return response{}, reach.Failf(check.MailRejected, "login: the server closes")
		}
	}
	return response{}, reach.Failf(check.Protocol, "login: more than %d lines", maxResponses)
}

// responseCode is the word in brackets of an answer, such as [AUTHENTICATIONFAILED], for a detail. RFC 5530.
func responseCode(rest string) string {
	code, _, ok := strings.Cut(rest, "]")
	if !ok || !strings.HasPrefix(code, "[") || strings.ContainsFunc(code[1:], func(r rune) bool { return r < 'A' || r > 'Z' }) {
		return ""
	}
	return told(code[1:])
}

// A usage is how full a mailbox is.
type usage struct {
	seen        bool
	used, limit uint64 // of the fullest quota of room, in units of 1024 bytes; limit 0 for none
	ratio       float64
}

// read adds one answer `root (STORAGE 10 512 MESSAGE 5 100)`. Resources that are not known are passed over.
func (u *usage) read(rest string) error {
	open, end := strings.LastIndexByte(rest, '('), strings.LastIndexByte(rest, ')')
	if open < 0 || end < open {
		return errors.New("no list of resources")
	}
	words := strings.Fields(rest[open+1 : end])
	if len(words)%3 != 0 {
		return errors.New("a resource without its two numbers")
	}
	for ; len(words) > 0; words = words[3:] {
		used, err := strconv.ParseUint(words[1], 10, 63)
		if err != nil {
			return fmt.Errorf("%s is no number", told(words[1]))
		}
		limit, err := strconv.ParseUint(words[2], 10, 63)
		if err != nil {
			return fmt.Errorf("%s is no number", told(words[2]))
		}
		name := strings.ToUpper(words[0])
		if limit == 0 || name != "STORAGE" && name != "MESSAGE" {
			continue
		}
		ratio := float64(used) / float64(limit)
		if name == "STORAGE" && (u.limit == 0 || ratio > float64(u.used)/float64(u.limit)) {
			u.used, u.limit = used, limit
		}
		u.ratio, u.seen = max(u.ratio, ratio), true
	}
	return nil
}
