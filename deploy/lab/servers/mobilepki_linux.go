package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// MobilePKIConfig sets up a service of signatures by mobile phone.
type MobilePKIConfig struct {
	PKI      *PKI
	Server   *ServerIdentity // its certificate
	AP, Pass string          // the application provider that it knows
}

// A MobilePKI is what a client finds of a service of signatures by mobile phone (ETSI TS 102 204) at port 18083: TLS that asks for
// the client's certificate, and SOAP behind it. It knows no transaction, and has no phone to send anything to: it counts the
// requests to sign.
type MobilePKI struct {
	p   Place
	c   MobilePKIConfig
	web *httpd

	mu     sync.Mutex
	state  Certificate
	broken bool
	closed bool            // for maintenance
	slow   time.Duration   // until each answer
	shut   map[string]bool // clients that are refused, by their certificates' serial numbers
	asked  atomic.Int64
}

// mobilePKIPort is where VGCA's service listens.
const mobilePKIPort = 18083

// StartMobilePKI starts the service. It accepts clients' certificates of either authority.
func StartMobilePKI(ctx context.Context, p Place, c MobilePKIConfig) (*MobilePKI, error) {
	m := &MobilePKI{p: p, c: c, state: Good, shut: map[string]bool{}}
	clients := x509.NewCertPool()
	for _, cert := range []*x509.Certificate{c.PKI.G1.Root, c.PKI.G1.Cert, c.PKI.G2.Root, c.PKI.G2.Cert} {
		clients.AddCert(cert)
	}
	settings := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		pair, err := tls.LoadX509KeyPair(c.Server.CertFile(m.state), c.Server.KeyFile)
		return &pair, err
	}, VerifyConnection: func(s tls.ConnectionState) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.shut[s.PeerCertificates[0].SerialNumber.String()] {
			return errors.New("this client is refused")
		}
		return nil
	}}
	m.web = &httpd{ctx: ctx, handler: http.HandlerFunc(m.serve), errors: log.New(p.log(), "", 0), listen: func() (net.Listener, error) {
		l, err := p.Listen(ctx, mobilePKIPort)
		if err != nil {
			return nil, err
		}
		return tls.NewListener(l, settings), nil
	}}
	if err := m.web.Dead(false); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", p.at(mobilePKIPort), err)
	}
	context.AfterFunc(ctx, func() { _ = m.web.Stop() })
	return m, nil
}

// URL is where the service is to be had, by this name of its certificate.
func (m *MobilePKI) URL(host string) string {
	return m.p.url("https", host, mobilePKIPort) + "/MSSP/services/MSS_Status"
}

// Addr is its host:port.
func (m *MobilePKI) Addr() string { return m.p.at(mobilePKIPort) }

// Asked counts the requests to sign; a monitor makes none.
func (m *MobilePKI) Asked() int64 { return m.asked.Load() }

// Dead closes the port.
func (m *MobilePKI) Dead(dead bool) error { return m.web.Dead(dead) }

// Stop ends it for good.
func (m *MobilePKI) Stop() error { return m.web.Stop() }

// Use shows another state of its certificate.
func (m *MobilePKI) Use(c Certificate) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = c
	return nil
}

// Broken makes every call end in INTERNAL_ERROR (900).
func (m *MobilePKI) Broken(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = on
	return nil
}

// Maintenance makes every call end in status 503 with a page that says so.
func (m *MobilePKI) Maintenance(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = on
	return nil
}

// Slow lets each call wait; 0 lets none.
func (m *MobilePKI) Slow(d time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slow = d
	return nil
}

// Refuse ends the handshake of the client with this certificate by an alert, or lets it in again.
func (m *MobilePKI) Refuse(client *x509.Certificate, on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut[client.SerialNumber.String()] = on
	return nil
}

// serve answers one call.
func (m *MobilePKI) serve(w http.ResponseWriter, req *http.Request) {
	var q struct {
		Body struct {
			Status *struct {
				ID string `xml:"MSSP_TransID,attr"`
				AP struct {
					ID   string `xml:"AP_ID,attr"`
					Pass string `xml:"AP_PWD,attr"`
				} `xml:"AP_Info"`
			} `xml:"MSS_StatusQuery>MSS_StatusReq"`
		} `xml:"Body"`
	}
	text, err := io.ReadAll(req.Body)
	if err == nil {
		err = xml.Unmarshal(text, &q)
	}
	m.mu.Lock()
	broken, closed, slow := m.broken, m.closed, m.slow
	m.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-req.Context().Done():
		return
	}
	if closed {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "<html><title>Bảo trì</title><p>Hệ thống đang bảo trì, vui lòng quay lại sau.</html>")
		return
	}
	code, said := 101, "WRONG_PARAM"
	switch s := q.Body.Status; {
	case err != nil || req.Method != http.MethodPost:
		code, said = 102, "MISSING_PARAM"
	case broken:
		code, said = 900, "INTERNAL_ERROR"
	case s == nil:
		m.asked.Add(1)
		code, said = 104, "UNAUTHORIZED_ACCESS"
	case s.AP.ID != m.c.AP || s.AP.Pass != m.c.Pass:
		code, said = 104, "UNAUTHORIZED_ACCESS"
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault>`+
		`<faultcode xmlns:mss="http://uri.etsi.org/TS102204/v1.1.2#">mss:_%d</faultcode><faultstring>%s</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>`, code, said)
}
