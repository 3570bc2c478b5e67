package signature

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/certlist"
	"egovmon/agent/token/talk"
)

// maxCertFiles bounds the files of one check.
const maxCertFiles = 1000

// gather reads every source. A source that is absent does not hide the others.
func (c *certsCheck) gather(ctx context.Context) (*found, *fault) {
	f := &found{}
	var raw []*x509.Certificate
	paths, bad := c.paths()
	if bad != nil {
		return nil, bad
	}
	for _, p := range paths {
		if ctx.Err() != nil {
			return nil, because(check.Timeout, "reading files: %v", ctx.Err())
		}
		certs, err := c.readCertFile(ctx, p)
		switch {
		case errors.Is(err, certlist.ErrPrivateKey):
			f.keys++
		case errors.Is(err, fs.ErrPermission):
			f.empty = because(check.NoPermission, "some files may not be read by the agent")
		case err != nil:
			f.bad++
		}
		raw = append(raw, certs...)
	}
	for _, name := range c.stores {
		certs, err := c.store(name)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			f.empty = because(check.NotSupported, "only Windows has the certificate store %q", name)
		case err != nil:
			f.empty = because(check.NoPermission, "the certificate store %q: %v", name, err)
		}
		raw = append(raw, certs...)
	}
	if len(c.modules) > 0 {
		certs, bad := c.tokens(ctx)
		if bad != nil {
			f.empty = bad
		}
		raw = append(raw, certs...)
	}
	f.sort(raw)
	return f, nil
}

// sort tells people's certificates from authorities', each once.
func (f *found) sort(raw []*x509.Certificate) {
	seen := map[[sha256.Size]byte]bool{}
	for _, x := range raw {
		sum := sha256.Sum256(x.Raw)
		switch {
		case usable(x) != nil:
			f.bad++
		case seen[sum]:
			if !x.IsCA {
				f.twice++
			}
		case x.IsCA:
			f.above = append(f.above, x)
		case len(f.certs) < maxUserCerts:
			f.certs = append(f.certs, x)
		default:
			f.bad++
		}
		seen[sum] = true
	}
	slices.SortStableFunc(f.certs, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// paths lists the files of the plan, and those in its folders that look like certificates.
func (c *certsCheck) paths() ([]string, *fault) {
	var all []string
	for _, p := range c.files {
		st, err := os.Stat(p)
		if err != nil {
			return nil, because(check.Misconfigured, "files: %v", err)
		}
		if !st.IsDir() {
			all = append(all, p)
			continue
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			return nil, because(check.Misconfigured, "files: %v", err)
		}
		for _, e := range entries {
			if end := strings.ToLower(filepath.Ext(e.Name())); slices.Contains([]string{".pem", ".crt", ".cer", ".der", ".p7b", ".p7c", ".p12", ".pfx"}, end) && !e.IsDir() {
				all = append(all, filepath.Join(p, e.Name()))
			}
		}
	}
	if len(all) > maxCertFiles {
		return nil, because(check.Misconfigured, "files: %d files of certificates, at most %d are read", len(all), maxCertFiles)
	}
	return all, nil
}

// readCertFile reads a file. A PKCS#12 store goes to the helper program, which gives its certificates back without the key.
func (c *certsCheck) readCertFile(ctx context.Context, path string) ([]*x509.Certificate, error) {
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() { // a pipe would hold the reader up
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := certlist.Parse(text)
	if !errors.Is(err, certlist.ErrPKCS12) || c.password == nil {
		return certs, err
	}
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	child, bad := c.start(ctx)
	if bad != nil {
		return nil, errors.New(bad.detail)
	}
	defer child.Close()
	// What answers a request to sign, before anything is signed, is the certificate of the key; then the helper is ended.
	a, err := child.Say(talk.Request{Version: talk.Version, Command: talk.Sign, Sign: &talk.Signing{
		Form: talk.CAdES, Hash: "sha256", At: c.fetcher.at.now(), Key: talk.Key{PKCS12: text, Password: password},
	}})
	if err != nil || a.Opened == nil {
		return nil, errors.Join(errors.New("the helper program cannot read it"), err)
	}
	return parseEach(a.Opened.Chain)
}

func (c *certsCheck) start(ctx context.Context) (*talk.Child, *fault) {
	path, err := c.find()
	if err != nil {
		return nil, because(check.NotSupported, "%v", err)
	}
	child, err := talk.Start(ctx, path)
	if err != nil {
		return nil, because(check.Internal, "%v", err)
	}
	return child, nil
}

// tokens asks the tokens of the plan's modules for what they show without a PIN.
func (c *certsCheck) tokens(ctx context.Context) ([]*x509.Certificate, *fault) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	child, bad := c.start(ctx)
	if bad != nil {
		return nil, bad
	}
	defer child.Close()
	a, err := child.Say(talk.Request{Version: talk.Version, Command: talk.List, Modules: c.modules})
	if err != nil {
		if e, ok := errors.AsType[*talk.Error](err); ok && check.Reason(e.Reason).State() == check.Unknown && check.Reason(e.Reason).Valid() {
			return nil, because(check.Reason(e.Reason), "%s", e.Detail)
		}
		return nil, because(check.Internal, "tokens: %v", err)
	}
	return shown(a.List)
}

// shown returns the certificates of all tokens, or why there are none.
func shown(modules []talk.Module) ([]*x509.Certificate, *fault) {
	var raw [][]byte
	var tokens int
	var failed string
	for _, m := range modules {
		failed = cmp.Or(failed, m.Error)
		for _, t := range m.Tokens {
			tokens++
			for _, x := range t.Certificates {
				raw = append(raw, x.DER)
			}
		}
	}
	certs, err := parseEach(raw)
	switch {
	case len(certs) > 0:
		return certs, nil
	case failed != "":
		return nil, because(check.NotSupported, "tokens: %s", failed)
	case tokens == 0:
		return nil, because(check.TokenAbsent, "no token is plugged in")
	case err != nil:
		return nil, because(check.NotConfigured, "tokens: %v", err)
	}
	return nil, because(check.NotConfigured, "%d tokens without a certificate", tokens)
}

func parseEach(raw [][]byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	var failed error
	for _, r := range raw {
		c, err := x509.ParseCertificate(bytes.Clone(r))
		if err != nil {
			failed = err
			continue
		}
		certs = append(certs, c)
	}
	return certs, failed
}
