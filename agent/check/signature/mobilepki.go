package signature

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	// mssSpace is the name space of the messages (ETSI TS 102 204, annex A).
	mssSpace = "http://uri.etsi.org/TS102204/v1.1.2#"
	mssBytes = 256 << 10
)

func mobilepkiKind() check.Kind {
	return check.Kind{
		Name:    "mobilepki",
		Family:  "signature",
		Summary: "The service of signatures by mobile phone: TCP, TLS with the client's certificate, and its own status call (ETSI TS 102 204); it never sends anything to a phone.",
		Options: append([]check.Option{
			{Name: "url", Type: check.TypeURL, Required: true, Help: "The service, e.g. https://mpki1.ca.gov.vn:18083/ with the path that its operator gave."},
			{Name: "client_cert", Type: check.TypeString, Help: "A PEM file with the certificate that the check identifies itself with, and its key unless that is given apart."},
			{Name: "client_key", Type: check.TypeString, Help: "A PEM file with the key of client_cert."},
			{Name: "client_key_secret", Type: check.TypeSecret, Help: "The key of client_cert as a secret in PEM."},
			{Name: "call", Type: check.TypeString, Default: "tls", Enum: []string{"tls", "status"}, Help: "How far to go: tls ends after the handshake, in which some servers (nginx) take any client certificate and refuse it only when they are asked something; status asks for the state of a transaction that does not exist (MSS_StatusReq), which needs ap_id, ap_password and approved."},
			{Name: "ap_id", Type: check.TypeString, Help: "The application provider's identifier (AP_ID) that the operator gave to this monitor."},
			{Name: "ap_password", Type: check.TypeSecret, Help: "Its password (AP_PWD)."},
			{Name: "approved", Type: check.TypeString, Help: "Number of the document in which the service's operator allows this monitor to make the status call; required for it."},
			{Name: "approved_until", Type: check.TypeString, Help: "The last day of that approval, as 2026-12-31; after it nothing is sent and the check is evidence_expired."},
			{Name: "transaction", Type: check.TypeString, Default: "egovmon", Help: "The transaction to ask for; it should not exist."},
			{Name: "codes", Type: check.TypeInts, Default: "[100, 101, 103, 208, 500, 502, 504]", Help: "The states (TS 102 204, section 7.1) with which the service shows that it works: for an unknown transaction most answer 101 or 208."},
			{Name: "login_pause", Type: check.TypeDuration, Default: "6h", Min: 1, Max: 7 * 86400, Help: "How long an ap_password that was refused is not tried again; another one is tried at once."},
			slowOption(), reach.FamilyOption(),
		}, reach.TLSOptions()...),
		Facts: append([]check.FactDef{
			{Name: "status_code", Help: "HTTP status of the answer", Min: 100, Max: 999},
			{Name: "mss_status_code", Help: "the service's own status: 100 to 999", Max: 999},
			{Name: "body_bytes", Help: "size of the answer", Max: mssBytes},
			reach.FamilyFact(),
		}, reach.TLSFacts()...),
		Phases: append(phaseNamesOf(phaseDNS, phaseConnect, phaseTLS, phaseSend, phaseFirstByte, phaseTransfer, phaseVerify), "total"),
		Target: func(o check.Options) []string { return hosts(o.String("url")) },
		New:    newMobilepki,
	}
}

// phaseNamesOf are the words for some phases.
func phaseNamesOf(list ...int) []string {
	var names []string
	for _, i := range list {
		names = append(names, phaseNames()[i])
	}
	return names
}

// A mobilepkiCheck is one check of the kind mobilepki. It remembers a password that was refused.
type mobilepkiCheck struct {
	o        check.Options
	fetcher  fetcher
	policy   reach.Policy
	url      *url.URL
	password func() (string, error)
	slow     time.Duration
	at       clock
	until    time.Time // when the approval has ended; zero for never

	refused      [sha256.Size]byte
	refusedUntil time.Time
	waited       time.Duration // in this run, for nothing to come
}

func newMobilepki(o check.Options, env check.Env) (check.Func, error) {
	f := fetcher{dialer: reach.NewDialer(o.String("family"), env.Source), agent: "egovmon", at: newClock(env), maxBytes: mssBytes}
	c := &mobilepkiCheck{o: o, fetcher: f, slow: o.Duration("slow"), at: f.at}
	var err error
	if c.url, err = parseURL(o.String("url")); err != nil {
		return nil, fmt.Errorf("option \"url\": %w", err)
	}
	if c.url.Scheme != "https" {
		return nil, fmt.Errorf("option \"url\": %s is not https, and this service asks for a client's certificate", c.url.Redacted())
	}
	if c.policy, err = reach.NewPolicy(o, env); err != nil {
		return nil, err
	}
	if err := c.identify(o, env); err != nil {
		return nil, err
	}
	if o.String("call") == "status" && (o.String("ap_id") == "" || !o.Has("ap_password")) {
		return nil, errors.New("option \"call\": the status call needs ap_id and ap_password")
	}
	if o.String("call") == "status" && strings.TrimSpace(o.String("approved")) == "" {
		return nil, errors.New("option \"approved\": write the number of the document in which the operator allows the status call")
	}
	if text := o.String("approved_until"); text != "" {
		day, err := time.ParseInLocation(time.DateOnly, text, time.FixedZone("+07", 7*60*60))
		if err != nil {
			return nil, fmt.Errorf("option \"approved_until\": %q is no day: write e.g. 2026-12-31", text)
		}
		c.until = day.AddDate(0, 0, 1)
	}
	if n := len(o.String("ap_id")); n > 256 || len(o.String("transaction")) > 256 {
		return nil, errors.New("option \"ap_id\": more than 256 bytes, here or in transaction")
	}
	c.password = func() (string, error) { return reach.Secret(env, o.String("ap_password")) }
	return c.run, nil
}

// identify reads the client's certificate.
func (c *mobilepkiCheck) identify(o check.Options, env check.Env) error {
	cert, key, secret := o.String("client_cert"), o.String("client_key"), o.String("client_key_secret")
	switch {
	case cert == "" && (key != "" || secret != ""):
		return errors.New("option \"client_cert\": a client key needs its certificate: write the PEM file's path")
	case key != "" && secret != "":
		return errors.New("option \"client_key\": the key is given twice: keep client_key or client_key_secret")
	}
	var read func() (string, error)
	if secret != "" {
		read = func() (string, error) { return reach.Secret(env, secret) }
	}
	c.policy.ClientCert(cert, key, read)
	return nil
}

// run asks once.
func (c *mobilepkiCheck) run(ctx context.Context) check.Result {
	begin := time.Now()
	c.waited = 0
	var sp spans
	var view reach.View
	var facts check.Facts
	detail, bad := c.ask(ctx, &sp, &view, &facts)
	bad = bad.unlessCalledOff(ctx)
	total := time.Since(begin) - c.waited
	if f := c.policy.Degraded(&view); bad == nil && f != nil {
		bad = because(f.Reason, "%s", f.Detail)
	}
	if bad == nil {
		bad = tooSlow(total, c.slow)
	}
	r := bad.result(detail)
	view.Facts(&facts)
	r.Phases, r.Facts = sp.phases(total), facts
	return r
}

func (c *mobilepkiCheck) ask(ctx context.Context, sp *spans, view *reach.View, facts *check.Facts) (string, *fault) {
	var password string
	if c.o.String("call") == "status" {
		if !c.until.IsZero() && !c.at.now().Before(c.until) {
			return "", because(check.EvidenceExpired, "the operator's approval ended on %s: nothing was sent", c.until.AddDate(0, 0, -1).Format(time.DateOnly))
		}
		var err error
		if password, err = c.password(); err != nil {
			return "", because(check.NotConfigured, "ap_password: %v", err)
		}
		if c.refused == sha256.Sum256([]byte(password)) && c.at.now().Before(c.refusedUntil) {
			return "", because(check.Auth, "the service refused this AP_ID and password; the same are not tried before %s", stamp(c.refusedUntil))
		}
	}
	name := c.url.Hostname()
	if c.policy.ServerName != "" {
		name = c.policy.ServerName
	}
	cfg, f := c.policy.Config(name, view)
	if f != nil {
		return "", because(f.Reason, "%s", f.Detail)
	}
	conn, err := c.fetcher.dial(ctx, c.url, sp)
	if err != nil {
		return "", because(check.Classify(check.StepConnect, err), "%v", err)
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	if family := reach.IPFamily(conn); family > 0 {
		facts.Add("ip_family_code", family)
	}
	t := tls.Client(conn, cfg)
	begin := time.Now()
	err = t.Handshake()
	sp.add(phaseTLS, time.Since(begin))
	if err != nil {
		if bad := refusedClient(err); bad != nil {
			return "", bad
		}
		f := view.HandshakeFault(err)
		return "", because(f.Reason, "%s", f.Detail)
	}
	if c.o.String("call") != "status" {
		return "connected with TLS; nothing was asked", c.settled(t)
	}
	return c.status(t, password, sp, facts)
}

// settleFor is how long a server of TLS 1.3 has to refuse the client's certificate, which it says after the handshake. The
// wait is no part of the run's duration.
const settleFor = 2 * time.Second

// settled waits whether the server refuses the client's certificate. One that accepts it says nothing.
func (c *mobilepkiCheck) settled(t *tls.Conn) *fault {
	if t.ConnectionState().Version < tls.VersionTLS13 {
		return nil
	}
	if err := t.SetReadDeadline(time.Now().Add(settleFor)); err != nil {
		return because(check.Internal, "%v", err)
	}
	begin := time.Now()
	_, err := t.Read(make([]byte, 1))
	c.waited = time.Since(begin)
	return refusedClient(err)
}

// refusedClient says when the server does not accept the client's certificate (RFC 8446, section 6.2). The standard library
// tells alerts apart by their words alone.
func refusedClient(err error) *fault {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return nil
	}
	for _, word := range []string{"certificate", "access denied"} {
		if strings.Contains(op.Err.Error(), word) {
			return because(check.Auth, "the service does not accept the client's certificate: %v", err)
		}
	}
	return nil
}

// refusedByPage tells whether a page with status 400 says that the client's certificate is missing or not accepted, as nginx does,
// which ends the handshake well whatever the certificate is.
func refusedByPage(body []byte) bool {
	return bytes.Contains(body, []byte("SSL certificate")) && bytes.Contains(body, []byte("400"))
}

// status makes the status call.
func (c *mobilepkiCheck) status(t *tls.Conn, password string, sp *spans, facts *check.Facts) (string, *fault) {
	req := c.fetcher.request(question{method: http.MethodPost, url: c.url, kind: "text/xml; charset=utf-8", accept: "text/xml", body: c.request(password)})
	req.Header.Set("SOAPAction", `"#MSS_Status"`)
	if bad := send(t, req, sp); bad != nil {
		return "", bad
	}
	wire := &io.LimitedReader{R: t, N: maxHead}
	begin := time.Now()
	resp, err := web.ReadHead(bufio.NewReaderSize(wire, 4<<10), req)
	sp.add(phaseFirstByte, time.Since(begin))
	switch {
	case err != nil && wire.N <= 0:
		return "", because(check.TooLarge, "the headers of the answer have more than %d bytes", maxHead)
	case err != nil:
		if bad := refusedClient(err); bad != nil {
			return "", bad
		}
		return "", because(check.Classify(check.StepExchange, err), "waiting for the answer: %v", err)
	}
	facts.Add("status_code", float64(resp.StatusCode))
	if next, bad := redirection(c.url, resp); next != nil || bad != nil {
		return "", because(check.HTTPRedirect, "status %d: the service sends elsewhere", resp.StatusCode)
	}
	// A fault of SOAP comes with status 500 (SOAP 1.1, section 6.2).
	stated := resp.StatusCode == http.StatusInternalServerError
	bad := statusFault(resp.StatusCode)
	if bad != nil && !stated && resp.StatusCode != http.StatusBadRequest {
		return "", bad
	}
	wire.N = 2*c.fetcher.maxBytes + maxHead
	a, unread := c.fetcher.body(resp, sp, facts)
	switch {
	case bad != nil && !stated && unread == nil && refusedByPage(a.body):
		return "", because(check.Auth, "the service does not accept the client's certificate: status %d", resp.StatusCode)
	case bad != nil && !stated:
		return "", bad
	case unread != nil:
		return "", unread
	}
	begin = time.Now()
	defer func() { sp.add(phaseVerify, time.Since(begin)) }()
	return c.judge(a, password, facts)
}

// request writes MSS_StatusReq (TS 102 204, section 6.4.1) in an envelope of SOAP 1.1.
func (c *mobilepkiCheck) request(password string) []byte {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><MSS_StatusQuery>`+
		`<mss:MSS_StatusReq xmlns:mss="%s" MajorVersion="1" MinorVersion="1" MSSP_TransID="%s">`+
		`<mss:AP_Info AP_ID="%s" AP_PWD="%s" AP_TransID="_%x" Instant="%s"/><mss:MSSP_Info><mss:MSSP_ID/></mss:MSSP_Info>`+
		`</mss:MSS_StatusReq></MSS_StatusQuery></soapenv:Body></soapenv:Envelope>`,
		mssSpace, escape(c.o.String("transaction")), escape(c.o.String("ap_id")), escape(password), id, c.at.now().UTC().Format("2006-01-02T15:04:05Z"))
}

// judge reads the answer to a status call.
func (c *mobilepkiCheck) judge(a *answer, password string, facts *check.Facts) (string, *fault) {
	doc, err := parseXML(a.body)
	if err != nil {
		return "", a.unreadable("an answer in SOAP", err)
	}
	body := doc.find("Body")
	if doc.name != "Envelope" || body == nil {
		return "", a.unreadable("an answer in SOAP", fmt.Errorf("the document is <%.40s>", doc.name))
	}
	code, text, ok := mssStatus(body)
	switch {
	case !ok && body.find("Fault") != nil:
		return "", because(check.HTTPStatus, "the service answers with a fault: %.120s", text)
	case !ok:
		return "", because(check.Protocol, "the answer holds no state (StatusCode)")
	}
	facts.Add("mss_status_code", float64(code))
	said := fmt.Sprintf("the service answers with status %d%s", code, mssName(code))
	switch {
	case slices.Contains(c.o.Ints("codes"), int64(code)):
		return said, nil
	case code == 104:
		c.refused, c.refusedUntil = sha256.Sum256([]byte(password)), c.at.now().Add(c.o.Duration("login_pause"))
		return "", because(check.Auth, "%s: AP_ID or password is not accepted", said)
	}
	return "", because(check.HTTPStatus, "%s, want one of %v", said, c.o.Ints("codes"))
}

// mssStatus returns the service's status: the value of StatusCode, or in a fault the code that ends in _NNN (TS 102 204,
// section 7.2).
func mssStatus(body *xmlNode) (code int, text string, ok bool) {
	if s := body.find("StatusCode"); s != nil {
		n, err := strconv.ParseUint(s.attrs["Value"], 10, 16)
		return int(n), "", err == nil && n >= 100 && n <= 999
	}
	fault := body.find("Fault")
	if fault == nil {
		return 0, "", false
	}
	for _, name := range []string{"Subcode", "faultcode", "Code"} {
		n := fault.find(name)
		if n == nil {
			continue
		}
		said := n.text
		if v := n.find("Value"); v != nil {
			said = v.text
		}
		_, digits, cut := strings.Cut(said, "_")
		if v, err := strconv.ParseUint(digits, 10, 16); cut && err == nil && v >= 100 && v <= 999 {
			return int(v), "", true
		}
	}
	for _, name := range []string{"faultstring", "Reason"} {
		if n := fault.find(name); n != nil && text == "" {
			text = n.text
			if t := n.find("Text"); t != nil {
				text = t.text
			}
		}
	}
	return 0, text, false
}

// mssName is the word for a state.
func mssName(code int) string {
	name := map[int]string{
		100: "REQUEST_OK", 101: "WRONG_PARAM", 102: "MISSING_PARAM", 103: "WRONG_DATA_LENGTH", 104: "UNAUTHORIZED_ACCESS", 105: "UNKNOWN_CLIENT",
		107: "INAPPROPRIATE_DATA", 108: "INCOMPATIBLE_INTERFACE", 109: "UNSUPPORTED_PROFILE", 208: "EXPIRED_TRANSACTION", 209: "OTA_ERROR",
		500: "SIGNATURE", 502: "VALID_SIGNATURE", 504: "OUTSTANDING_TRANSACTION", 900: "INTERNAL_ERROR",
	}[code]
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}
