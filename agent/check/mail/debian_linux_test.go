package mail

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// A mailServer is Debian's Postfix and Dovecot, started for one test on free ports of 127.0.0.1 with a configuration,
// certificates and a queue of their own.
type mailServer struct {
	t         *testing.T
	dir       string
	authority *checktest.Authority
	ports     map[string]int // by the name in the configuration
}

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = /tmp
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
myhostname = mail.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
smtpd_tls_chain_files = DIR/server.pem
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_auth_enable = yes
smtpd_banner = $myhostname ESMTP
message_size_limit = 20971520
`

const postfixMaster = `127.0.0.1:{mx}       inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
127.0.0.1:{smtps}    inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{plain}    inet n - n - - smtpd -o smtpd_tls_security_level=none -o smtpd_sasl_auth_enable=no
127.0.0.1:{expired}  inet n - n - - smtpd -o smtpd_tls_chain_files=DIR/expired.pem
127.0.0.1:{closed}   inet n - n - - smtpd -o smtpd_delay_reject=no -o smtpd_client_restrictions=reject
rewrite   unix - - n - - trivial-rewrite
tlsmgr    unix - - n 1000? 1 tlsmgr
anvil     unix - - n - 1 anvil
proxymap  unix - - n - - proxymap
postlog   unix-dgram n - n - 1 postlogd
`

const dovecotConfig = `base_dir = DIR/dovecot
state_dir = DIR/dovecot
log_path = DIR/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <DIR/server.pem
ssl_key = <DIR/server.pem
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:~/mail
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
}
protocol imap {
  mail_plugins = $mail_plugins imap_quota
}
service imap-login {
  inet_listener imap {
    port = {imap}
  }
  inet_listener imaps {
    port = {imaps}
    ssl = yes
  }
}
service auth {
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

// startMailServer starts both programs, or skips the test and says what is missing.
func startMailServer(t *testing.T) *mailServer {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Postfix and Dovecot: left out by -short")
	}
	for program, pkg := range map[string]string{"/usr/sbin/postfix": "postfix", "/usr/sbin/dovecot": "dovecot-imapd", "/usr/lib/dovecot/imap": "dovecot-imapd"} {
		if _, err := os.Stat(program); err != nil {
			t.Skipf("%s is missing: apt-get install postfix dovecot-imapd (package %s)", program, pkg)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("Postfix and Dovecot are started as root only")
	}
	dir, err := os.MkdirTemp("/tmp", "egovmon-mail-") // not t.TempDir: the programs' own users must get in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &mailServer{t: t, dir: dir, authority: checktest.NewAuthority(t, "mail.test"), ports: map[string]int{}}
	for _, d := range []string{"", "etc", "queue", "queue/private", "queue/public", "queue/pid", "data", "dovecot", "home"} {
		m.must(os.MkdirAll(filepath.Join(dir, d), 0o755), os.Chmod(filepath.Join(dir, d), 0o755))
	}
	uid := m.owns("postfix", "data", "queue/private", "queue/public")
	m.must(os.WriteFile(filepath.Join(dir, "server.pem"), pemOf(t, m.authority.Leaf(nil, nil)), 0o600))
	expired := m.authority.Leaf(nil, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) })
	m.must(os.WriteFile(filepath.Join(dir, "expired.pem"), pemOf(t, expired), 0o600))
	m.ports = freePorts(t, "mx", "submission", "smtps", "plain", "expired", "closed", "imap", "imaps")
	m.write("etc/main.cf", postfixMain)
	m.write("etc/master.cf", postfixMaster)
	m.write("dovecot.conf", dovecotConfig)
	m.account(uid, userName, "empty", "storage=1M")
	m.account(uid, "full@xa.test", "full", "storage=2K")
	m.must(os.MkdirAll(filepath.Join(dir, "home/full/mail/cur"), 0o755))
	letter := "From: a@xa.test\r\nSubject: x\r\n\r\n" + strings.Repeat("x", 1980)
	m.must(os.WriteFile(filepath.Join(dir, "home/full/mail/cur/1700000000.M1P1.mail,S=2012:2,"), []byte(letter), 0o644))
	m.owns("postfix", "home/empty", "home/full", "home/full/mail", "home/full/mail/cur", "home/full/mail/cur/1700000000.M1P1.mail,S=2012:2,")
	m.start("dovecot.log", "/usr/sbin/dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	m.start("log", "/usr/lib/postfix/sbin/master", "-d", "-c", filepath.Join(dir, "etc"))
	return m
}

func (m *mailServer) must(errs ...error) {
	m.t.Helper()
	for _, err := range errs {
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// write writes a configuration with its folder and ports.
func (m *mailServer) write(name, text string) {
	text = strings.ReplaceAll(text, "DIR", m.dir)
	for port, n := range m.ports {
		text = strings.ReplaceAll(text, "{"+port+"}", strconv.Itoa(n))
	}
	m.must(os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644))
}

// owns gives paths to a user of the system, whose number it returns.
func (m *mailServer) owns(name string, paths ...string) int {
	u, err := user.Lookup(name)
	m.must(err)
	uid, err := strconv.Atoi(u.Uid)
	m.must(err)
	gid, err := strconv.Atoi(u.Gid)
	m.must(err)
	for _, p := range paths {
		m.must(os.Chown(filepath.Join(m.dir, p), uid, gid))
	}
	return uid
}

// account adds a mailbox with the tests' password.
func (m *mailServer) account(uid int, name, home, quota string) {
	m.must(os.MkdirAll(filepath.Join(m.dir, "home", home), 0o755))
	f, err := os.OpenFile(filepath.Join(m.dir, "accounts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	m.must(err)
	_, err = fmt.Fprintf(f, "%s:{PLAIN}%s:%d:%d::%s::userdb_quota_rule=*:%s\n", name, password, uid, uid, filepath.Join(m.dir, "home", home), quota)
	m.must(err, f.Close())
}

// start runs a program until the test ends; when the test failed it shows the program's log.
func (m *mailServer) start(log, program string, args ...string) {
	m.t.Helper()
	cmd := exec.Command(program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	m.must(cmd.Start())
	m.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // what it started
		if text, err := os.ReadFile(filepath.Join(m.dir, log)); m.t.Failed() {
			m.t.Logf("%s: %s\n%s %v", program, out.String(), text, err)
		}
	})
}

// at is a port's address, once the server answers there.
func (m *mailServer) at(port string) string {
	m.t.Helper()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(m.ports[port]))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return address
		}
		if time.Now().After(end) {
			m.t.Fatalf("the server does not come up: %v", err)
		}
	}
}

// freePorts returns a port for each name that nobody listened at just now.
func freePorts(t *testing.T, names ...string) map[string]int {
	t.Helper()
	ports := map[string]int{}
	for _, n := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		a, _ := l.Addr().(*net.TCPAddr)
		ports[n] = a.Port
	}
	return ports
}

// pemOf is a key and its certificate in one file.
func pemOf(t *testing.T, c tls.Certificate) []byte {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})...)
}

func TestPostfixAndDovecot(t *testing.T) {
	m := startMailServer(t)
	login := check.Options{"user": userName, "password": "mailbox"}
	refuse := check.Env{Secret: func(string) (string, error) { return "wrong", nil }}
	for _, tt := range []struct {
		name   string
		kind   check.Kind
		port   string
		with   []check.Options
		env    check.Env
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{"MX", smtpKind(), "mx", []check.Options{{"starttls": tlsOffered}}, check.Env{}, check.OK, "",
			map[string]float64{"starttls_code": 1, "auth_plaintext_code": 0, "size_limit_bytes": 20971520, "chain_valid_code": 1, "auth_mechanisms_count": 2}},
		{"submission", smtpKind(), "submission", []check.Options{login, {"auth": []string{"PLAIN"}}}, check.Env{}, check.OK, "", map[string]float64{"login_code": 1, "reply_code": 235}},
		{"submission, wrong password", smtpKind(), "submission", []check.Options{login}, refuse, check.Auth, "535 5.7.8", map[string]float64{"login_code": 0}},
		{"TLS from the start", smtpKind(), "smtps", []check.Options{login, {"starttls": tlsImplicit}}, check.Env{}, check.OK, "", map[string]float64{"login_code": 1}},
		{"no TLS", smtpKind(), "plain", nil, check.Env{}, check.STARTTLSMissing, "", map[string]float64{"starttls_code": 0}},
		{"expired", smtpKind(), "expired", nil, check.Env{}, check.TLSExpired, "", nil},
		{"another name", smtpKind(), "mx", []check.Options{{"server_name": "other.test"}}, check.Env{}, check.TLSName, "", nil},
		{"closed to us", smtpKind(), "closed", nil, check.Env{}, check.MailRejected, "554 5.7.1", map[string]float64{"reply_code": 554}},
		{"TLS from the start where none is expected", smtpKind(), "imaps", nil, check.Env{}, check.Timeout, "implicit", nil},
		{"SMTP on Dovecot", smtpKind(), "imap", nil, check.Env{}, check.Protocol, "the server speaks IMAP, not SMTP", nil},

		{"IMAPS", imapKind(), "imaps", []check.Options{login}, check.Env{}, check.OK, "", map[string]float64{"login_code": 1, "quota_limit_bytes": 1 << 20, "quota_used_bytes": 0, "chain_valid_code": 1}},
		{"IMAP with STARTTLS", imapKind(), "imap", []check.Options{login, {"starttls": tlsRequired}}, check.Env{}, check.OK, "", map[string]float64{"starttls_code": 1, "login_code": 1}},
		{"nearly full", imapKind(), "imaps", []check.Options{{"user": "full@xa.test", "password": "mailbox"}}, check.Env{}, check.Quota, "", map[string]float64{"quota_ratio": 1}},
		{"IMAPS, wrong password", imapKind(), "imaps", []check.Options{login}, refuse, check.Auth, "AUTHENTICATIONFAILED", nil},
		{"IMAP on Postfix", imapKind(), "mx", []check.Options{{"starttls": tlsNone}}, check.Env{}, check.Protocol, "speaks SMTP", nil},
		{"untrusted", imapKind(), "imaps", []check.Options{{"roots": checktest.NewAuthority(t, "mail.test").Roots()}}, check.Env{}, check.TLSUntrusted, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"address": m.at(tt.port), "roots": m.authority.Roots()}
			for _, with := range tt.with {
				maps.Copy(o, with)
			}
			limit := 20 * time.Second
			if tt.reason == check.Timeout {
				limit = 500 * time.Millisecond
			}
			r := runFor(t, tt.kind, o, tt.env, limit)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
}
