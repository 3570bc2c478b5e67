package mail

import "strings"

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

// readAuthResults reads the headers Authentication-Results of a letter, first to last. Only those of one server count:
// authserv, or the one that wrote the first header, since what stands below may be from anybody. Of several results of
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
