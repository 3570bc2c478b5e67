package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"text/template"
)

// A GatewayConfig is a service on the Internet that takes a message by one HTTP call: an SMS company, Telegram. URL,
// headers and body are templates (text/template) over [Call], with the functions json, query, secret, plus84 and local.
type GatewayConfig struct {
	// Preset fills in what is left out: esms (an SMS gateway; secrets key and secret), telegram (secret token).
	Preset string `yaml:"preset"`
	// URL is called with Method, default POST.
	URL    string `yaml:"url"`
	Method string `yaml:"method"`
	// Headers are sent along; the body is JSON when they do not say otherwise.
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	// Secrets names files whose content templates may use: {{secret "key"}}.
	Secrets map[string]string `yaml:"secrets"`
	// Taken says by which field of a JSON answer the other side tells that it took the message. Left out, any answer 2xx
	// does.
	Taken TakenConfig `yaml:"taken"`
	// CAFile holds PEM certificates to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// Depends lists the services without which it is not reached. Default inet, dns_local.
	Depends []string `yaml:"depends"`
}

// A TakenConfig is a field of the first level of a JSON answer and what it holds when a message was taken.
type TakenConfig struct {
	Field  string `yaml:"field"`
	Equals string `yaml:"equals"`
}

// A Call is what templates see of a message.
type Call struct {
	To     string // the contact's value, e.g. a telephone number
	Key    string // names the message: the same one again has the same key
	Title  string // Vietnamese, one line
	Short  string // Vietnamese, at most 200 characters
	Text   string // Vietnamese, then English
	System string // what it is about, of the first incident; "" in a digest or a test
	Unit   string
	Since  string
	State  string // down, unknown, up for what is over
	Urgent bool
}

// presets are what is known of companies' interfaces: their public guides for developers.
func presets() map[string]GatewayConfig {
	return map[string]GatewayConfig{
		"esms": {
			URL: "https://rest.esms.vn/MainService.svc/json/SendMultipleMessage_V4_post_json/",
			Body: `{"ApiKey":{{secret "key" | json}},"SecretKey":{{secret "secret" | json}},"Phone":{{local .To | json}},"Content":{{.Short | json}},` +
				`"SmsType":"8","IsUnicode":"1","RequestId":{{.Key | json}}}`,
			Taken: TakenConfig{"CodeResult", "100"},
		},
		"telegram": {
			URL:   `https://api.telegram.org/bot{{secret "token"}}/sendMessage`,
			Body:  `{"chat_id":{{.To | json}},"text":{{.Text | json}}}`,
			Taken: TakenConfig{"ok", "true"},
		},
	}
}

// fill puts in a preset's values and the defaults.
func (g *GatewayConfig) fill() error {
	if g.Preset != "" {
		p, ok := presets()[g.Preset]
		if !ok {
			return fmt.Errorf("preset: %q is none of esms, telegram: leave it out and give url, body and taken", g.Preset)
		}
		if g.URL == "" {
			g.URL = p.URL
		}
		if g.Body == "" {
			g.Body = p.Body
		}
		if g.Taken == (TakenConfig{}) {
			g.Taken = p.Taken
		}
	}
	if g.Method == "" {
		g.Method = http.MethodPost
	}
	if g.Depends == nil {
		g.Depends = []string{"inet", "dns_local"}
	}
	return nil
}

// A gateway calls a service as its templates say.
type gateway struct {
	name    string
	config  GatewayConfig
	client  *http.Client
	url     *template.Template
	body    *template.Template
	headers map[string]*template.Template
}

// newGateway reads the templates and tries them on a message, so that what is wrong with them is known before the night
// in which they are needed.
func newGateway(name string, c GatewayConfig) (*gateway, error) {
	fail := func(format string, args ...any) (*gateway, error) {
		return nil, fmt.Errorf("alert: "+name+": "+format, args...)
	}
	if err := c.fill(); err != nil {
		return fail("%w", err)
	}
	roots, err := rootsOf(c.CAFile)
	if err != nil {
		return fail("%w", err)
	}
	g := &gateway{name: name, config: c, headers: map[string]*template.Template{}, client: newClient(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})}
	parse := func(what, text string) *template.Template {
		t, e := template.New(what).Option("missingkey=error").Funcs(g.functions()).Parse(text)
		if e != nil && err == nil {
			err = fmt.Errorf("%s: %w", what, e)
		}
		return t
	}
	g.url, g.body = parse("url", c.URL), parse("body", c.Body)
	for k, v := range c.Headers {
		g.headers[k] = parse("headers: "+k, v)
	}
	if err != nil {
		return fail("%w", err)
	}
	req, err := g.request(context.Background(), exampleCall())
	if err != nil {
		return fail("tried on an example: %s", clip(err.Error(), maxError))
	}
	if len(c.Headers) == 0 && c.Body != "" {
		text, err := io.ReadAll(req.Body)
		if err == nil && !json.Valid(text) {
			return fail("body: with an example it is no JSON: pass each value through json, as in {{.Short | json}}, or name a Content-Type in headers")
		}
	}
	return g, nil
}

// exampleCall is a message with every character that templates tend to forget.
func exampleCall() Call {
	return Call{To: "0912345678", Key: "i.opened.x", Title: `Gián đoạn: "Thư điện tử"`, Short: "Gián đoạn: \"Thư\"\ntừ 08:30 & tiếp", Text: "a\nb", System: "Thư", Unit: "Xã A", Since: "08:30", State: "down"}
}

func (g *gateway) functions() template.FuncMap {
	return template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"query": url.QueryEscape,
		"secret": func(name string) (string, error) {
			path, ok := g.config.Secrets[name]
			if !ok {
				return "", fmt.Errorf("secret %q has no file: add it under secrets", name)
			}
			b, err := readSecret(path)
			return string(b), err
		},
		"plus84": func(s string) string { return "+" + phone84(s) },
		"local":  func(s string) string { return "0" + strings.TrimPrefix(phone84(s), "84") },
	}
}

// callOf is what templates see of a message.
func callOf(to string, c Content) Call {
	v := Call{To: to, Key: c.Key, Title: c.Subject, Short: c.Short, Text: c.Text, Urgent: c.Urgent}
	if len(c.Items) > 0 {
		i := c.Items[0]
		v.System, v.Unit, v.Since, v.State = i.Text.System, i.Text.Unit, i.Text.Since, i.State
		if !i.Closed.IsZero() {
			v.State = "up"
		}
	}
	return v
}

// request makes the call for a message.
func (g *gateway) request(ctx context.Context, v Call) (*http.Request, error) {
	run := func(t *template.Template) (string, error) {
		var b bytes.Buffer
		err := t.Execute(&limited{w: &b, left: maxAnswer}, v)
		return b.String(), err
	}
	to, err := run(g.url)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("url: it becomes no URL: write it as https://host/path") // without the text, which may hold a key
	}
	body, err := run(g.body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, g.config.Method, to, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("method or url cannot be used")
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "egovmon")
	for k, t := range g.headers {
		s, err := run(t)
		if err != nil {
			return nil, err
		}
		req.Header.Set(k, s)
	}
	return req, nil
}

// send returns nil once the other side has said that it took the message.
func (g *gateway) send(ctx context.Context, to string, c Content) error {
	req, err := g.request(ctx, callOf(to, c))
	if err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	_, err = taken(g.client, req, g.name, g.config.Taken)
	return err
}

// taken makes a call and reports whether its answer says that it was taken. It returns the answer.
func taken(client *http.Client, req *http.Request, name string, t TakenConfig) ([]byte, error) {
	res, err := client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // without the URL, which may hold a key
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case res.StatusCode/100 == 3:
		return nil, fmt.Errorf("%s: answered %d: redirects are not followed, enter the address that it leads to", name, res.StatusCode)
	case res.StatusCode/100 != 2:
		return nil, fmt.Errorf("%s: answered %d", name, res.StatusCode)
	case t.Field == "":
		return body, nil // what it says besides does not matter, nor whether it ever ends
	case err != nil:
		return nil, fmt.Errorf("%s: its answer: %w", name, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%s: its answer has more than %d bytes", name, maxAnswer)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("%s: its answer is no JSON object", name)
	}
	if got := strings.Trim(string(fields[t.Field]), `"`); got != t.Equals {
		return body, &refusedError{name, t.Field, clip(got, 40)}
	}
	return body, nil
}

// A refusedError is an answer by which the other side did not take a message.
type refusedError struct{ name, field, got string }

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s: not taken: its answer says %s %q", e.name, e.field, e.got)
}

// newClient makes calls that are bounded in time and follow no redirects: one could lead a message to where nobody meant
// it to go.
func newClient(c *tls.Config) *http.Client {
	return &http.Client{
		Timeout:       webhookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer, TLSClientConfig: c},
	}
}

// limited takes so many bytes, and then refuses more.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, fmt.Errorf("more than %d bytes", maxAnswer)
	}
	return l.w.Write(p)
}

var digits = regexp.MustCompile(`[^0-9]`)

// phone84 is a Vietnamese telephone number as it is called from abroad, without the plus: 84912345678.
func phone84(s string) string {
	n := digits.ReplaceAllString(s, "")
	switch {
	case strings.HasPrefix(n, "0084"):
		return n[2:]
	case strings.HasPrefix(n, "0"):
		return "84" + n[1:]
	}
	return n
}
