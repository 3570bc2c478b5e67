package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"egovmon/agent/check"
)

// remotes are the ways in which somebody elsewhere may work on a machine.
type remotes struct {
	tools    []string // programs for it that run, and "rdp"
	noNLA    bool     // rdp lets people in before they have said who they are
	ssh      bool     // the SSH server listens on addresses other than loopback
	root     bool     // it lets root in by password
	password bool     // it lets anybody in by password
	unread   []string
	denied   bool
}

func (v *remotes) miss(what string, err error) {
	v.unread = append(v.unread, what)
	v.denied = v.denied || errors.Is(err, fs.ErrPermission)
}

// judgeRemotes asks that nobody controls the machine from elsewhere by a program that is not allowed, and that SSH asks for more
// than a password.
func judgeRemotes(v remotes, l *limits) *check.Result {
	var odd, bad, weak []string
	for _, tool := range v.tools {
		if !slices.Contains(l.remote, strings.ToLower(tool)) {
			odd = append(odd, tool)
		}
	}
	if len(odd) > 0 {
		bad = append(bad, "on, and not allowed: "+strings.Join(odd, ", "))
	}
	if v.noNLA {
		bad = append(bad, "rdp without network level authentication")
	}
	if v.ssh && v.root {
		bad = append(bad, "SSH lets root in by password")
	}
	if v.ssh && v.password && !l.sshPassword {
		weak = append(weak, "SSH lets people in by password alone")
	}
	var r *check.Result
	switch {
	case len(bad) > 0:
		r = because(check.ControlFail, "%s", strings.Join(append(bad, weak...), "; "))
	case len(v.unread) > 0 && v.denied:
		r = because(check.NoPermission, "not readable: %s", strings.Join(v.unread, ", "))
	case len(v.unread) > 0:
		r = because(check.NotSupported, "not readable: %s", strings.Join(v.unread, ", "))
	case len(weak) > 0:
		r = because(check.ControlPartial, "%s", strings.Join(weak, "; "))
	default:
		r = because(check.OK, "nobody controls this machine from elsewhere who may not")
	}
	r.Facts.Add("remote_tools_count", float64(len(v.tools)))
	r.Facts.Add("remote_unexpected_count", float64(len(odd)))
	r.Facts.Add("ssh_listens_code", yes01(v.ssh))
	if v.ssh {
		r.Facts.Add("ssh_password_code", yes01(v.password))
		r.Facts.Add("ssh_root_code", yes01(v.root))
	}
	return r
}

// remotes looks for the processes of known programs, and at the settings of the SSH server when it listens.
func (t *tree) remotes(ctx context.Context) (remotes, error) {
	var v remotes
	// Names as the kernel keeps them, of 15 letters.
	found, err := t.running("anydesk", "teamviewerd", "TeamViewer", "rustdesk", "ultraviewer", "dwagsvc", "nxserver.bin",
		"x11vnc", "Xvnc", "Xtigervnc", "vncserver-x11-c", "vino-server", "krfb", "gnome-remote-de", "xrdp")
	if err != nil {
		v.miss("the list of processes", err)
	}
	v.tools = slices.Sorted(maps.Keys(found))
	ports, err := t.listeners(ctx)
	if err != nil {
		return remotes{}, err
	}
	s, err := t.sshd()
	if err != nil {
		if v.ssh = ports.offered(22); v.ssh {
			v.miss("the settings of the SSH server", err)
			v.ssh = false
		}
		return v, nil
	}
	v.ssh = slices.ContainsFunc(s.ports, ports.offered)
	v.password = s.yes("passwordauthentication", "yes") || s.yes("kbdinteractiveauthentication", "yes") && s.yes("usepam", "no")
	v.root = v.password && s.first("permitrootlogin", "prohibit-password") == "yes"
	return v, nil
}

// sshSettings are what sshd_config(5) says outside Match blocks: the first value of a keyword holds.
type sshSettings struct {
	values map[string]string
	ports  []uint16
	files  int
}

func (s sshSettings) first(key, otherwise string) string {
	if v, ok := s.values[key]; ok {
		return v
	}
	return otherwise
}

func (s sshSettings) yes(key, otherwise string) bool { return s.first(key, otherwise) == "yes" }

// sshd reads the settings of the SSH server, with what they include.
func (t *tree) sshd() (sshSettings, error) {
	s := sshSettings{values: map[string]string{}}
	if err := t.sshFile(&s, "etc/ssh/sshd_config", 0); err != nil {
		return s, err
	}
	if len(s.ports) == 0 {
		s.ports = []uint16{22}
	}
	return s, nil
}

func (t *tree) sshFile(s *sshSettings, name string, depth int) error {
	if s.files++; s.files > 64 || depth > 8 {
		return fmt.Errorf("too many files: %w", errors.ErrUnsupported)
	}
	text, err := t.text(name)
	if err != nil {
		return bare(err)
	}
	for line := range settings(text) {
		key, value, _ := strings.Cut(strings.Replace(line, "=", " ", 1), " ")
		key, value = strings.ToLower(key), strings.Trim(strings.TrimSpace(value), `"`)
		switch key {
		case "match":
			return nil
		case "include":
			for pattern := range strings.FieldsSeq(value) {
				if err := t.sshInclude(s, pattern, depth); err != nil {
					return err
				}
			}
		case "port":
			if n, err := strconv.ParseUint(value, 10, 16); err == nil && len(s.ports) < 64 {
				s.ports = append(s.ports, uint16(n))
			}
		default:
			if key == "challengeresponseauthentication" {
				key = "kbdinteractiveauthentication"
			}
			if _, set := s.values[key]; !set && len(s.values) < 1000 {
				s.values[key] = strings.ToLower(value)
			}
		}
	}
	return nil
}

// sshInclude reads the files of a pattern, whose last part alone may hold * and ?.
func (t *tree) sshInclude(s *sshSettings, pattern string, depth int) error {
	if !strings.HasPrefix(pattern, "/") {
		pattern = "/etc/ssh/" + pattern
	}
	dir, last := path.Split(strings.TrimPrefix(path.Clean(pattern), "/"))
	names, err := t.list(path.Clean(dir))
	if err != nil {
		return bare(err)
	}
	for _, name := range names {
		if ok, err := path.Match(last, name); err == nil && ok {
			if err := t.sshFile(s, path.Join(dir, name), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// remotes reads how Remote Desktop is set, where a policy goes first, and asks for the services of known programs.
func (s *station) remotes(context.Context) (remotes, error) {
	const (
		keyPolicy = `SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services`
		keyServer = `SYSTEM\CurrentControlSet\Control\Terminal Server`
	)
	var v remotes
	value := func(name, key string) (uint64, bool) {
		n, ok, err := s.number(keyPolicy, name)
		if err == nil && !ok {
			n, ok, err = s.number(key, name)
		}
		if err != nil {
			v.miss("the settings of Remote Desktop", err)
		}
		return n, ok && err == nil
	}
	// It is off unless somebody has switched it on.
	if denied, ok := value("fDenyTSConnections", keyServer); ok && denied == 0 {
		v.tools = append(v.tools, "rdp")
		nla, ok := value("UserAuthentication", keyServer+`\WinStations\RDP-Tcp`)
		v.noNLA = ok && nla == 0
	}
	for _, service := range []string{"AnyDesk", "TeamViewer", "RustDesk", "UltraViewService", "uvnc_service", "tvnserver", "winvnc", "vncserver"} {
		_, there, err := s.number(keyServices+service, "Start")
		if err != nil {
			v.miss("the service "+service, err)
		}
		if !there {
			continue
		}
		if running, err := s.running(service); err != nil {
			v.miss("the service "+service, err)
		} else if running {
			v.tools = append(v.tools, service)
		}
	}
	return v, nil
}
