package servers

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MailConfig sets up a mail server.
type MailConfig struct {
	PKI     *PKI
	Host    string            // the server's name, which its certificate is for
	Domains []string          // whose letters it keeps
	Boxes   map[string]string // mailboxes with passwords, e.g. "vhtt@tuky.lab"
	Quotas  map[string]string // how much mailboxes may hold, e.g. "2K" or "1M"; the others have no bound. What is full takes no letters
	DKIM    *DKIMKey          // signs letters from the first domain of those who have logged in, by opendkim; nil leaves them as they are
	Verify  bool              // the signatures of all letters are verified by another opendkim, which knows DKIM, and Authentication-Results tells; then only those who have logged in sign
	Judge   string            // address of a resolver at port 53: opendmarc judges SPF and DMARC of letters from others, by names that it asks there; "" judges neither
	Relay   bool              // only letters are taken, over TLS alone: nobody can log in, and there is no Dovecot
	Routes  map[string]string // domain to host:port of another server; the rest goes by the names' MX in a namespace, and nowhere on loopback
}

// A Mail is Postfix at ports 25 and 587 (with TLS by STARTTLS, which 587 demands) and 465 (with TLS from the start), with a login
// at these two, and Dovecot at 143 and 993 (and 110 and 995, where it speaks POP3); letters lie in folders of their own. Root is needed.
type Mail struct {
	p       Place
	c       MailConfig
	id      *ServerIdentity
	postfix *daemon
	dovecot *daemon
	dkim    *daemon // nil where letters are not signed
	judge   *daemon // nil where signatures are not verified
	dmarc   *daemon // nil where neither SPF nor DMARC is judged

	mu    sync.Mutex
	state mailState
}

// A mailState is what is wrong with a mail server; the zero value is not yet one that is well: it needs its certificate.
type mailState struct {
	stuck, stripped, closed bool
	cert                    Certificate
}

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/postfix.log
maillog_file_prefixes = DIR
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
myhostname = HOST
mydestination =
mynetworks =
inet_interfaces = all
inet_protocols = PROTOCOL
alias_maps =
alias_database =
virtual_mailbox_domains = DOMAINS
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = BOXES
virtual_uid_maps = static:UID
virtual_gid_maps = static:GID
virtual_minimum_uid = 1
transport_maps = ROUTES
default_transport = OTHERS
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_tls_chain_files = DIR/mail.pem.key, DIR/mail.pem
smtpd_tls_security_level = TLSLEVEL
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_recipient_restrictions = FULL
smtpd_policy_service_default_action = DUNNO
smtpd_delay_reject = no
smtpd_client_restrictions = CLIENTS
smtpd_discard_ehlo_keywords = DISCARDED
smtp_tls_security_level = may
milter_default_action = tempfail
smtpd_milters = MILTERS
defer_transports = DEFERRED
message_size_limit = 20971520
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 3s
`

const postfixMaster = `IP:{25} inet n - n - - smtpd
IP:{587} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
IP:{465} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 1 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
error     unix - - n - - error
retry     unix - - n - - error
smtp      unix - - n - - smtp
virtual   unix - n n - - virtual
tlsmgr    unix - - n 1000? 1 tlsmgr
anvil     unix - - n - 1 anvil
proxymap  unix - - n - - proxymap
postlog   unix-dgram n - n - 1 postlogd
`

const dovecotSettings = `base_dir = DIR/dovecot
state_dir = DIR/dovecot
log_path = DIR/dovecot.log
protocols = imap POP3
listen = IP
ssl = required
ssl_cert = <DIR/mail.pem
ssl_key = <DIR/mail.pem.key
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:~/
mail_plugins = quota
auth_mechanisms = plain login
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u DIR/accounts
}
userdb {
  driver = passwd-file
  args = username_format=%u DIR/accounts
}
plugin {
  quota = maildir:Mailbox
  quota_status_success = DUNNO
  quota_status_nouser = DUNNO
  quota_status_overquota = "552 5.2.2 Mailbox is full"
}
service quota-status {
  executable = quota-status -p postfix
  client_limit = 1
  unix_listener DIR/queue/private/quota-status {
    mode = 0666
  }
}
protocol imap {
  mail_plugins = $mail_plugins imap_quota
}
service imap-login {
  inet_listener imap {
    port = {143}
  }
  inet_listener imaps {
    port = {993}
    ssl = yes
  }
}
POPLOGINservice auth {
  unix_listener DIR/queue/private/auth {
    mode = 0666
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`

// StartMail starts both programs.
func StartMail(ctx context.Context, p Place, c MailConfig) (*Mail, error) {
	programs := []string{"/usr/lib/postfix/sbin/master"}
	if !c.Relay {
		programs = append(programs, "dovecot", "/usr/lib/dovecot/imap")
	}
	if c.DKIM != nil {
		programs = append(programs, "opendkim")
	}
	if c.Judge != "" {
		programs = append(programs, "opendmarc", "unshare")
	}
	if err := Require(programs...); err != nil {
		return nil, err
	}
	if os.Getuid() != 0 {
		return nil, errors.New("a mail server is started as root only: Postfix and Dovecot run their parts as other users")
	}
	if c.Verify && c.DKIM == nil {
		return nil, errors.New("a mail server that verifies signatures needs the key that it believes: set DKIM")
	}
	m := &Mail{p: p, c: c, state: mailState{cert: Good}}
	var err error
	if m.id, err = c.PKI.Server([]string{c.Host}, p.IP); err != nil {
		return nil, err
	}
	if err := errors.Join(m.folders(), m.configure()); err != nil {
		return nil, err
	}
	if c.DKIM != nil {
		if err := m.startSigner(ctx); err != nil {
			return nil, errors.Join(err, m.Stop())
		}
	}
	if c.Verify {
		if err := m.startVerifier(ctx); err != nil {
			return nil, errors.Join(err, m.Stop())
		}
	}
	if c.Judge != "" {
		if err := m.startJudge(ctx); err != nil {
			return nil, errors.Join(err, m.Stop())
		}
	}
	if !c.Relay {
		if m.dovecot, err = startDaemon(ctx, p, m.greets(ctx, 143, "* OK"), "dovecot", "-F", "-c", filepath.Join(p.Dir, "dovecot.conf")); err != nil {
			return nil, errors.Join(err, m.Stop())
		}
	}
	ready := func(proc *Process) error { return errors.Join(guard(proc), m.greets(ctx, 25, "220 ")(proc)) }
	if m.postfix, err = startDaemon(ctx, p, ready, "/usr/lib/postfix/sbin/master", "-d", "-c", filepath.Join(p.Dir, "etc")); err != nil {
		return nil, errors.Join(err, m.Stop())
	}
	return m, nil
}

// folders makes what both programs want to find, with its owners.
func (m *Mail) folders() error {
	uid, gid, err := ids("postfix")
	if err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(m.p.Dir, name) }
	for _, d := range []string{"etc", "queue", "queue/pid", "data", "mail", "dovecot"} {
		if err := errors.Join(os.MkdirAll(at(d), 0o755), os.Chmod(at(d), 0o755)); err != nil {
			return err
		}
	}
	own := []string{"data", "mail"}
	for _, d := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "public", "saved", "trace"} {
		own = append(own, "queue/"+d)
	}
	var accounts strings.Builder
	for _, box := range slices.Sorted(maps.Keys(m.c.Boxes)) {
		name, domain, ok := strings.Cut(box, "@")
		if !ok || strings.ContainsAny(box, ":\n /") || strings.ContainsAny(m.c.Boxes[box]+m.c.Quotas[box], ":\n") {
			return fmt.Errorf("mailbox %q: write name@domain, without slash or blank, and no colon in it, its password or its quota", box)
		}
		own = append(own, "mail/"+domain, "mail/"+domain+"/"+name)
		quota := ""
		if q := m.c.Quotas[box]; q != "" {
			quota = "userdb_quota_rule=*:storage=" + q
		}
		fmt.Fprintf(&accounts, "%s:{PLAIN}%s:%d:%d::%s::%s\n", box, m.c.Boxes[box], uid, gid, m.Folder(box), quota)
	}
	for _, d := range own {
		if err := errors.Join(os.MkdirAll(at(d), 0o700), os.Chown(at(d), uid, gid)); err != nil {
			return err
		}
	}
	return replace(at("accounts"), []byte(accounts.String()), 0o644)
}

func ids(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// configure writes the configuration of both programs.
func (m *Mail) configure() error {
	uid, gid, err := ids("postfix")
	if err != nil {
		return err
	}
	var boxes, routes []string
	for _, box := range slices.Sorted(maps.Keys(m.c.Boxes)) {
		name, domain, _ := strings.Cut(box, "@")
		boxes = append(boxes, fmt.Sprintf("{ %s = %s/%s/ }", box, domain, name))
	}
	for _, domain := range slices.Sorted(maps.Keys(m.c.Routes)) {
		host, port, ok := strings.Cut(m.c.Routes[domain], ":")
		if !ok {
			return fmt.Errorf("route of %s: %q is no host:port", domain, m.c.Routes[domain])
		}
		routes = append(routes, fmt.Sprintf("{ %s = smtp:[%s]:%s }", domain, host, port))
	}
	others, protocol, discarded, deferred, clients, full := "error:nothing leaves this machine", "ipv4", "", "", "", ""
	if len(m.c.Quotas) > 0 {
		full = "check_policy_service unix:private/quota-status"
	}
	milters := ""
	if m.c.DKIM != nil {
		milters = "unix:" + m.signer()
	}
	if m.c.Verify {
		milters += ", unix:" + m.verifier() // it sees what the one before it wrote
	}
	if m.c.Judge != "" {
		milters = strings.TrimPrefix(milters+", unix:"+m.dmarcSocket(), ", ")
	}
	level, master := "may", postfixMaster
	if m.c.Relay {
		level, master = "encrypt", strings.NewReplacer("IP:{587}", "#", "IP:{465}", "#").Replace(master)
	}
	if m.p.Netns != "" {
		others = "smtp"
	}
	pop3, popLogin := "", ""
	if HasPOP3() {
		pop3 = "pop3"
		popLogin = fmt.Sprintf("service pop3-login {\n  inet_listener pop3 {\n    port = %s\n  }\n  inet_listener pop3s {\n    port = %s\n    ssl = yes\n  }\n}\n", m.port(110), m.port(995))
	}
	if m.p.IP.Is6() {
		protocol = "ipv6"
	}
	if m.state.stripped {
		discarded = "starttls"
	}
	if m.state.stuck {
		deferred = "virtual smtp error"
	}
	if m.state.closed {
		clients = "reject"
	}
	fill := strings.NewReplacer("DIR", m.p.Dir, "HOST", m.c.Host, "PROTOCOL", protocol, "DOMAINS", strings.Join(m.c.Domains, " "), "BOXES", inline(boxes),
		"ROUTES", inline(routes), "OTHERS", others, "UID", strconv.Itoa(uid), "GID", strconv.Itoa(gid), "DISCARDED", discarded, "TLSLEVEL", level, "CLIENTS", clients, "FULL", full, "DEFERRED", deferred, "MILTERS", milters,
		"IP", m.p.IP.String(), "{25}", m.port(25), "{587}", m.port(587), "{465}", m.port(465), "POP3", pop3, "POPLOGIN", popLogin, "{143}", m.port(143), "{993}", m.port(993))
	for name, text := range map[string]string{"etc/main.cf": postfixMain, "etc/master.cf": master, "dovecot.conf": dovecotSettings} {
		path := filepath.Join(m.p.Dir, name)
		// Postfix waits for two seconds after the last change of a file that it reads.
		old := time.Now().Add(-time.Minute)
		if err := errors.Join(replace(path, []byte(fill.Replace(text)), 0o644), os.Chtimes(path, old, old)); err != nil {
			return err
		}
	}
	return m.id.install(m.state.cert, filepath.Join(m.p.Dir, "mail.pem"))
}

// inline is a table of Postfix in its own configuration; without an entry it must not be there.
func inline(entries []string) string {
	if len(entries) == 0 {
		return ""
	}
	return "inline:{ " + strings.Join(entries, ", ") + " }"
}

func (m *Mail) port(std int) string { return strconv.Itoa(m.p.port(std)) }

// greets waits until the server at a standard port greets with this text.
func (m *Mail) greets(ctx context.Context, std int, text string) func(*Process) error {
	return func(proc *Process) error {
		text := text
		if std == 25 && m.state.closed {
			text = "554 "
		}
		return until(ctx, proc, "greeting at "+m.p.at(std), func() error {
			c, err := m.p.DialContext(ctx, "tcp", m.p.at(std))
			if err != nil {
				return err
			}
			defer c.Close()
			line, err := bufio.NewReaderSize(c, 512).ReadSlice('\n')
			if err == nil && !strings.HasPrefix(string(line), text) {
				err = fmt.Errorf("greeted with %q", line)
			}
			return err
		})
	}
}

// renew starts Postfix again with another configuration, so that no part of it knows the old one, and Dovecot too if its
// certificate is another.
func (m *Mail) renew(change func(*mailState)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.state
	change(&m.state)
	if was == m.state {
		return nil
	}
	err := errors.Join(m.postfix.halt(true), m.configure(), m.postfix.halt(false))
	if was.cert != m.state.cert && m.dovecot != nil {
		err = errors.Join(err, m.dovecot.halt(true), m.dovecot.halt(false))
	}
	return err
}

// Stuck lets letters be taken and not be delivered: they wait in the queue until it is over.
func (m *Mail) Stuck(on bool) error { return m.renew(func(s *mailState) { s.stuck = on }) }

// STARTTLSStripped takes the offer of STARTTLS out of the server's answers, as a box on the way does.
func (m *Mail) STARTTLSStripped(on bool) error {
	return m.renew(func(s *mailState) { s.stripped = on })
}

// Closed lets the server greet nobody but with a refusal.
func (m *Mail) Closed(on bool) error { return m.renew(func(s *mailState) { s.closed = on }) }

// UseCertificate sends certificates of this state, for SMTP and IMAP.
func (m *Mail) UseCertificate(c Certificate) error {
	if !slices.Contains(Certificates(), c) {
		return fmt.Errorf("no state %q of a certificate: there are %v", c, Certificates())
	}
	return m.renew(func(s *mailState) { s.cert = c })
}

// IMAPRefuses ends Dovecot, so that its ports are closed (and nobody can log in to send), or starts it again.
func (m *Mail) IMAPRefuses(on bool) error {
	if m.dovecot == nil {
		return errors.New("a relay has no IMAP")
	}
	return m.dovecot.halt(on)
}

// Hang lets the ports of SMTP be open and nobody greet there.
func (m *Mail) Hang(on bool) error { return m.postfix.hang(on) }

// Halt ends Postfix, so that its ports are closed, or starts it again.
func (m *Mail) Halt(on bool) error { return m.postfix.halt(on) }

// Stop ends all its programs for good.
func (m *Mail) Stop() error {
	var errs []error
	for _, d := range []*daemon{m.postfix, m.dovecot, m.dkim, m.judge, m.dmarc} {
		if d != nil {
			errs = append(errs, d.stop())
		}
	}
	return errors.Join(errs...)
}

// Addr is the host:port at which other servers deliver.
func (m *Mail) Addr() string { return m.p.at(25) }

// Submission is the host:port at which people send, after a login.
func (m *Mail) Submission() string { return m.p.at(587) }

// SMTPS is the host:port at which people send with TLS from the start.
func (m *Mail) SMTPS() string { return m.p.at(465) }

// IMAP is the host:port of IMAP with STARTTLS.
func (m *Mail) IMAP() string { return m.p.at(143) }

// HasPOP3 reports whether Dovecot speaks POP3 on this machine (Debian's package dovecot-pop3d).
func HasPOP3() bool { return Require("/usr/lib/dovecot/pop3") == nil }

// POP3 is the host:port of POP3 with STLS, where there is any.
func (m *Mail) POP3() string { return m.p.at(110) }

// POP3S is the host:port of POP3 with TLS from the start, where there is any.
func (m *Mail) POP3S() string { return m.p.at(995) }

// IMAPS is the host:port of IMAP with TLS from the start.
func (m *Mail) IMAPS() string { return m.p.at(993) }

// CertFile is the PEM file of the certificates that it shows while they are good, its own first.
func (m *Mail) CertFile() string { return m.id.CertFile(Good) }

// Folder is where a mailbox's letters lie, in maildir format: new ones in its folder new.
func (m *Mail) Folder(box string) string {
	name, domain, _ := strings.Cut(box, "@")
	return filepath.Join(m.p.Dir, "mail", domain, name)
}

// Put puts a letter into a mailbox, as one that was read.
func (m *Mail) Put(box string, letter []byte) error {
	uid, gid, err := ids("postfix")
	if err != nil {
		return err
	}
	dir := filepath.Join(m.Folder(box), "cur")
	path := filepath.Join(dir, fmt.Sprintf("1700000000.%s.mail,S=%d:2,S", rand.Text(), len(letter)))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path, letter, 0o600), os.Chown(dir, uid, gid), os.Chown(path, uid, gid))
}

// Queued counts the letters that wait to be delivered.
func (m *Mail) Queued() (int, error) {
	n := 0
	for _, d := range []string{"incoming", "active", "deferred"} {
		err := filepath.WalkDir(filepath.Join(m.p.Dir, "queue", d), func(_ string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was delivered meanwhile
			}
			if err == nil && e.Type().IsRegular() {
				n++
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
