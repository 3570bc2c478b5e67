package network

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"egovmon/agent/check"
)

// An ippPrinter is where a printer is asked for its state by IPP.
type ippPrinter struct {
	url    string // http or https
	said   string // as the plan writes it, which is how the printer knows itself
	source netip.Addr
}

// maxIPP bounds the answer: the few attributes that are asked for take some hundred bytes.
const maxIPP = 64 << 10

// ippURL turns the address of a printer into that of its server (RFC 8010, section 4; RFC 7472).
func ippURL(said string) (string, error) {
	u, err := url.Parse(said)
	if err != nil {
		return "", err
	}
	port := u.Port()
	switch u.Scheme {
	case "http", "https":
		return said, nil
	case "ipp":
		u.Scheme = "http"
	case "ipps":
		u.Scheme = "https"
	default:
		return "", fmt.Errorf("%q is no scheme of printers: write ipp, ipps, http or https", u.Scheme)
	}
	if port == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "631")
	}
	return u.String(), nil
}

// printerFacts declares what a printer tells.
func printerFacts() []check.FactDef {
	return []check.FactDef{
		{Name: "printer_state_code", Help: "what the printer does: 3 nothing, 4 prints, 5 has stopped", Min: ippIdle, Max: ippStopped},
		{Name: "printer_accepting_code", Help: "1 when it takes new jobs", Max: 1},
		{Name: "printer_reasons_count", Help: "reasons that it gives for its state, reports left out", Max: maxReasons},
		{Name: "printer_jobs_count", Help: "jobs that wait", Max: 1 << 31},
	}
}

// ask gets the printer's attributes and judges them.
func (p *ippPrinter) ask(ctx context.Context, warnings bool) check.Result {
	var number [4]byte
	rand.Read(number[:])
	id := binary.BigEndian.Uint32(number[:]) &^ (1 << 31)
	answer, bad := p.post(ctx, ippRequest(id, p.said))
	if bad != nil {
		bad.Detail = check.CleanDetail("IPP: " + bad.Detail)
		return *bad
	}
	s, err := parsePrinter(answer)
	switch {
	case err != nil:
		return check.Because(check.Protocol, "IPP: %s", err)
	case s.request != id:
		return check.Because(check.Protocol, "IPP: an answer to another request")
	}
	return s.judge(warnings)
}

// post sends a request and returns the answer, or the result that says why there is none.
func (p *ippPrinter) post(ctx context.Context, request []byte) ([]byte, *check.Result) {
	d := net.Dialer{KeepAlive: -1}
	if p.source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.source, 0))
	}
	step := check.StepConnect
	client := http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := d.DialContext(ctx, network, address)
				if err == nil {
					step = check.StepExchange
				}
				return c, err
			},
			DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10,
			// Printers make their certificates themselves. Nothing secret is sent, and nothing but a state comes back.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(request))
	if err != nil {
		return nil, new(check.Because(check.Misconfigured, "%s", err))
	}
	r.Header.Set("Content-Type", "application/ipp")
	resp, err := client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, new(failed(ctx, step, err))
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, new(check.Because(check.Auth, "the printer's server answers with status %d", resp.StatusCode))
	case resp.StatusCode != http.StatusOK:
		return nil, new(check.Because(check.HTTPStatus, "the printer's server answers with status %d", resp.StatusCode))
	case !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/ipp"):
		return nil, new(check.Because(check.Protocol, "what answers there is no printer: its answers are not application/ipp"))
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxIPP+1))
	switch {
	case err != nil:
		return nil, new(failed(ctx, check.StepExchange, err))
	case len(answer) > maxIPP:
		return nil, new(check.Because(check.TooLarge, "an answer of more than %d bytes", maxIPP))
	}
	return answer, nil
}

// Numbers of IPP: RFC 8010, section 3.5; RFC 8011, sections 5.4.11 and B.1.
const (
	ippGetPrinterAttributes = 0x000b
	ippIdle                 = 3
	ippStopped              = 5

	ippOperationGroup = 0x01
	ippEnd            = 0x03
	ippPrinterGroup   = 0x04
	ippLastDelimiter  = 0x0f
	ippInteger        = 0x21
	ippBoolean        = 0x22
	ippEnum           = 0x23
	ippKeyword        = 0x44
	ippURI            = 0x45
	ippCharset        = 0x47
	ippLanguage       = 0x48

	maxReasons = 32 // of one printer
)

// ippRequest writes Get-Printer-Attributes (RFC 8011, section 4.2.5) for the attributes that are judged, in version 1.1, which
// every printer knows.
func ippRequest(id uint32, printer string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{1, 1}, ippGetPrinterAttributes)
	b = append(binary.BigEndian.AppendUint32(b, id), ippOperationGroup)
	add := func(tag byte, name, value string) {
		b = append(binary.BigEndian.AppendUint16(append(b, tag), uint16(len(name))), name...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
	}
	add(ippCharset, "attributes-charset", "utf-8")
	add(ippLanguage, "attributes-natural-language", "en")
	add(ippURI, "printer-uri", printer)
	name := "requested-attributes"
	for _, wanted := range []string{"printer-state", "printer-state-reasons", "printer-is-accepting-jobs", "queued-job-count"} {
		add(ippKeyword, name, wanted)
		name = "" // a further value of the same attribute
	}
	return append(b, ippEnd)
}

// A printerState is what a printer says of itself.
type printerState struct {
	status    uint16
	request   uint32
	state     int      // 0 when it was not said
	reasons   []string // without "none"
	accepting *bool
	jobs      int // -1 when it was not said
}

var errIPP = errors.New("an answer that breaks its form")

// parsePrinter reads an answer (RFC 8010, section 3.1).
func parsePrinter(b []byte) (printerState, error) {
	s := printerState{jobs: -1}
	if len(b) < 9 || b[0] == 0 || b[0] > 2 {
		return s, errIPP
	}
	s.status, s.request = binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:])
	b = b[8:]
	cut := func() ([]byte, bool) {
		if len(b) < 2 || int(binary.BigEndian.Uint16(b)) > len(b)-2 {
			return nil, false
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		v := b[2:n]
		b = b[n:]
		return v, true
	}
	group, name := byte(0), ""
	for len(b) > 0 {
		tag := b[0]
		b = b[1:]
		if tag == ippEnd {
			return s, nil
		}
		if tag <= ippLastDelimiter {
			group, name = tag, ""
			continue
		}
		n, ok := cut()
		value, ok2 := cut()
		if !ok || !ok2 {
			return s, errIPP
		}
		if len(n) > 0 {
			name = string(n)
		}
		if group == ippPrinterGroup {
			s.attribute(tag, name, value)
		}
	}
	return s, errIPP // without its end
}

// attribute takes one value over.
func (s *printerState) attribute(tag byte, name string, value []byte) {
	switch {
	case name == "printer-state" && tag == ippEnum && len(value) == 4:
		s.state = int(int32(binary.BigEndian.Uint32(value)))
	case name == "printer-state-reasons" && tag == ippKeyword && len(s.reasons) < maxReasons:
		if word := keyword(value); word != "none" && word != "" {
			s.reasons = append(s.reasons, word)
		}
	case name == "printer-is-accepting-jobs" && tag == ippBoolean && len(value) == 1:
		s.accepting = new(value[0] == 1)
	case name == "queued-job-count" && tag == ippInteger && len(value) == 4:
		s.jobs = int(max(0, int32(binary.BigEndian.Uint32(value))))
	}
}

// keyword keeps what a keyword may be made of (RFC 8011, section 5.1.4); "" when there is something else in it.
func keyword(value []byte) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-._"
	if len(value) > 64 || strings.Trim(string(value), letters) != "" {
		return ""
	}
	return string(value)
}

// judge says what a printer's state means for those who print.
func (s printerState) judge(warnings bool) check.Result {
	switch {
	case s.status == 0x0401 || s.status == 0x0402 || s.status == 0x0403: // forbidden, not authenticated, not authorized
		return check.Because(check.Auth, "IPP: the printer refuses to tell its state (0x%04x)", s.status)
	case s.status > 0xff:
		return check.Because(check.Protocol, "IPP: the printer answers with error 0x%04x", s.status)
	case s.state < ippIdle || s.state > ippStopped:
		return check.Because(check.Protocol, "IPP: the printer does not tell its state")
	}
	var told, grave []string
	for _, r := range s.reasons {
		switch word, kind := severity(r); kind {
		case "report":
		case "warning":
			if told = append(told, word); warnings {
				grave = append(grave, word)
			}
		default:
			told, grave = append(told, word), append(grave, word)
		}
	}
	refuses := s.accepting != nil && !*s.accepting
	why := ""
	if len(told) > 0 {
		why = ": " + strings.Join(told[:min(len(told), 6)], ", ")
	}
	var r check.Result
	switch {
	case slices.ContainsFunc(grave, supply) || s.state == ippStopped && slices.ContainsFunc(told, supply):
		r = check.Because(check.LowResource, "the printer lacks something%s", why)
	case s.state == ippStopped:
		r = check.Because(check.Partial, "the printer has stopped%s", why)
	case refuses:
		r = check.Because(check.Partial, "the printer takes no jobs%s", why)
	case len(grave) > 0:
		r = check.Because(check.Partial, "the printer wants attention%s", why)
	default:
		r = check.Because(check.OK, "")
	}
	r.Facts.Add("printer_state_code", float64(s.state))
	r.Facts.Add("printer_reasons_count", float64(len(told)))
	if s.accepting != nil {
		r.Facts.Add("printer_accepting_code", one(*s.accepting))
	}
	if s.jobs >= 0 {
		r.Facts.Add("printer_jobs_count", float64(s.jobs))
	}
	return r
}

// severity takes the grade off a reason: report, warning or error (RFC 8011, section 5.4.12). A reason without a grade is as
// grave as one with error.
func severity(reason string) (word, grade string) {
	for _, grade := range []string{"report", "warning", "error"} {
		if word, ok := strings.CutSuffix(reason, "-"+grade); ok {
			return word, grade
		}
	}
	return reason, "error"
}

// supply reports whether a reason is that something has run out or is about to: paper, toner, a full waste box.
func supply(word string) bool {
	for _, of := range []string{"media-empty", "media-low", "media-needed", "toner-", "marker-supply-", "marker-waste-", "developer-", "opc-", "output-tray-", "output-area-"} {
		if strings.HasPrefix(word, of) && !strings.HasSuffix(word, "-missing") {
			return true
		}
	}
	return false
}
