package servers

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
InternalHosts %s
`

// noneInternal is an address that no letter comes from, so that a letter is signed only after a login.
const noneInternal = "192.0.2.1"

const verifierSettings = `Mode v
TestPublicKeys %s
Socket local:%s
UMask 000
Syslog no
Background no
RequireSafeKeys no
InternalHosts %s
AlwaysAddARHeader yes
`

// startSigner starts opendkim, which Postfix asks to sign the letters of those who have logged in.
func (m *Mail) startSigner(ctx context.Context) (err error) {
	key, conf := filepath.Join(m.p.Dir, "dkim.key"), filepath.Join(m.p.Dir, "opendkim.conf")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(m.c.DKIM.key)})
	internal := "127.0.0.1"
	if m.c.Verify {
		internal = noneInternal
	}
	if err := errors.Join(replace(key, text, 0o600), replace(conf, fmt.Appendf(nil, opendkimSettings, m.c.Domains[0], key, m.signer(), internal), 0o644)); err != nil {
		return err
	}
	m.dkim, err = m.startMilter(ctx, conf, m.signer())
	return err
}

// startVerifier starts the opendkim that verifies the signatures of our own domain, whose key it has from a file.
func (m *Mail) startVerifier(ctx context.Context) error {
	keys, conf := filepath.Join(m.p.Dir, "dkim.keys"), filepath.Join(m.p.Dir, "verify.conf")
	record, err := m.c.DKIM.record()
	if err != nil {
		return err
	}
	name, value, _ := strings.Cut(record, " TXT ")
	line := fmt.Sprintf("%s.%s %s\n", name, m.c.Domains[0], strings.NewReplacer(`" "`, "", `"`, "").Replace(value))
	if err := errors.Join(replace(keys, []byte(line), 0o644), replace(conf, fmt.Appendf(nil, verifierSettings, keys, m.verifier(), noneInternal), 0o644)); err != nil {
		return err
	}
	m.judge, err = m.startMilter(ctx, conf, m.verifier())
	return err
}

// startMilter starts an opendkim and waits for its socket.
func (m *Mail) startMilter(ctx context.Context, conf, socket string) (*daemon, error) {
	ready := func(proc *Process) error {
		return until(ctx, proc, "opendkim listens", func() error {
			_, err := os.Stat(socket)
			return err
		})
	}
	return startDaemon(ctx, m.p, ready, "opendkim", "-f", "-x", conf)
}

// verifier is the socket at which Postfix finds the opendkim that verifies.
func (m *Mail) verifier() string { return filepath.Join(m.p.Dir, "verify.sock") }

// signer is the socket at which Postfix finds opendkim.
func (m *Mail) signer() string { return filepath.Join(m.p.Dir, "opendkim.sock") }
