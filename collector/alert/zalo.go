package alert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"

	"egovmon/agent/durable"
)

// A ZaloConfig sends messages by templates that Zalo has approved (Zalo Notification Service).
type ZaloConfig struct {
	// AppID names the app, and SecretKeyFile holds its secret key.
	AppID         string `yaml:"app_id"`
	SecretKeyFile string `yaml:"secret_key_file"`
	// RefreshTokenFile holds the first refresh token, as the administrator got it. Each is good once: the program keeps
	// those that follow beside its outbox. A file with another token begins anew.
	RefreshTokenFile string `yaml:"refresh_token_file"`
	// TemplateID is the approved template, and Data its fields, as templates over Call. Default: title, system, unit, since.
	TemplateID string            `yaml:"template_id"`
	Data       map[string]string `yaml:"data"`
	// URL and OAuthURL are Zalo's own when they are left out.
	URL      string `yaml:"url"`
	OAuthURL string `yaml:"oauth_url"`
	// CAFile holds PEM certificates to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// Depends lists the services without which Zalo is not reached. Default inet, dns_local.
	Depends []string `yaml:"depends"`
}

// Zalo's addresses, and what it answers.
const (
	zaloURL      = "https://business.openapi.zalo.me/message/template"
	zaloOAuthURL = "https://oauth.zaloapp.com/v4/oa/access_token"

	zaloTokenEnded = "-124"           // the access token is wrong or has ended
	zaloEarly      = 10 * time.Minute // before its end an access token is renewed
)

// A zaloToken is kept in a file: losing the refresh token means that a person must get another one.
type zaloToken struct {
	Seed    string    `json:"seed"` // SHA-256 of the first refresh token
	Access  string    `json:"access"`
	Ends    time.Time `json:"ends"`
	Refresh string    `json:"refresh"`
}

// A zalo sends templates, one call after the other.
type zalo struct {
	config ZaloConfig
	file   string
	now    func() time.Time
	client *http.Client
	data   map[string]*template.Template

	mu sync.Mutex // held while tokens are renewed
}

func newZalo(c ZaloConfig, file string, now func() time.Time) (*zalo, error) {
	fail := func(format string, args ...any) (*zalo, error) {
		return nil, fmt.Errorf("alert: zalo: "+format, args...)
	}
	if c.URL == "" {
		c.URL = zaloURL
	}
	if c.OAuthURL == "" {
		c.OAuthURL = zaloOAuthURL
	}
	if len(c.Data) == 0 {
		c.Data = map[string]string{"title": "{{.Title}}", "system": "{{.System}}", "unit": "{{.Unit}}", "since": "{{.Since}}"}
	}
	switch {
	case c.AppID == "" || c.TemplateID == "":
		return fail("app_id and template_id are needed")
	case c.SecretKeyFile == "" || c.RefreshTokenFile == "":
		return fail("secret_key_file and refresh_token_file are needed")
	}
	for _, f := range []string{c.SecretKeyFile, c.RefreshTokenFile} {
		if _, err := readSecret(f); err != nil {
			return fail("%w", err)
		}
	}
	for _, s := range []string{c.URL, c.OAuthURL} {
		if u, err := url.Parse(s); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return fail("url and oauth_url are written as https://host/path")
		}
	}
	roots, err := rootsOf(c.CAFile)
	if err != nil {
		return fail("%w", err)
	}
	z := &zalo{config: c, file: file, now: now, client: newClient(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}), data: map[string]*template.Template{}}
	for k, text := range c.Data {
		t, err := template.New(k).Option("missingkey=error").Parse(text)
		if err == nil {
			err = t.Execute(&limited{w: &bytes.Buffer{}, left: maxAnswer}, exampleCall())
		}
		if err != nil {
			return fail("data: %w", err)
		}
		z.data[k] = t
	}
	return z, nil
}

// send returns nil once Zalo has taken the message. With a token that has ended it tries once more with a new one.
func (z *zalo) send(ctx context.Context, to string, c Content) error {
	token, err := z.token(ctx, "")
	if err != nil {
		return err
	}
	err = z.post(ctx, token, to, c)
	if e, ok := errors.AsType[*refusedError](err); !ok || e.got != zaloTokenEnded {
		return err
	}
	if token, err = z.token(ctx, token); err != nil {
		return err
	}
	return z.post(ctx, token, to, c)
}

func (z *zalo) post(ctx context.Context, token, to string, c Content) error {
	data := map[string]string{}
	v := callOf(to, c)
	for k, t := range z.data {
		var b bytes.Buffer
		if err := t.Execute(&limited{w: &b, left: maxAnswer}, v); err != nil {
			return fmt.Errorf("zalo: data: %w", err)
		}
		data[k] = b.String()
	}
	body, err := json.Marshal(map[string]any{"phone": phone84(to), "template_id": z.config.TemplateID, "template_data": data, "tracking_id": clip(c.Key, 48)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, z.config.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("access_token", token)
	_, err = taken(z.client, req, "zalo", TakenConfig{"error", "0"})
	return err
}

// token returns an access token that is not bad, the one that Zalo has just refused.
func (z *zalo) token(ctx context.Context, bad string) (string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	first, err := readSecret(z.config.RefreshTokenFile)
	if err != nil {
		return "", fmt.Errorf("zalo: refresh_token_file: %w", err)
	}
	sum := sha256.Sum256(first)
	t := zaloToken{Seed: hex.EncodeToString(sum[:]), Refresh: string(first)}
	switch kept, err := z.load(); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	case kept.Seed == t.Seed:
		t = kept
	}
	if t.Access != "" && t.Access != bad && z.now().Before(t.Ends.Add(-zaloEarly)) {
		return t.Access, nil
	}
	if t, err = z.renew(ctx, t); err != nil {
		return "", err
	}
	return t.Access, nil
}

func (z *zalo) load() (t zaloToken, err error) {
	data, err := durable.Read(z.file, maxSecret*4)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(data, &t); err != nil || t.Refresh == "" {
		return t, fmt.Errorf("zalo: %s is damaged: remove it, get a new refresh token from Zalo and write it into %s", z.file, z.config.RefreshTokenFile)
	}
	return t, nil
}

// renew uses the refresh token up, and keeps what it got before anything is sent with it.
func (z *zalo) renew(ctx context.Context, t zaloToken) (zaloToken, error) {
	secret, err := readSecret(z.config.SecretKeyFile)
	if err != nil {
		return t, fmt.Errorf("zalo: secret_key_file: %w", err)
	}
	form := url.Values{"refresh_token": {t.Refresh}, "app_id": {z.config.AppID}, "grant_type": {"refresh_token"}}
	// The end of the program does not cut this off: the answer is the only copy of the next refresh token.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, z.config.OAuthURL, strings.NewReader(form.Encode()))
	if err != nil {
		return t, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("secret_key", string(secret))
	body, err := taken(z.client, req, "zalo: token", TakenConfig{})
	if err != nil {
		return t, err
	}
	var got struct {
		Access  string          `json:"access_token"`
		Refresh string          `json:"refresh_token"`
		Expires json.RawMessage `json:"expires_in"` // seconds, as a string or a number
		Error   int             `json:"error"`
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Access == "" || got.Refresh == "" {
		return t, fmt.Errorf("zalo: no new token (error %d): if it was used up or is older than three months, get one from Zalo and write it into %s", got.Error, z.config.RefreshTokenFile)
	}
	life, err := strconv.ParseInt(strings.Trim(string(got.Expires), `"`), 10, 64)
	if err != nil || life <= 0 || life > 366*86400 {
		life = 3600
	}
	t = zaloToken{Seed: t.Seed, Access: got.Access, Refresh: got.Refresh, Ends: z.now().Add(time.Duration(life) * time.Second).UTC()}
	data, err := json.Marshal(t)
	if err == nil {
		err = durable.Replace(z.file, data)
	}
	if err != nil {
		return t, fmt.Errorf("zalo: the new refresh token cannot be kept; the old one is used up: %w", err)
	}
	return t, nil
}
