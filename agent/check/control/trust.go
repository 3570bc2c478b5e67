package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"egovmon/agent/check"
)

// trust is whom a machine trusts beyond what its maker chose: who of these could read and change what it sends.
type trust struct {
	roots   []string // SHA-256 of the certificates that were added, in hex
	odd     int      // files among them that hold none that can be read
	proxies []string // hosts of proxies that all programs are told to use
	// doubtful are certificates of which it cannot be told whether they were added, as roots.
	doubtful []string
	unread   error // why a part could not be read; nil when all was
}

// maxRoots bounds how many added certificates are looked at.
const maxRoots = 1024

// judgeTrust asks that nobody was added whom the plan does not name.
func judgeTrust(v trust, l *limits) *check.Result {
	roots, proxies := 0, 0
	for _, h := range v.roots {
		if !slices.Contains(l.roots, h) {
			roots++
		}
	}
	for _, p := range v.proxies {
		if !slices.Contains(l.proxies, p) {
			proxies++
		}
	}
	var bad []string
	if roots > 0 {
		bad = append(bad, fmt.Sprintf("%d root certificates were added that are not allowed", roots))
	}
	if v.odd > 0 {
		bad = append(bad, fmt.Sprintf("%d files among the added root certificates cannot be read as such", v.odd))
	}
	if proxies > 0 {
		bad = append(bad, fmt.Sprintf("%d proxies are set that are not allowed", proxies))
	}
	doubtful := 0
	for _, h := range v.doubtful {
		if !slices.Contains(l.roots, h) {
			doubtful++
		}
	}
	r := because(check.OK, "nobody is trusted who may not be")
	switch {
	case len(bad) > 0:
		r = because(check.ControlFail, "%s", strings.Join(bad, "; "))
	case v.unread != nil:
		r = unread(v.unread)
	case doubtful > 0:
		r = unread(fmt.Errorf("%d root certificates may be the system's own or added: its list of roots is not here: %w", doubtful, errors.ErrUnsupported))
	}
	r.Facts.Add("added_roots_count", float64(len(v.roots)))
	r.Facts.Add("unexpected_roots_count", float64(roots))
	r.Facts.Add("proxies_count", float64(len(v.proxies)))
	r.Facts.Add("unexpected_proxies_count", float64(proxies))
	return r
}

// trust reads the folders for roots of one's own, of Debian and of Red Hat, and the proxies of /etc/environment.
func (t *tree) trust(ctx context.Context) (trust, error) {
	var v trust
	for _, dir := range []string{"usr/local/share/ca-certificates", "etc/pki/ca-trust/source/anchors", "etc/ca-certificates/trust-source/anchors"} {
		if err := t.addedRoots(ctx, &v, dir, 0); err != nil {
			return trust{}, fmt.Errorf("the added root certificates: %w", bare(err))
		}
	}
	text, err := t.text("etc/environment")
	if err != nil {
		return trust{}, fmt.Errorf("the environment of all programs: %w", bare(err))
	}
	for line := range settings(text) {
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name := strings.ToLower(strings.TrimSpace(key))
		if value = strings.Trim(strings.TrimSpace(value), `"'`); !ok || value == "" || !strings.HasSuffix(name, "_proxy") || name == "no_proxy" {
			continue
		}
		if host := proxyHost(value); !slices.Contains(v.proxies, host) {
			v.proxies = append(v.proxies, host)
		}
	}
	return v, nil
}

// proxyHost is the host of a proxy, in lower case; the whole text when it has none.
func proxyHost(value string) string {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" {
		return strings.ToLower(value)
	}
	return strings.ToLower(u.Hostname())
}

// addedRoots takes in the certificates of a folder and of the folders in it.
func (t *tree) addedRoots(ctx context.Context, v *trust, dir string, depth int) error {
	names, err := t.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		file := path.Join(dir, name)
		i, err := fs.Stat(t.root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile, or a link to nothing
		}
		if err == nil && i.IsDir() {
			if depth < 4 {
				err = t.addedRoots(ctx, v, file, depth+1)
			}
			if err != nil {
				return err
			}
			continue
		}
		b, err := t.read(file, maxFile)
		if err != nil {
			return err
		}
		found := false
		for block, rest := pem.Decode(b); block != nil && len(v.roots) < maxRoots; block, rest = pem.Decode(rest) {
			if strings.HasSuffix(block.Type, "CERTIFICATE") {
				sum := sha256.Sum256(block.Bytes)
				v.roots = append(v.roots, hex.EncodeToString(sum[:]))
				found = true
			}
		}
		if !found && (strings.HasSuffix(name, ".crt") || strings.HasSuffix(name, ".pem")) {
			v.odd++
		}
	}
	return nil
}

// readTrust reads whom the plan allows.
func (l *limits) readTrust(o check.Options) error {
	for _, s := range o.Strings("allowed_roots") {
		h := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
		if b, err := hex.DecodeString(h); err != nil || len(b) != sha256.Size {
			return fmt.Errorf("option \"allowed_roots\": %q is no SHA-256 of a certificate: write what openssl x509 -fingerprint -sha256 prints", s)
		}
		l.roots = append(l.roots, h)
	}
	for _, s := range o.Strings("allowed_proxies") {
		l.proxies = append(l.proxies, proxyHost(strings.TrimSpace(s)))
	}
	return nil
}
