package exporter

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/crypto/bcrypt"
)

// Bounds of a web configuration.
const (
	maxWebConfig = 256 << 10 // bytes; certificates may stand in it
	maxUsers     = 1000
	maxCost      = 16 // of bcrypt: some seconds a comparison
	maxDepth     = 8
)

// A webConfig is what a web configuration file says, in the format of Prometheus' exporter-toolkit
// (docs/web-configuration.md there, v0.20). It is read more strictly: what the toolkit would pass over (a CA file
// without a certificate, names to allow without a chain that is verified, the system's authorities for clients, hashes
// that take minutes) is a mistake.
type webConfig struct {
	tls     *tlsConfig // nil for plain HTTP
	http2   bool
	headers map[string]string
	users   map[string][]byte // name → bcrypt hash
	every   time.Duration     // between requests in the long run; 0 for no limit
	burst   int
}

type tlsConfig struct {
	cert, key, clientCA             string // PEM
	certFile, keyFile, clientCAFile string // as written in the file: relative to it
	clientAuth                      tls.ClientAuthType
	allowedSANs                     []string
	minVersion, maxVersion          uint16
	suites                          []uint16
	curves                          []tls.CurveID
}

// A webMistake is one thing wrong with a web configuration.
type webMistake struct {
	line       int
	what, hint string
}

func (m webMistake) Error() string { return fmt.Sprintf("line %d: %s: %s", m.line, m.what, m.hint) }

// webMistakes are everything wrong with one, in the order of lines.
type webMistakes []webMistake

func (ms webMistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "; ")
}

// parseWebConfig reads a web configuration. It opens no file that is named in it. The error is a webMistakes.
func parseWebConfig(text []byte) (*webConfig, error) {
	c := &webConfig{http2: true}
	if len(text) > maxWebConfig {
		return nil, webMistakes{{1, fmt.Sprintf("the file has more than %d bytes", maxWebConfig), "name certificates with cert_file, key_file and client_ca_file"}}
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil && len(bytes.TrimSpace(text)) > 0 {
		if strings.Contains(err.Error(), "no documents") {
			return c, nil
		}
		return nil, webMistakes{{errorLine(err), "this is not YAML", strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
		return c, nil
	}
	r := &webReader{}
	if !r.aliases(&doc, 0) {
		r.file(doc.Content[0], c)
	}
	if len(r.mistakes) == 0 {
		return c, nil
	}
	sort.SliceStable(r.mistakes, func(i, j int) bool { return r.mistakes[i].line < r.mistakes[j].line })
	return nil, r.mistakes
}

var lineInError = regexp.MustCompile(`line (\d+)`)

func errorLine(err error) int {
	if m := lineInError.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		return max(1, n)
	}
	return 1
}

// A webReader walks the nodes of a file and gathers what is wrong.
type webReader struct{ mistakes webMistakes }

func (r *webReader) wrong(n *yaml.Node, what, hint string) {
	r.mistakes = append(r.mistakes, webMistake{n.Line, what, hint})
}

// aliases refuses anchors, aliases and deep nesting, with which a small file can become a large value.
func (r *webReader) aliases(n *yaml.Node, depth int) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.wrong(n, "an anchor or alias (& or *)", "write the value out at each place")
		return true
	case depth > maxDepth:
		r.wrong(n, fmt.Sprintf("more than %d levels of nesting", maxDepth), "a web configuration has three")
		return true
	}
	for _, c := range n.Content {
		if r.aliases(c, depth+1) {
			return true
		}
	}
	return false
}

// fields walks a mapping whose keys are all known and stand once. An empty value is left out.
func (r *webReader) fields(n *yaml.Node, in string, known map[string]func(*yaml.Node)) {
	r.pairs(n, in, func(k, v *yaml.Node) {
		if read, ok := known[k.Value]; !ok {
			r.wrong(k, fmt.Sprintf("unknown key %q in %s", k.Value, in), "known here are "+strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		} else if v.ShortTag() != "!!null" {
			read(v)
		}
	})
}

// pairs walks a mapping whose keys stand once.
func (r *webReader) pairs(n *yaml.Node, in string, each func(k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, in+" is no mapping", "write `key: value` lines")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || seen[k.Value] {
			r.wrong(k, fmt.Sprintf("key %q in %s stands twice or is no word", k.Value, in), "keep one")
			continue
		}
		seen[k.Value] = true
		each(k, v)
	}
}

func (r *webReader) text(into *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			r.wrong(n, "this is no text", "write one value on the line of its key")
			return
		}
		*into = n.Value
	}
}

func (r *webReader) flag(into *bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			r.wrong(n, fmt.Sprintf("%q is no truth value", n.Value), "write true or false")
			return
		}
		*into = n.Value[0] == 't' || n.Value[0] == 'T'
	}
}

func (r *webReader) list(each func(n *yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			r.wrong(n, "this is no list", "write `- value` lines or [value, value]")
			return
		}
		for _, x := range n.Content {
			if x.Kind != yaml.ScalarNode {
				r.wrong(x, "an entry of this list is no text", "write one value an entry")
				continue
			}
			each(x)
		}
	}
}

// choice reads one word of a closed list.
func choice[T any](r *webReader, into *T, words map[string]T) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, ok := words[n.Value]
		if n.Kind != yaml.ScalarNode || !ok {
			r.wrong(n, fmt.Sprintf("%q is not known", n.Value), "write one of "+strings.Join(slices.Sorted(maps.Keys(words)), ", "))
			return
		}
		*into = v
	}
}

func (r *webReader) file(n *yaml.Node, c *webConfig) {
	r.fields(n, "the file", map[string]func(*yaml.Node){
		"tls_server_config": func(n *yaml.Node) { c.tls = r.tls(n) },
		"http_server_config": func(n *yaml.Node) {
			r.fields(n, "http_server_config", map[string]func(*yaml.Node){
				"http2":   r.flag(&c.http2),
				"headers": func(n *yaml.Node) { c.headers = r.headers(n) },
			})
		},
		"basic_auth_users": func(n *yaml.Node) { c.users = r.users(n) },
		"rate_limit":       func(n *yaml.Node) { r.rate(n, c) },
	})
}

// headers are those that the format allows, since others could break what a client relies on.
func (r *webReader) headers(n *yaml.Node) map[string]string {
	allowed := map[string][]string{
		"Content-Security-Policy": nil, "Strict-Transport-Security": nil, "X-XSS-Protection": nil,
		"X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"deny", "sameorigin"},
	}
	hs := map[string]string{}
	r.pairs(n, "headers", func(k, v *yaml.Node) {
		values, ok := allowed[k.Value]
		switch {
		case !ok:
			r.wrong(k, fmt.Sprintf("header %q cannot be set", k.Value), "known here are "+strings.Join(slices.Sorted(maps.Keys(allowed)), ", "))
		case v.Kind != yaml.ScalarNode || strings.ContainsFunc(v.Value, func(c rune) bool { return c < ' ' || c == 0x7f }):
			r.wrong(v, fmt.Sprintf("the value of header %s is no line of text", k.Value), "write it on one line, without control characters")
		case len(values) > 0 && !slices.Contains(values, v.Value):
			r.wrong(v, fmt.Sprintf("%q is no value for header %s", v.Value, k.Value), "write "+strings.Join(values, " or "))
		case v.Value != "":
			hs[k.Value] = v.Value
		}
	})
	return hs
}

func (r *webReader) users(n *yaml.Node) map[string][]byte {
	us := map[string][]byte{}
	const make = "make a hash with `htpasswd -nBC 10 NAME`"
	r.pairs(n, "basic_auth_users", func(k, v *yaml.Node) {
		cost, err := bcrypt.Cost([]byte(v.Value))
		switch {
		case k.Value == "" || strings.Contains(k.Value, ":"):
			r.wrong(k, fmt.Sprintf("user name %q", k.Value), "a name is not empty and holds no colon (RFC 7617, section 2)")
		case v.Kind != yaml.ScalarNode || err != nil || len(v.Value) != bcryptLen:
			r.wrong(v, fmt.Sprintf("the password of user %q is no bcrypt hash", k.Value), make)
		case cost > maxCost:
			r.wrong(v, fmt.Sprintf("the hash of user %q has cost %d, at most %d is taken", k.Value, cost, maxCost), make)
		case len(us) == maxUsers:
			r.wrong(k, fmt.Sprintf("more than %d users", maxUsers), "put a proxy in front, or use client certificates")
		default:
			us[k.Value] = []byte(v.Value)
		}
	})
	return us
}

// bcryptLen is the length of a bcrypt hash: $2y$10$, 22 characters of salt and 31 of hash.
const bcryptLen = 60

func (r *webReader) rate(n *yaml.Node, c *webConfig) {
	r.fields(n, "rate_limit", map[string]func(*yaml.Node){
		"interval": func(n *yaml.Node) {
			d, err := time.ParseDuration(n.Value)
			if ns, bad := strconv.ParseInt(n.Value, 10, 64); bad == nil {
				d, err = time.Duration(ns), nil // a bare number is nanoseconds
			}
			if n.Kind != yaml.ScalarNode || err != nil || d < 0 || d > 24*time.Hour {
				r.wrong(n, fmt.Sprintf("%q is no interval", n.Value), "write e.g. 100ms or 1s; 0s for no limit; at most 24h")
				return
			}
			c.every = d
		},
		"burst": func(n *yaml.Node) {
			b, err := strconv.Atoi(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil || b < 0 || b > 1<<20 {
				r.wrong(n, fmt.Sprintf("%q is no burst", n.Value), "write how many requests may come at once, e.g. 20")
				return
			}
			c.burst = b
		},
	})
	if c.every > 0 && c.burst == 0 && len(r.mistakes) == 0 {
		r.wrong(n, "a rate_limit without burst lets no request through", "write burst: 1 or more")
	}
}

func (r *webReader) tls(n *yaml.Node) *tlsConfig {
	versions := map[string]uint16{"TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}
	c := &tlsConfig{minVersion: tls.VersionTLS12, maxVersion: tls.VersionTLS13}
	var preferServer bool // without effect since Go 1.17
	before := len(r.mistakes)
	r.fields(n, "tls_server_config", map[string]func(*yaml.Node){
		"cert": r.text(&c.cert), "key": r.text(&c.key), "client_ca": r.text(&c.clientCA),
		"cert_file": r.text(&c.certFile), "key_file": r.text(&c.keyFile), "client_ca_file": r.text(&c.clientCAFile),
		"client_auth_type": choice(r, &c.clientAuth, map[string]tls.ClientAuthType{
			"": tls.NoClientCert, "NoClientCert": tls.NoClientCert, "RequestClientCert": tls.RequestClientCert,
			"RequireAnyClientCert": tls.RequireAnyClientCert, "RequireClientCert": tls.RequireAnyClientCert,
			"VerifyClientCertIfGiven": tls.VerifyClientCertIfGiven, "RequireAndVerifyClientCert": tls.RequireAndVerifyClientCert,
		}),
		"client_allowed_sans":         r.list(func(n *yaml.Node) { c.allowedSANs = append(c.allowedSANs, n.Value) }),
		"min_version":                 choice(r, &c.minVersion, versions),
		"max_version":                 choice(r, &c.maxVersion, versions),
		"cipher_suites":               r.list(r.suite(c)),
		"curve_preferences":           r.list(r.curve(c)),
		"prefer_server_cipher_suites": r.flag(&preferServer),
	})
	if len(r.mistakes) > before {
		return nil
	}
	return r.whole(n, c)
}

// whole checks what the keys of tls_server_config say about each other. It returns nil when they ask for no TLS.
func (r *webReader) whole(n *yaml.Node, c *tlsConfig) *tlsConfig {
	ca := c.clientCA != "" || c.clientCAFile != ""
	verifies := c.clientAuth >= tls.VerifyClientCertIfGiven
	if c.cert+c.certFile+c.key+c.keyFile == "" && !ca && c.clientAuth == tls.NoClientCert && c.allowedSANs == nil {
		return nil
	}
	for _, x := range [...]struct {
		bad        bool
		what, hint string
	}{
		{c.cert == "" && c.certFile == "", "no certificate", "write cert_file: FILE"},
		{c.key == "" && c.keyFile == "", "no key", "write key_file: FILE"},
		{c.cert != "" && c.certFile != "", "both cert and cert_file", "keep one"},
		{c.key != "" && c.keyFile != "", "both key and key_file", "keep one"},
		{c.clientCA != "" && c.clientCAFile != "", "both client_ca and client_ca_file", "keep one"},
		{ca && c.clientAuth == tls.NoClientCert, "an authority for client certificates, and no certificate is asked for", "write client_auth_type: RequireAndVerifyClientCert"},
		{verifies && !ca, "client certificates are to be verified, and no authority is named", "write client_ca_file: FILE"},
		{c.allowedSANs != nil && !verifies, "client_allowed_sans without certificates that are verified", "write client_auth_type: RequireAndVerifyClientCert"},
		{c.minVersion > c.maxVersion, "min_version is above max_version", "write e.g. min_version: TLS12 and max_version: TLS13"},
	} {
		if x.bad {
			r.wrong(n, "tls_server_config: "+x.what, x.hint)
		}
	}
	return c
}

func (r *webReader) suite(c *tlsConfig) func(*yaml.Node) {
	return func(n *yaml.Node) {
		for _, s := range tls.CipherSuites() {
			if s.Name == n.Value {
				c.suites = append(c.suites, s.ID)
				return
			}
		}
		r.wrong(n, fmt.Sprintf("cipher suite %q is not known or not safe", n.Value), "write a name such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
	}
}

func (r *webReader) curve(c *tlsConfig) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var id tls.CurveID
		choice(r, &id, map[string]tls.CurveID{"CurveP256": tls.CurveP256, "CurveP384": tls.CurveP384, "CurveP521": tls.CurveP521,
			"X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768})(n)
		if id != 0 {
			c.curves = append(c.curves, id)
		}
	}
}

// errNoCertificate says that a text holds no PEM block of a certificate.
var errNoCertificate = errors.New("no certificate in it: write PEM, beginning with -----BEGIN CERTIFICATE-----")
