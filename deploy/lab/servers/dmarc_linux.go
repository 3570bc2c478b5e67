package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const opendmarcSettings = `AuthservID %[1]s
TrustedAuthservIDs %[1]s
Socket local:%[2]s
PidFile %[3]s
UMask 000
Syslog false
Background false
RejectFailures false
SPFIgnoreResults true
SPFSelfValidate true
IgnoreAuthenticatedClients true
IgnoreHosts %[4]s
`

// startJudge starts opendmarc, which looks at letters after opendkim did. It asks the system's resolver: it gets one of its own.
func (m *Mail) startJudge(ctx context.Context) (err error) {
	at := func(name string) string { return filepath.Join(m.p.Dir, name) }
	conf := fmt.Appendf(nil, opendmarcSettings, m.c.Host, m.dmarcSocket(), at("opendmarc.pid"), at("opendmarc.ignored"))
	if err := errors.Join(replace(at("opendmarc.conf"), conf, 0o644), replace(at("opendmarc.ignored"), []byte(noneInternal+"\n"), 0o644),
		replace(at("opendmarc.resolv"), []byte("nameserver "+m.c.Judge+"\n"), 0o644)); err != nil {
		return err
	}
	ready := func(proc *Process) error {
		return until(ctx, proc, "opendmarc listens", func() error {
			_, err := os.Stat(m.dmarcSocket())
			return err
		})
	}
	const run = `mount --bind "$1" /etc/resolv.conf && shift && exec "$@"`
	m.dmarc, err = startDaemon(ctx, m.p, ready, "unshare", "--mount", "sh", "-c", run, "sh", at("opendmarc.resolv"), "opendmarc", "-f", "-c", at("opendmarc.conf"))
	return err
}

// dmarcSocket is the socket at which Postfix finds opendmarc.
func (m *Mail) dmarcSocket() string { return filepath.Join(m.p.Dir, "opendmarc.sock") }
