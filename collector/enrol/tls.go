package enrol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"egovmon/agent/wire"
)

// A serverCert is the certificate of the agents' port. It lives in memory only and replaces itself in time.
type serverCert struct {
	mu   sync.Mutex
	cert *tls.Certificate
}

func (s *serverCert) get(o Options) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := o.Now()
	if s.cert != nil && s.cert.Leaf.NotAfter.Sub(now) > serverRenew && now.After(s.cert.Leaf.NotBefore) {
		return s.cert, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	names := append([]string{"localhost", "127.0.0.1", "::1"}, o.Names...)
	slices.Sort(names)
	leaf, err := o.Keys.issueServer(slices.Compact(names), key.Public(), now)
	if err != nil {
		return nil, err
	}
	// The CA's certificate goes along, so that an agent with nothing but a token can find the key it names.
	s.cert = &tls.Certificate{Certificate: [][]byte{leaf.Raw, o.Keys.CA.Raw}, PrivateKey: key, Leaf: leaf}
	return s.cert, nil
}

// TLSConfig is for the agents' port: TLS 1.3, and client certificates of this CA alone. A caller may come without one,
// to enrol and to ask the time; Identify tells who it is.
func (r *Registrar) TLSConfig() *tls.Config {
	clients := x509.NewCertPool()
	clients.AddCert(r.opts.Keys.CA)
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      clients,
		Time:           r.opts.Now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.server.get(r.opts) },
	}
}

// Identify returns the machine at the other end of a connection, if its certificate is good now. It is asked at each
// request, so that a revocation works at once on connections that are open already. The error is a Refusal.
func (r *Registrar) Identify(cs *tls.ConnectionState) (Machine, error) {
	if cs == nil || len(cs.VerifiedChains) == 0 {
		return Machine{}, refuse(wire.CodeNoIdentity, "this call needs the certificate of an enrolled machine: run `agent enrol`")
	}
	leaf, now := cs.PeerCertificates[0], r.opts.Now()
	id, ok := strings.CutPrefix(uriOf(leaf), wire.MachineURI(r.opts.Keys.District, ""))
	if !ok || !wire.IsMachine(id) {
		return Machine{}, refuse(wire.CodeNoIdentity, "this certificate is not that of a machine of district %s", r.opts.Keys.District)
	}
	m, ok := r.Machine(id)
	switch {
	case !ok:
		return Machine{}, refuse(wire.CodeNoIdentity, "machine %s is not known here: enrol it again with a new token", id)
	case !m.Revoked.IsZero():
		return Machine{}, refuse(wire.CodeRevoked, "the identity of machine %s was revoked at %s: ask the district for a new token", id, m.Revoked.Format(time.RFC3339))
	}
	serial := leaf.SerialNumber.Text(16)
	if !slices.ContainsFunc(m.Keys, func(k Key) bool { return k.Use == TLS && k.Serial == serial && k.good(now) }) {
		return Machine{}, refuse(wire.CodeNoIdentity, "machine %s has a newer identity than this certificate: if this is the right machine, enrol it again with a new token", id)
	}
	if now.After(leaf.NotAfter) { // a connection may outlive its certificate
		return Machine{}, refuse(wire.CodeNoIdentity, "the certificate of machine %s ended at %s: enrol it again with a new token", id, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return m, nil
}

func uriOf(c *x509.Certificate) string {
	if len(c.URIs) != 1 {
		return ""
	}
	return c.URIs[0].String()
}

// noteKey returns the algorithm byte and public key of a verifier key, nil if it is none.
func noteKey(verifier string) []byte {
	parts := strings.SplitN(verifier, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if len(parts) != 3 || err != nil {
		return nil
	}
	return key
}
