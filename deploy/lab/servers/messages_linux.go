package servers

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MessagesConfig sets up the companies that bring messages to telephones.
type MessagesConfig struct {
	Now       func() time.Time // nil for the system's clock
	APIKey    string           // of the SMS gateway
	SecretKey string           // of the SMS gateway
	Token     string           // access token of the Zalo account
	Templates []string         // the templates of messages that Zalo has approved
	// AppID, AppSecret and RefreshToken belong to the Zalo account: each refresh token is good once, for an access token and
	// the next one.
	AppID, AppSecret, RefreshToken string
}

// A Message came in to be brought to a telephone.
type Message struct {
	Channel  string // "sms" or "zalo"
	Phone    string
	Text     string            // of an SMS
	Template string            // of Zalo
	Data     map[string]string // the template's fields
	Tracking string            // the sender's own number
}

// Messages is an SMS gateway and the API of Zalo for messages by template, at port 80 (a company's own are behind TLS):
//   - POST /MainService.svc/json/SendMultipleMessage_V4_post_json/, after the gateway eSMS and its public guide for developers: JSON
//     with ApiKey, SecretKey, Phone, Content, Brandname and SmsType; CodeResult 100 is taken, 101 is wrong keys, 99 anything else.
//   - POST /v4/oa/access_token, after oauth.zaloapp.com: the header secret_key, a form with refresh_token, app_id and grant_type; it answers
//     access_token, refresh_token and expires_in, and error -14014 to a refresh token that was used.
//   - POST /message/template, after Zalo's Notification Service at business.openapi.zalo.me: the header access_token, JSON with phone (84…),
//     template_id, template_data and tracking_id; error 0 is taken, -124 a wrong token, -108 a wrong number, -112 a template that was not approved.
//
// All answer 200 with their own code in the body.
type Messages struct {
	p   Place
	c   MessagesConfig
	web *httpd

	mu     sync.Mutex
	taken  []Message
	refuse bool
}

// maxMessages is how many messages are kept.
const maxMessages = 1000

// StartMessages starts both.
func StartMessages(ctx context.Context, p Place, c MessagesConfig) (*Messages, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	m := &Messages{p: p, c: c}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /MainService.svc/json/SendMultipleMessage_V4_post_json/", m.sms)
	mux.HandleFunc("POST /message/template", m.zalo)
	mux.HandleFunc("POST /v4/oa/access_token", m.oauth)
	var err error
	m.web, err = startHTTP(ctx, p, 80, mux)
	return m, err
}

func (m *Messages) sms(w http.ResponseWriter, r *http.Request) {
	var q struct {
		APIKey    string `json:"ApiKey"`
		SecretKey string
		Phone     string
		Content   string
	}
	answer := map[string]any{"CodeResult": "100", "CountRegenerate": 0, "SMSID": rand.Text()}
	fail := func(code, why string) { answer = map[string]any{"CodeResult": code, "ErrorMessage": why} }
	switch err := json.NewDecoder(r.Body).Decode(&q); {
	case err != nil || q.Phone == "" || q.Content == "":
		fail("99", "Phone and Content are needed")
	case q.APIKey != m.c.APIKey || q.SecretKey != m.c.SecretKey || m.refuses():
		fail("101", "Authorize Failed")
	default:
		m.take(Message{Channel: "sms", Phone: q.Phone, Text: q.Content})
	}
	reply(w, answer)
}

func (m *Messages) zalo(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Phone    string         `json:"phone"`
		Template string         `json:"template_id"`
		Data     map[string]any `json:"template_data"`
		Tracking string         `json:"tracking_id"`
	}
	code, why := 0, "Success"
	switch err := json.NewDecoder(r.Body).Decode(&q); {
	case r.Header.Get("access_token") != m.token() || m.refuses():
		code, why = -124, "Access token is invalid"
	case err != nil || !strings.HasPrefix(q.Phone, "84") || strings.Trim(q.Phone, "0123456789") != "":
		code, why = -108, "Phone number is invalid"
	case !slices.Contains(m.c.Templates, q.Template):
		code, why = -112, "Template not existed"
	}
	answer := map[string]any{"error": code, "message": why}
	if code == 0 {
		t := Message{Channel: "zalo", Phone: q.Phone, Template: q.Template, Data: map[string]string{}, Tracking: q.Tracking}
		for k, v := range q.Data {
			text, _ := v.(string)
			t.Data[k] = cmp.Or(text, compact(v))
		}
		m.take(t)
		answer["data"] = map[string]any{"msg_id": rand.Text(), "sent_time": strconv.FormatInt(m.c.Now().UnixMilli(), 10),
			"quota": map[string]string{"dailyQuota": "500", "remainingQuota": "499"}}
	}
	reply(w, answer)
}

// oauth changes a refresh token for an access token and the next refresh token.
func (m *Messages) oauth(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	_ = r.ParseForm() // an unreadable form has no token
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse || r.Header.Get("secret_key") != m.c.AppSecret || r.PostForm.Get("app_id") != m.c.AppID || r.PostForm.Get("grant_type") != "refresh_token" ||
		m.c.RefreshToken == "" || r.PostForm.Get("refresh_token") != m.c.RefreshToken {
		reply(w, map[string]any{"error": -14014, "error_name": "Invalid refresh token."})
		return
	}
	m.c.Token, m.c.RefreshToken = rand.Text(), rand.Text()
	reply(w, map[string]any{"access_token": m.c.Token, "refresh_token": m.c.RefreshToken, "expires_in": "90000"})
}

// ForgetToken ends the access token of the Zalo account before its time.
func (m *Messages) ForgetToken() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.c.Token = rand.Text()
}

func (m *Messages) token() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.c.Token
}

// compact is a value as JSON writes it.
func compact(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

func reply(w http.ResponseWriter, answer map[string]any) {
	text, err := json.Marshal(answer)
	respond(w, "application/json", text, err)
}

func (m *Messages) take(t Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.taken) < maxMessages {
		m.taken = append(m.taken, t)
	}
}

func (m *Messages) refuses() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refuse
}

// Taken lists the messages that were taken, the first thousand.
func (m *Messages) Taken() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.taken)
}

// Refuse lets both say that the sender is not known, as when a contract or a token has ended.
func (m *Messages) Refuse(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = on
	return nil
}

// Dead closes the port.
func (m *Messages) Dead(on bool) error { return m.web.Dead(on) }

// Stop ends both for good.
func (m *Messages) Stop() error { return m.web.Stop() }

// Addr is their host:port.
func (m *Messages) Addr() string { return m.p.at(80) }

// URL is their address, without a slash at its end.
func (m *Messages) URL() string { return m.p.url("http", m.p.IP.String(), 80) }
