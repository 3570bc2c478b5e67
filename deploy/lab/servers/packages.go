package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// A MissingError says which programs are not on this machine, and how to get them.
type MissingError struct {
	Programs []string // in the order of the alphabet
	Packages []string // Debian's, in the order of the alphabet, each once
}

// Error is one line: what is missing, and the command that brings it.
func (e *MissingError) Error() string {
	return fmt.Sprintf("missing on this machine: %s: run as root: apt-get install -y --no-install-recommends %s",
		strings.Join(e.Programs, ", "), strings.Join(e.Packages, " "))
}

// Missing returns the Debian packages that an error of this package says are missing.
func Missing(err error) (packages []string, ok bool) {
	e, ok := errors.AsType[*MissingError](err)
	if !ok {
		return nil, false
	}
	return e.Packages, true
}

// packageOf lists the programs that servers are made of, and the Debian package of each.
func packageOf() map[string]string {
	return map[string]string{
		"ip":                           "iproute2",
		"nginx":                        "nginx-light",
		"named":                        "bind9",
		"dnssec-keygen":                "bind9",
		"dnssec-signzone":              "bind9",
		"unbound":                      "unbound",
		"/usr/lib/postfix/sbin/master": "postfix",
		"dovecot":                      "dovecot-imapd",
		"/usr/lib/dovecot/imap":        "dovecot-imapd",
		"/usr/lib/dovecot/pop3":        "dovecot-pop3d",
		"opendkim":                     "opendkim",
		"opendmarc":                    "opendmarc",
		"nft":                          "nftables",
		"unshare":                      "util-linux",
		"openssl":                      "openssl",
		"faketime":                     "faketime",
		"chronyd":                      "chrony",
		"softhsm2-util":                "softhsm2",
		"snmpd":                        "snmpd",
		"prometheus":                   "prometheus",
		"prometheus-alertmanager":      "prometheus-alertmanager",
		"victoria-metrics":             "victoria-metrics",
	}
}

// Programs lists every program that a server of this package may need.
func Programs() []string {
	var names []string
	for name := range packageOf() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Require returns nil when all these programs are there, else a [*MissingError].
func Require(programs ...string) error {
	e := &MissingError{}
	for _, name := range programs {
		if _, err := find(name); err != nil {
			e.Programs = append(e.Programs, name)
			if pkg := packageOf()[name]; pkg != "" {
				e.Packages = append(e.Packages, pkg)
			}
		}
	}
	if len(e.Programs) == 0 {
		return nil
	}
	slices.Sort(e.Programs)
	slices.Sort(e.Packages)
	e.Packages = slices.Compact(e.Packages)
	return e
}

// find returns the path of a program. The folders of the administrator's programs are looked into as well, which not everybody
// has in PATH.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || strings.Contains(name, "/") {
		return path, err
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if st, statErr := os.Stat(dir + name); statErr == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return dir + name, nil
		}
	}
	return "", err
}
