package exporter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	kit "github.com/prometheus/exporter-toolkit/web"
)

const goodHash = "$2a$04$Y/7jW4bmVZlHXEGZlyAjjeFHX0zJSUqGHOdDqKcXoVxTxdgzvyKVy"

func TestParseWebConfigMistakes(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"unknown key":    {"tls_server_config:\n  cert_fil: a\n", `line 2: unknown key "cert_fil" in tls_server_config: known here are cert, cert_file, cipher_suites`},
		"top key":        {"users: {}\n", `line 1: unknown key "users" in the file: known here are basic_auth_users, http_server_config, rate_limit, tls_server_config`},
		"twice":          {"rate_limit: {}\nrate_limit: {}\n", "line 2: key \"rate_limit\" in the file stands twice"},
		"no mapping":     {"- a\n", "line 1: the file is no mapping: write `key: value` lines"},
		"no YAML":        {"tls_server_config: [\n", "this is not YAML"},
		"anchor":         {"basic_auth_users: &a {}\nrate_limit: *a\n", "line 1: an anchor or alias"},
		"deep":           {strings.Repeat("a:\n ", 1) + strings.Repeat("[", 20) + strings.Repeat("]", 20), "levels of nesting"},
		"plain password": {"basic_auth_users:\n  a: secret\n", "line 2: the password of user \"a\" is no bcrypt hash: make a hash with `htpasswd -nBC 10 NAME`"},
		"dear hash":      {"basic_auth_users:\n  a: " + strings.Replace(goodHash, "$04$", "$31$", 1), "has cost 31, at most 16 is taken"},
		"short hash":     {"basic_auth_users:\n  a: " + goodHash[:59], "is no bcrypt hash"},
		"colon":          {"basic_auth_users:\n  \"a:b\": " + goodHash, "no colon"},
		"header":         {"http_server_config:\n  headers:\n    Server: x\n", "line 3: header \"Server\" cannot be set: known here are Content-Security-Policy,"},
		"header value":   {"http_server_config: {headers: {X-Frame-Options: allow}}\n", `"allow" is no value for header X-Frame-Options: write deny or sameorigin`},
		"header lines":   {"http_server_config: {headers: {X-XSS-Protection: \"1\\r\\nSet-Cookie: a\"}}\n", "is no line of text"},
		"http2":          {"http_server_config: {http2: perhaps}\n", `"perhaps" is no truth value: write true or false`},
		"no key":         {"tls_server_config: {cert_file: a}\n", "no key: write key_file: FILE"},
		"no certificate": {"tls_server_config: {key_file: a}\n", "no certificate: write cert_file: FILE"},
		"both":           {"tls_server_config: {cert_file: a, cert: b, key_file: c}\n", "both cert and cert_file: keep one"},
		"unused CA":      {"tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}\n", "write client_auth_type: RequireAndVerifyClientCert"},
		"no CA":          {"tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}\n", "no authority is named: write client_ca_file: FILE"},
		"unproven names": {"tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert, client_allowed_sans: [a]}\n", "client_allowed_sans without certificates that are verified"},
		"auth type":      {"tls_server_config: {cert_file: a, key_file: b, client_auth_type: Verify}\n", `"Verify" is not known: write one of`},
		"version":        {"tls_server_config: {cert_file: a, key_file: b, min_version: 1.2}\n", `"1.2" is not known: write one of TLS10, TLS11, TLS12, TLS13`},
		"versions":       {"tls_server_config: {cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12}\n", "min_version is above max_version"},
		"suite":          {"tls_server_config: {cert_file: a, key_file: b, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}\n", "is not known or not safe"},
		"curve":          {"tls_server_config: {cert_file: a, key_file: b, curve_preferences: [P256]}\n", `"P256" is not known: write one of CurveP256`},
		"no list":        {"tls_server_config: {cert_file: a, key_file: b, cipher_suites: x}\n", "this is no list"},
		"list of lists":  {"tls_server_config: {cert_file: a, key_file: b, client_allowed_sans: [[a]]}\n", "an entry of this list is no text"},
		"no text":        {"tls_server_config: {cert_file: [a], key_file: b}\n", "this is no text"},
		"interval":       {"rate_limit: {interval: soon, burst: 1}\n", `"soon" is no interval: write e.g. 100ms`},
		"burst":          {"rate_limit: {interval: 1s, burst: -1}\n", `"-1" is no burst`},
		"no burst":       {"rate_limit: {interval: 1s}\n", "lets no request through: write burst: 1 or more"},
		"too large":      {strings.Repeat("#", maxWebConfig+1), "the file has more than"},
		"all at once":    {"http_server_config: {http2: 1}\nrate_limit: {interval: x}\nx: 1\n", `line 1: "1" is no truth value: write true or false; line 2: "x" is no interval: write e.g. 100ms or 1s; 0s for no limit; at most 24h; line 3: unknown key "x"`},
	} {
		_, err := parseWebConfig([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant %s", name, err, tt.want)
		}
	}
}

// Whatever the text, there is a configuration whose users have names and hashes, or mistakes with their lines.
func FuzzParseWebConfig(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "# only a comment\n", "tls_server_config:\n", "tls_server_config: {cert_file: a, key_file: b}\n",
		"basic_auth_users:\n  a: " + goodHash + "\n  b: " + goodHash + "\n", "rate_limit: {interval: 1s, burst: 3}\n", "rate_limit: {interval: 1000, burst: 3}\n",
		"http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    Content-Security-Policy: \"default-src 'self'\"\n",
		"tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: c\n  client_allowed_sans: [a, b]\n  min_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [X25519]\n  prefer_server_cipher_suites: true\n",
		"a: &a [*a]\n", "? [a]\n: b\n", "---\n---\n", "basic_auth_users: {1: 2, true: null}\n", "\xff\xfe", "a: !!binary x", "tls_server_config: {cert: \"\", key_file: null}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseWebConfig(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") || len(err.Error()) > 200*(len(text)+10) {
				t.Errorf("no line in %q", err)
			}
			return
		}
		if c == nil {
			t.Fatal("neither a configuration nor an error")
		}
		for u, h := range c.users {
			if u == "" || len(h) != bcryptLen {
				t.Errorf("user %q, hash %q", u, h)
			}
		}
	})
}

// The sample files of the format are read alike.
func TestLikeToolkitValidates(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "null": "tls_server_config:\nbasic_auth_users:\n", "users": "basic_auth_users:\n  a: " + goodHash + "\n", "rate": "rate_limit: {interval: 1s, burst: 3}\n",
		"bad user": "basic_auth_users:\n  a: x\n", "bad key": "basic: {}\n", "bad header": "http_server_config: {headers: {A: b}}\n",
		"bad cipher": "tls_server_config: {cipher_suites: [x]}\n", "no cert": "tls_server_config: {client_auth_type: RequireAndVerifyClientCert}\n",
	} {
		file := filepath.Join(t.TempDir(), "web.yml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := parseWebConfig([]byte(text))
		if theirs := kit.Validate(file); (err == nil) != (theirs == nil) {
			t.Errorf("%s: %v, exporter-toolkit says %v", name, err, theirs)
		}
	}
}
