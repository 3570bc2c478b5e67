package exporter

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxPEM is the largest file of certificates or keys that is read.
const maxPEM = 1 << 20

// Secure prepares a server and its listener for what a web configuration file asks: TLS, client certificates, headers,
// basic authentication and a limit of requests. The listener it returns is for s.Serve; no file name leaves both as
// they are. The file and the certificates it names are looked at on every handshake and request and read again when
// they have changed. Only whether there is TLS, HTTP/2 and a limit stays as it was at the start. A certificate and key
// that do not fit together, as while they are being replaced, leave the last good pair in use; a web configuration
// that has become wrong refuses every request, because whom it was to keep out is not known.
func Secure(s *http.Server, l net.Listener, webConfigFile string) (net.Listener, error) {
	if webConfigFile == "" {
		return l, nil
	}
	w := &web{file: webConfigFile}
	c, err := w.config()
	if err != nil {
		return nil, err
	}
	h := s.Handler
	if h == nil {
		h = http.NotFoundHandler()
	}
	g := &guard{web: w, next: h}
	if c.every > 0 {
		g.limit = rate.NewLimiter(rate.Every(c.every), c.burst)
	}
	if c.tls == nil {
		s.Handler = g
		return l, nil
	}
	w.protos = []string{"http/1.1"}
	if c.http2 {
		w.protos = []string{"h2", "http/1.1"}
	}
	first, err := w.tlsFor(c)
	if err != nil {
		return nil, err
	}
	s.Handler = g
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(c.http2)
	s.TLSConfig = first.Clone()
	s.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.tlsConfig() }
	return tls.NewListener(l, s.TLSConfig), nil
}

// A web is a web configuration file and the files it names, as last read.
type web struct {
	file   string
	protos []string // ALPN

	mu     sync.Mutex
	stamp  stamp
	conf   *webConfig
	err    error
	pems   stamps // of the certificate, the key and the authority
	source *tlsConfig
	tls    *tls.Config
}

// A stamp tells whether a file has changed since.
type stamp struct {
	mod  time.Time
	size int64
	info os.FileInfo
}

func stampOf(file string) (stamp, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return stamp{}, err
	}
	return stamp{fi.ModTime(), fi.Size(), fi}, nil
}

func (a stamp) same(b stamp) bool {
	return a.info != nil && b.info != nil && a.mod.Equal(b.mod) && a.size == b.size && os.SameFile(a.info, b.info)
}

type stamps [3]stamp

// config returns what the file says now.
func (w *web) config() (*webConfig, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, err := stampOf(w.file)
	if err != nil {
		w.stamp = stamp{}
		return nil, fmt.Errorf("web configuration: %w; name an existing file", err)
	}
	if w.stamp.same(now) {
		return w.conf, w.err
	}
	w.stamp = now
	text, err := readBounded(w.file, maxWebConfig)
	if err == nil {
		w.conf, err = parseWebConfig(text)
	}
	if w.err = err; err != nil {
		w.conf, w.err = nil, fmt.Errorf("web configuration %s: %w", w.file, err)
	}
	return w.conf, w.err
}

// tlsConfig returns what a handshake goes by now.
func (w *web) tlsConfig() (*tls.Config, error) {
	c, err := w.config()
	if err != nil {
		return nil, err
	}
	if c.tls == nil {
		return nil, fmt.Errorf("web configuration %s: tls_server_config is gone; restart for plain HTTP", w.file)
	}
	return w.tlsFor(c)
}

// tlsFor makes the configuration for crypto/tls, or returns the last one when nothing has changed.
func (w *web) tlsFor(c *webConfig) (*tls.Config, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var now stamps
	for i, name := range []string{c.tls.certFile, c.tls.keyFile, c.tls.clientCAFile} {
		if name != "" {
			now[i], _ = stampOf(w.beside(name)) // one that is gone is a change
		}
	}
	if w.tls != nil && w.source == c.tls && sameFiles(c.tls, w.pems, now) {
		return w.tls, nil
	}
	made, err := w.makeTLS(c.tls)
	switch {
	case err == nil:
		w.tls, w.source, w.pems = made, c.tls, now
	case w.tls == nil || w.source != c.tls:
		return nil, fmt.Errorf("web configuration %s: %w", w.file, err)
	default:
		w.pems = now // tried once; the last good ones stay in use until the files change again
	}
	return w.tls, nil
}

func sameFiles(c *tlsConfig, a, b stamps) bool {
	for i, name := range []string{c.certFile, c.keyFile, c.clientCAFile} {
		if name != "" && !a[i].same(b[i]) && (a[i].info != nil || b[i].info != nil) {
			return false
		}
	}
	return true
}

// beside returns a name from the file as a path.
func (w *web) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(w.file), name)
}

func (w *web) makeTLS(c *tlsConfig) (*tls.Config, error) {
	cert, err := w.pem("cert_file", c.cert, c.certFile)
	if err != nil {
		return nil, err
	}
	key, err := w.pem("key_file", c.key, c.keyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("cert_file and key_file: %w; name a PEM certificate chain and the key that belongs to it", err)
	}
	made := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: c.minVersion, MaxVersion: c.maxVersion,
		CipherSuites: c.suites, CurvePreferences: c.curves, ClientAuth: c.clientAuth, NextProtos: w.protos}
	if c.clientCA != "" || c.clientCAFile != "" {
		text, err := w.pem("client_ca_file", c.clientCA, c.clientCAFile)
		if err != nil {
			return nil, err
		}
		made.ClientCAs = x509.NewCertPool()
		if !made.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("client_ca_file %s: %w", c.clientCAFile, errNoCertificate)
		}
	}
	if c.allowedSANs != nil {
		// Unlike VerifyPeerCertificate this is called for resumed sessions too.
		made.VerifyConnection = func(cs tls.ConnectionState) error { return allowed(cs.PeerCertificates, c.allowedSANs) }
	}
	return made, nil
}

// allowed reports whether one of a client's alternative names is in the list. Whether it must show a certificate at all
// is decided elsewhere.
func allowed(certs []*x509.Certificate, names []string) error {
	if len(certs) == 0 {
		return nil
	}
	c := certs[0]
	has := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, ip := range c.IPAddresses {
		has = append(has, ip.String())
	}
	for _, u := range c.URIs {
		has = append(has, u.String())
	}
	if slices.ContainsFunc(has, func(name string) bool { return slices.Contains(names, name) }) {
		return nil
	}
	return errors.New("no name of the client's certificate is in client_allowed_sans")
}

// pem returns a text that stands in the configuration or in a file that it names.
func (w *web) pem(key, text, file string) ([]byte, error) {
	if file == "" {
		return []byte(text), nil
	}
	b, err := readBounded(w.beside(file), maxPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return b, nil
}

func readBounded(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", file, most)
	}
	return b, nil
}
