package signature

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxPEM is the largest file of certificates; a full set of public roots has about 250 kB.
const maxPEM = 2 << 20

// A certFile is a PEM file of certificates, or one certificate in DER, read again only when it changes. The zero path
// is no file.
type certFile struct {
	path  string
	size  int64
	mod   time.Time
	certs []*x509.Certificate
}

// load returns the certificates, at least one; none with the zero path.
func (f *certFile) load() ([]*x509.Certificate, error) {
	if f.path == "" {
		return nil, nil
	}
	st, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	if f.certs != nil && st.Size() == f.size && st.ModTime().Equal(f.mod) {
		return f.certs, nil
	}
	f.certs = nil
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", f.path)
	}
	text, err := readFile(f.path)
	if err != nil {
		return nil, err
	}
	certs, err := parseCerts(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	f.certs, f.size, f.mod = certs, st.Size(), st.ModTime()
	return certs, nil
}

// one returns the first certificate of the file.
func (f *certFile) one() (*x509.Certificate, error) {
	certs, err := f.load()
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}

// pool returns the certificates as roots, nil with the zero path.
func (f *certFile) pool() (*x509.CertPool, error) {
	certs, err := f.load()
	if err != nil || certs == nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPEM {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxPEM)
	}
	return text, nil
}

// parseCerts reads the certificates of a PEM text, or one in DER.
func parseCerts(text []byte) ([]*x509.Certificate, error) {
	if c, err := x509.ParseCertificate(text); err == nil {
		return []*x509.Certificate{c}, nil
	}
	var certs []*x509.Certificate
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no certificate: it must be PEM (-----BEGIN CERTIFICATE-----) or DER")
	}
	return certs, nil
}
