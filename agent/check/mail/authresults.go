package mail

import (
	"net/netip"
	"slices"
	"strings"
)

// The results that a receiver gives, as facts have them. RFC 8601, section 2.7.
const (
	authNone = iota
	authPass
	authFail
	authSoftfail
	authNeutral
	authTemperror
	authPermerror
	authPolicy
	authOther // a word that is none of these
)

var authWords = map[string]int{"none": authNone, "pass": authPass, "fail": authFail, "hardfail": authFail, "softfail": authSoftfail,
	"neutral": authNeutral, "temperror": authTemperror, "permerror": authPermerror, "policy": authPolicy}

// authMethods are those that are judged.
var authMethods = []string{"spf", "dkim", "dmarc"}

// authResults are what the receiver found of a letter, by method; a method that it did not name is absent.
type authResults map[string]int

// receiversHead returns the headers that the receiver put on top of a letter: those above the Received header with which it
// took it, the topmost one by authserv, or without that name the topmost of all. What stands below came with the letter, and may
// be from anybody (RFC 8601, sections 1.6 and 4.1). A server that hands a letter to itself, as filters do, takes it but once.
// A letter without Received came from nobody else.
func receiversHead(headers []header, authserv string) []header {
	var at []int
	for i, h := range headers {
		if h.name == "received" {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return headers
	}
	last := 0
	if authserv != "" {
		last = max(0, slices.IndexFunc(at, func(i int) bool { return readHop(headers[i].value).is(authserv) }))
	}
	for last+1 < len(at) && readHop(headers[at[last]].value).local {
		last++
	}
	return headers[:at[last]]
}

// A hop is what one Received header says. RFC 5321, section 4.4.
type hop struct {
	by    string // in small letters; "" when it does not say
	local bool   // the letter came from the same machine
}

// is reports whether the server has this name, or one below it.
func (h hop) is(name string) bool {
	name = strings.ToLower(name)
	return h.by != "" && (h.by == name || strings.Contains(name, ".") && strings.HasSuffix(h.by, "."+name))
}

// readHop reads a header. The name after "from" is what the other side said, so it proves nothing; the address behind it, in
// a comment, is what the server saw. Only where there is none, as with a local socket, does the name count.
func readHop(received string) hop {
	plain, comments := splitComments(received)
	var h hop
	words := strings.Fields(strings.ToLower(plain))
	word := func(before string) string {
		if i := slices.Index(words, before); i >= 0 && i+1 < len(words) {
			return strings.TrimSuffix(words[i+1], ".")
		}
		return ""
	}
	h.by = word("by")
	_, address, seen := strings.Cut(comments, "[")
	address, _, _ = strings.Cut(strings.TrimPrefix(strings.ToLower(address), "ipv6:"), "]")
	if ip, err := netip.ParseAddr(address); seen && err == nil {
		h.local = ip.Unmap().IsLoopback()
	} else {
		from := word("from")
		h.local = !seen && h.by != "" && (from == "" || from == h.by)
	}
	return h
}

// splitComments returns what a header says before its first semicolon, without and within its comments.
func splitComments(h string) (plain, comments string) {
	plain = splitStatements(h)[0]
	depth := 0
	var b strings.Builder
	for _, c := range []byte(h) {
		switch {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == ';' && depth == 0:
			return plain, b.String()
		case depth > 0:
			b.WriteByte(c)
		}
	}
	return plain, b.String()
}

// readAuthResults reads the headers Authentication-Results that the receiver's servers wrote ([receiversHead]), first to
// last. Only those of one server count: authserv, or the one that wrote the first of them. Of several results of
// one method the best counts, as it does for a receiver: a letter may have more than one signature.
func readAuthResults(headers []string, authserv string) authResults {
	r := authResults{}
	for _, h := range headers {
		server, results := parseAuthResults(h)
		if authserv == "" {
			authserv = server
		}
		if !strings.EqualFold(server, authserv) {
			continue
		}
		for method, word := range results {
			if old, ok := r[method]; !ok || old != authPass {
				r[method] = word
			}
		}
	}
	return r
}

// parseAuthResults reads one header: `mx.test; spf=pass smtp.mailfrom=a@b; dkim=none (no signature)`. RFC 8601, section 2.2.
func parseAuthResults(h string) (server string, results authResults) {
	statements := splitStatements(h)
	results = authResults{}
	if len(statements) == 0 {
		return "", results
	}
	if words := strings.Fields(statements[0]); len(words) > 0 {
		server = words[0]
	}
	for _, s := range statements[1:] {
		words := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(s, " =", "="), "= ", "="))
		if len(words) == 0 {
			continue
		}
		method, word, ok := strings.Cut(strings.ToLower(words[0]), "=")
		method, _, _ = strings.Cut(method, "/") // its version
		if !ok {
			continue
		}
		code, known := authWords[word]
		if !known {
			code = authOther
		}
		if old, ok := results[method]; !ok || old != authPass {
			results[method] = code
		}
	}
	return server, results
}

// splitStatements splits at semicolons outside of quotes, without the comments, which may be nested.
func splitStatements(h string) []string {
	var all []string
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(h); i++ {
		c := h[i]
		switch {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(h):
			i++
			if depth == 0 {
				b.WriteByte(h[i])
			}
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
			b.WriteByte(c)
		case c == '(':
			depth++
			b.WriteByte(' ')
		case c == ')':
			depth = max(0, depth-1)
		case depth > 0:
		case c == ';':
			all = append(all, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(all, b.String())
}
