package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// webhookTimeout bounds one call, from the name to the end of the answer.
	webhookTimeout = 10 * time.Second
	// maxAnswer is how much of an answer is read; nothing in it is used.
	maxAnswer = 64 << 10
)

// The headers of a call. The signature is "sha256=" and the HMAC-SHA-256, in hex, of the timestamp (Unix seconds), a
// full stop and the body, with the shared key. The delivery names the message: a second call with the same one is the
// same message again.
const (
	HeaderSignature = "Egovmon-Signature"
	HeaderTimestamp = "Egovmon-Timestamp"
	HeaderDelivery  = "Egovmon-Delivery"
)

// A call is the JSON body of a webhook.
type call struct {
	Version  int       `json:"version"`
	Delivery string    `json:"delivery"`
	Why      string    `json:"why"`
	Title    string    `json:"title"` // Vietnamese, one line
	Text     string    `json:"text"`  // Vietnamese, then English
	Items    []Payload `json:"items"`
}

const callVersion = 1

// A caller posts messages to webhooks.
type caller struct {
	secretFile string
	client     *http.Client
	now        func() time.Time
}

func newCaller(c WebhookConfig, now func() time.Time) (*caller, error) {
	roots, err := rootsOf(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("alert: webhook: %w", err)
	}
	if c.SecretFile != "" {
		if _, err := readSecret(c.SecretFile); err != nil {
			return nil, fmt.Errorf("alert: webhook: secret_file: %w", err)
		}
	}
	return &caller{secretFile: c.SecretFile, now: now, client: newClient(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})}, nil
}

// send returns nil once the other side has answered 2xx.
func (w *caller) send(ctx context.Context, to string, c Content) error {
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("the address of a contact is no URL: write it as https://host/path")
	}
	body, err := json.Marshal(call{Version: callVersion, Delivery: c.Key, Why: c.Why, Title: c.Subject, Text: c.Text, Items: c.Items})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	at := strconv.FormatInt(w.now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "egovmon")
	req.Header.Set(HeaderDelivery, c.Key)
	req.Header.Set(HeaderTimestamp, at)
	if w.secretFile != "" {
		secret, err := readSecret(w.secretFile)
		if err != nil {
			return err
		}
		req.Header.Set(HeaderSignature, sign(secret, at, body))
	}
	res, err := w.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, which may hold a key
		}
		return fmt.Errorf("webhook: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 == 2 {
		// What it says besides does not matter, nor whether it ever ends.
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
		return nil
	}
	if res.StatusCode/100 == 3 {
		return fmt.Errorf("webhook: answered %d: redirects are not followed, enter the address that it leads to", res.StatusCode)
	}
	return fmt.Errorf("webhook: answered %d", res.StatusCode)
}

// sign returns the value of the signature's header.
func sign(secret []byte, at string, body []byte) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(at + "."))
	h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}
