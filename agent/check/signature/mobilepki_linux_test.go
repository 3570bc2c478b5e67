package signature

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// The lab's service, in every state that it can be in.
func TestMobilePKI(t *testing.T) {
	pki, p := labPKI(t)
	ip := netip.MustParseAddr("127.0.0.1")
	server := must(pki.Server([]string{"mpki.test"}, ip))(t)
	s := must(servers.StartMobilePKI(t.Context(), p, servers.MobilePKIConfig{PKI: pki, Server: server, AP: "giam-sat", Pass: "mật khẩu"}))(t)
	t.Cleanup(func() { done(t, s.Stop()) })
	client := must(pki.G2.Issue("ap", &x509.Certificate{Subject: pkix.Name{CommonName: "AP giám sát"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))(t)
	other, _ := labPKI(t)
	stranger := must(other.G2.Issue("ap", &x509.Certificate{Subject: pkix.Name{CommonName: "khác"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))(t)
	secrets := map[string]string{"pass": "mật khẩu", "wrong": "x", "key": string(must(os.ReadFile(client.KeyFile))(t))}
	secret := func(name string) (string, error) {
		if s, ok := secrets[name]; ok {
			return s, nil
		}
		return "", os.ErrNotExist
	}
	options := func(more check.Options) check.Options {
		o := check.Options{"url": s.URL("127.0.0.1"), "roots": pki.Roots, "client_cert": client.CertFile, "client_key": client.KeyFile,
			"call": "status", "approved": "12/CV", "ap_id": "giam-sat", "ap_password": "pass"}
		for k, v := range more {
			o[k] = v
			if v == nil {
				delete(o, k)
			}
		}
		return o
	}
	run := func(more check.Options) check.Result {
		t.Helper()
		return checktest.NewFunc(t, mobilepkiKind(), options(more), check.Env{Now: time.Now, Secret: secret})(t.Context())
	}
	tlsOnly := check.Options{"call": "tls", "ap_id": nil, "ap_password": nil}
	r := run(nil)
	want(t, r, check.OK, "status 101 (WRONG_PARAM)")
	wantFacts(t, r, map[string]float64{"mss_status_code": 101, "status_code": 500, "chain_valid_code": 1})
	want(t, run(tlsOnly), check.OK, "nothing was asked")
	want(t, run(check.Options{"client_key": nil, "client_key_secret": "key"}), check.OK, "")
	want(t, run(check.Options{"codes": []int64{208}}), check.HTTPStatus, "status 101 (WRONG_PARAM), want one of [208]")
	want(t, run(check.Options{"slow": time.Nanosecond}), check.Slow, "")
	want(t, run(check.Options{"warn_days": int64(3000)}), check.CertExpiring, "")
	want(t, run(check.Options{"min_version": "1.3"}), check.OK, "")
	for _, more := range []check.Options{nil, tlsOnly} {
		without, with := check.Options{"client_cert": nil, "client_key": nil}, check.Options{"client_cert": stranger.CertFile, "client_key": stranger.KeyFile}
		for k, v := range more {
			without[k], with[k] = v, v
		}
		want(t, run(without), check.Auth, "does not accept the client's certificate")
		want(t, run(with), check.Auth, "does not accept the client's certificate")
	}
	want(t, run(check.Options{"approved_until": "2026-01-31"}), check.EvidenceExpired, "ended on 2026-01-31: nothing was sent")
	want(t, run(check.Options{"approved_until": "2999-01-31"}), check.OK, "")
	want(t, run(check.Options{"ap_password": "none"}), check.NotConfigured, "ap_password")
	want(t, run(check.Options{"client_cert": "/nowhere.pem"}), check.Misconfigured, "nowhere")
	// A password that was refused is not sent again until it is another one, or some time has passed.
	now := time.Now()
	f := checktest.NewFunc(t, mobilepkiKind(), options(check.Options{"ap_password": "wrong"}), check.Env{Now: func() time.Time { return now }, Secret: secret})
	want(t, f(t.Context()), check.Auth, "AP_ID or password is not accepted")
	want(t, f(t.Context()), check.Auth, "not tried before")
	now = now.Add(7 * time.Hour)
	want(t, f(t.Context()), check.Auth, "AP_ID or password is not accepted")
	secrets["wrong"] = "mật khẩu"
	want(t, f(t.Context()), check.OK, "")
	for state, reason := range map[servers.Certificate]check.Reason{servers.Expired: check.TLSExpired, servers.Ending: check.CertExpiring, servers.OtherName: check.TLSName, servers.NoIntermediate: check.TLSUntrusted} {
		done(t, s.Use(state))
		want(t, run(nil), reason, "")
	}
	done(t, s.Use(servers.Expired))
	r = checktest.NewFunc(t, mobilepkiKind(), options(nil), check.Env{Now: time.Now, Secret: secret, ClockProven: func() bool { return false }})(t.Context())
	want(t, r, check.ClockUnproven, "")
	done(t, s.Use(servers.Good))
	done(t, s.Broken(true))
	want(t, run(nil), check.HTTPStatus, "status 900 (INTERNAL_ERROR)")
	if s.Asked() != 0 {
		t.Errorf("%d requests to sign were sent", s.Asked())
	}
	done(t, s.Dead(true))
	want(t, run(nil), check.ConnectRefused, "")
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A real nginx says only in its answer that it does not accept a client's certificate; other pages with that status are none of this.
func TestMobilePKIBehindNginx(t *testing.T) {
	n, a := checktest.NewNginx(t), checktest.NewAuthority(t, "mpki.test")
	at, roots := n.Listen("127.0.0.1"), a.Roots()
	n.Server("listen " + at + " ssl;\n" + n.Certificate(lasting(a, x509.ExtKeyUsageServerAuth)) + "ssl_client_certificate " + roots + ";\nssl_verify_client on;\nlocation / { default_type text/xml; return 200 '" +
		strings.Replace(envelope, "%", `<r><StatusCode Value="208"/></r>`, 1) + "'; }\nlocation /bad { return 400 'SOAP expected'; }\nlocation /closed { return 503 '400 SSL certificate'; }")
	n.Start()
	client := func(a *checktest.Authority) check.Options {
		c := lasting(a, x509.ExtKeyUsageClientAuth)
		key := must(x509.MarshalPKCS8PrivateKey(c.PrivateKey))(t)
		return check.Options{"client_cert": checktest.WritePEM(t, "c.pem", "CERTIFICATE", c.Certificate...), "client_key": checktest.WritePEM(t, "k.pem", "PRIVATE KEY", key)}
	}
	known, other := client(a), client(checktest.NewAuthority(t, "x.test"))
	run := func(path string, client check.Options) check.Result {
		t.Helper()
		o := check.Options{"url": "https://" + at + path, "roots": roots, "server_name": "mpki.test", "call": "status", "approved": "12/CV", "ap_id": "a", "ap_password": "p"}
		maps.Copy(o, client)
		return checktest.NewFunc(t, mobilepkiKind(), o, check.Env{Now: time.Now, Secret: func(string) (string, error) { return "x", nil }})(t.Context())
	}
	want(t, run("/", known), check.OK, "208")
	want(t, run("/", nil), check.Auth, "does not accept the client's certificate: status 400")
	want(t, run("/", other), check.Auth, "does not accept the client's certificate: status 400")
	want(t, run("/bad", known), check.HTTPStatus, "status 400")
	want(t, run("/closed", known), check.HTTPStatus, "status 503")
	want(t, run("/", check.Options{"client_cert": other["client_cert"], "client_key": other["client_key"], "call": "tls"}), check.OK, "nothing was asked")
}

const envelope = `<?xml version="1.0"?><e:Envelope xmlns:e="x"><e:Body>%</e:Body></e:Envelope>`

// What a service may answer, well and hostile.
func TestMobilePKIAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		reason     check.Reason
		detail     string
	}{
		{"a state", `<r><Status><StatusCode Value="208"/></Status></r>`, check.OK, "208 (EXPIRED_TRANSACTION)"},
		{"a fault of SOAP 1.2", `<e:Fault><e:Code><e:Value>e:Sender</e:Value><e:Subcode><e:Value>mss:_101</e:Value></e:Subcode></e:Code></e:Fault>`, check.OK, "101"},
		{"a state that is not good", `<r><StatusCode Value="107"/></r>`, check.HTTPStatus, "107 (INAPPROPRIATE_DATA), want one of"},
		{"not let in", `<r><StatusCode Value="104"/></r>`, check.Auth, "not accepted"},
		{"a fault without a state", `<e:Fault><faultcode>e:Server</faultcode><faultstring>l&#7895;i &lt;1&gt;</faultstring></e:Fault>`, check.HTTPStatus, "a fault: lỗi <1>"},
		{"no state", `<r/>`, check.Protocol, "holds no state"},
		{"a state that is none", `<r><StatusCode Value="1e3"/></r>`, check.Protocol, "holds no state"},
		{"a state too large", `<r><StatusCode Value="5000"/></r>`, check.Protocol, "holds no state"},
		{"an entity of a document type", `<r>&lol;</r>`, check.Protocol, "an entity that XML does not know"},
		{"another end", `<r></q>`, check.Protocol, "ends as another"},
		{"cut short", `<r><q>`, check.Protocol, "ends as another"},
		{"deep", strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100), check.Protocol, "more than 32 levels"},
		{"wide", strings.Repeat("<a/>", 5000), check.Protocol, "or 2000 elements"},
		{"an instruction", `<?php?>`, check.Protocol, "an instruction"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want(t, judged(t, strings.Replace(envelope, "%", tt.body, 1)), tt.reason, tt.detail)
		})
	}
	if _, err := parseXML([]byte("<a " + manyAttributes() + "/>")); err == nil {
		t.Error("a hundred attributes are read")
	}
	for name, body := range map[string]string{
		"document type": `<!DOCTYPE x [<!ENTITY a "` + strings.Repeat("a", 100) + `">]><x>&a;</x>`,
		"nothing":       "", "text": "OK", "no UTF-8": "<a>\xff</a>", "two documents": "<a/><b/>", "another document": "<a/>", "no end": "<a", "attribute": `<a b=c/>`,
		"comment without end": "<!-- ",
	} {
		if r := judged(t, body); r.Reason != check.Protocol {
			t.Errorf("%s: %s %q", name, r.Reason, r.Detail)
		}
	}
	want(t, judged(t, "<html><body>Đăng nhập</body></html>"), check.Protocol, "a web page")
}

func manyAttributes() string {
	var b strings.Builder
	for i := range 100 {
		b.WriteString(" a" + strconv.Itoa(i) + `="1"`)
	}
	return b.String()
}

// judged judges an answer as if it had come.
func judged(t *testing.T, body string) check.Result {
	t.Helper()
	k := mobilepkiKind()
	c := &mobilepkiCheck{o: checktest.WithDefaults(t, k, nil), at: newClock(check.Env{Now: checktest.Epoch})}
	detail, bad := c.judge(&answer{kind: "text/xml", body: []byte(body)}, "", new(check.Facts))
	return bad.result(detail)
}

func FuzzParseXML(f *testing.F) {
	f.Add([]byte(strings.Replace(envelope, "%", `<a b="&amp;&#65;">x<![CDATA[y]]><!-- z --></a>`, 1)))
	f.Add([]byte("<a><b c='d'/></a>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := parseXML(body)
		if (n == nil) == (err == nil) {
			t.Errorf("%v %v", n, err)
		}
	})
}

// What may come over the wire in place of an answer.
func TestMobilePKIWire(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			for range 100 {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		case "/empty":
		case "/away":
			http.Redirect(w, r, "https://khac.test/", http.StatusFound)
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 80<<10))
		case "/hang":
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		case "/reset":
			panic(http.ErrAbortHandler)
		default:
			code, _ := strconv.Atoi(r.URL.Path[1:])
			w.WriteHeader(code)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	defer close(hang)
	roots := certPEM(t, s.Certificate())
	secret := func(string) (string, error) { return "x", nil }
	options := func(url string) check.Options {
		return check.Options{"url": url, "roots": roots, "call": "status", "approved": "12/CV", "ap_id": "a", "ap_password": "p"}
	}
	for path, reason := range map[string]check.Reason{"/large": check.TooLarge, "/empty": check.Truncated, "/away": check.HTTPRedirect, "/headers": check.TooLarge,
		"/404": check.HTTPStatus, "/429": check.Blocked, "/511": check.CaptivePortal, "/500": check.Truncated} {
		want(t, checktest.NewFunc(t, mobilepkiKind(), options(s.URL+path), check.Env{Now: time.Now, Secret: secret})(t.Context()), reason, "")
	}
	r := checktest.NewFunc(t, mobilepkiKind(), options(s.URL+"/reset"), check.Env{Now: time.Now, Secret: secret})(t.Context())
	if r.State != check.Down {
		t.Errorf("hung up: %s %q", r.Reason, r.Detail)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r = checktest.NewFunc(t, mobilepkiKind(), options(s.URL+"/hang"), check.Env{Now: time.Now, Secret: secret})(ctx)
	if r.Reason != check.Timeout && r.Reason != check.ConnectTimeout && r.Reason != check.TLSHandshake {
		t.Errorf("silent: %s %q", r.Reason, r.Detail)
	}
	off, stop := context.WithCancel(t.Context())
	stop()
	want(t, checktest.NewFunc(t, mobilepkiKind(), options(s.URL+"/hang"), check.Env{Now: time.Now, Secret: secret})(off), check.Internal, "called off")
	plain := "https://" + checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n") })
	want(t, checktest.NewFunc(t, mobilepkiKind(), options(plain), check.Env{Now: time.Now, Secret: secret})(t.Context()), check.TLSHandshake, "SSH")
	for _, bad := range []check.Options{
		{"url": "http://a.test/"}, {"url": "https://u:p@a.test/"}, {"client_key": "x"}, {"client_cert": "a", "client_key": "x", "client_key_secret": "y"},
		{"ap_id": ""}, {"approved": " "}, {"approved_until": "31/12"}, {"ap_id": strings.Repeat("x", 300)}, {"distrusted": []string{"x"}},
	} {
		o := options("https://a.test/")
		maps.Copy(o, bad)
		if _, err := mobilepkiKind().New(checktest.WithDefaults(t, mobilepkiKind(), o), checktest.WithEnv(check.Env{})); err == nil || !strings.Contains(err.Error(), "option ") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
