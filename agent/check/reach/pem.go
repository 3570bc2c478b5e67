package reach

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// MaxPEM is the largest certificate or key file; a full set of public roots has about 250 kB.
const MaxPEM = 2 << 20

// A pemFile is a file read again only when it changes. The zero path is no file.
type pemFile struct {
	path string
	size int64
	mod  time.Time
	text []byte
}

// read returns the text, and whether it differs from what the last call returned.
func (f *pemFile) read() (text []byte, changed bool, err error) {
	st, err := os.Stat(f.path)
	if err != nil {
		return nil, false, err
	}
	if f.text != nil && st.Size() == f.size && st.ModTime().Equal(f.mod) {
		return f.text, false, nil
	}
	if !st.Mode().IsRegular() {
		return nil, false, fmt.Errorf("%s is no regular file", f.path)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	text, err = io.ReadAll(io.LimitReader(file, MaxPEM+1))
	if err != nil {
		return nil, false, err
	}
	if len(text) > MaxPEM {
		return nil, false, fmt.Errorf("%s has more than %d bytes", f.path, MaxPEM)
	}
	f.text, f.size, f.mod = text, st.Size(), st.ModTime()
	return text, true, nil
}

// A rootFile is the pool of a PEM file of roots; with the zero path, the system's, which Go loads once a process.
type rootFile struct {
	file pemFile
	pool *x509.CertPool
}

// load returns the pool, nil for the system's.
func (r *rootFile) load() (*x509.CertPool, error) {
	if r.file.path == "" {
		return nil, nil
	}
	text, changed, err := r.file.read()
	if err != nil {
		return nil, err
	}
	if changed {
		r.pool = nil
		pool := x509.NewCertPool()
		if pool.AppendCertsFromPEM(text) {
			r.pool = pool
		}
	}
	if r.pool == nil {
		return nil, fmt.Errorf("%s holds no certificate: it must be PEM (-----BEGIN CERTIFICATE-----)", r.file.path)
	}
	return r.pool, nil
}

// A clientPair is the certificate that the check identifies itself with. The zero value is none.
type clientPair struct {
	cert, key pemFile
	secret    func() (string, error) // the key as a secret; nil when it stands in a file
	pair      *tls.Certificate
}

// load returns the certificate, nil for none.
func (p *clientPair) load() (*tls.Certificate, error) {
	if p.cert.path == "" {
		return nil, nil
	}
	cert, newCert, err := p.cert.read()
	if err != nil {
		return nil, err
	}
	key, newKey := cert, newCert
	switch {
	case p.secret != nil:
		s, err := p.secret()
		if err != nil {
			return nil, err
		}
		key, newKey = []byte(s), true
	case p.key.path != "":
		if key, newKey, err = p.key.read(); err != nil {
			return nil, err
		}
	}
	if !newCert && !newKey && p.pair != nil {
		return p.pair, nil
	}
	p.pair = nil
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, errors.New("client certificate " + p.cert.path + ": " + err.Error())
	}
	p.pair = &pair
	return p.pair, nil
}
