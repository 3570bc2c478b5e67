package servers

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const opendkimSettings = `Mode s
Domain %s
Selector s1
KeyFile %s
Socket local:%s
UMask 000
Syslog no
Background no
RequireSafeKeys no
Canonicalization relaxed/relaxed
`

// startSigner starts opendkim, which Postfix asks to sign the letters of those who have logged in.
func (m *Mail) startSigner(ctx context.Context) (err error) {
	key, conf := filepath.Join(m.p.Dir, "dkim.key"), filepath.Join(m.p.Dir, "opendkim.conf")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(m.c.DKIM.key)})
	if err := errors.Join(replace(key, text, 0o600), replace(conf, fmt.Appendf(nil, opendkimSettings, m.c.Domains[0], key, m.signer()), 0o644)); err != nil {
		return err
	}
	ready := func(proc *Process) error {
		return until(ctx, proc, "opendkim listens", func() error {
			_, err := os.Stat(m.signer())
			return err
		})
	}
	m.dkim, err = startDaemon(ctx, m.p, ready, "opendkim", "-f", "-x", conf)
	return err
}

// signer is the socket at which Postfix finds opendkim.
func (m *Mail) signer() string { return filepath.Join(m.p.Dir, "opendkim.sock") }
