package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// accounts reads passwd, group and the rules of sudo. Accounts of a directory service are not in these files; the
// control is about local ones.
func (t *tree) accounts(_ context.Context, sudoers bool) (accounts, error) {
	p, err := t.people()
	if err != nil {
		return accounts{}, err
	}
	var a accounts
	admins := map[string]bool{}
	for name, who := range p.accounts {
		if who.uid == "0" {
			a.uid0++
			admins[name] = true
		}
	}
	for _, group := range []string{"sudo", "wheel", "admin"} {
		for _, name := range p.members(group) {
			admins[name] = true
		}
	}
	miss := func(what string, err error) {
		a.unread = append(a.unread, what)
		a.denied = a.denied || errors.Is(err, fs.ErrPermission)
	}
	if sudoers {
		rules, err := t.sudoRules()
		if err != nil {
			miss("the rules of sudo", err)
		}
		a.sudoRead = err == nil
		for _, name := range rules.everything(p) {
			admins[name] = true
		}
		a.passwordless = rules.passwordless
	}
	a.administrators = len(admins)
	if a.autologon, err = t.autologons(); err != nil {
		miss("the settings of the log-on screen", err)
	}
	return a, nil
}

// people are the accounts and groups of a system.
type people struct {
	accounts map[string]account // by name
	groups   map[string]group   // by name
}

type account struct{ uid, gid string }

type group struct {
	gid     string
	members []string
}

// people reads passwd(5) and group(5).
func (t *tree) people() (people, error) {
	p := people{map[string]account{}, map[string]group{}}
	passwd, err := t.read("etc/passwd", maxFile)
	if err != nil {
		return people{}, fmt.Errorf("the list of accounts: %w", bare(err))
	}
	groups, err := t.read("etc/group", maxFile)
	if err != nil {
		return people{}, fmt.Errorf("the list of groups: %w", bare(err))
	}
	for line := range strings.Lines(string(passwd)) {
		if f := strings.Split(strings.TrimRight(line, "\r\n"), ":"); len(f) >= 4 && f[0] != "" && f[0][0] != '#' {
			p.accounts[f[0]] = account{f[2], f[3]}
		}
	}
	for line := range strings.Lines(string(groups)) {
		if f := strings.Split(strings.TrimRight(line, "\r\n"), ":"); len(f) >= 4 && f[0] != "" && f[0][0] != '#' {
			p.groups[f[0]] = group{f[2], strings.FieldsFunc(f[3], func(r rune) bool { return r == ',' || r == ' ' })}
		}
	}
	return p, nil
}

// members lists who is in a group: those that it names and those whose own group it is.
func (p people) members(name string) []string {
	g, ok := p.groups[name]
	if !ok {
		return nil
	}
	list := slices.Clone(g.members)
	for name, who := range p.accounts {
		if who.gid == g.gid {
			list = append(list, name)
		}
	}
	return list
}

// sudoRules are the rules of sudo that allow every command.
type sudoRules struct {
	whom         []string // user, %group, %#gid, #uid or ALL
	passwordless int
	aliases      map[string][]string // of users
	commands     map[string]bool     // aliases of commands that hold ALL
}

const maxSudoers = 256 // files

// sudoRules reads sudoers(5) with what it includes. A system without sudo has none.
func (t *tree) sudoRules() (sudoRules, error) {
	s := sudoRules{aliases: map[string][]string{}, commands: map[string]bool{}}
	var lines []string
	queue := []string{"etc/sudoers"}
	for n := 0; n < len(queue); n++ {
		if n >= maxSudoers {
			return s, fmt.Errorf("more than %d files: %w", maxSudoers, errors.ErrUnsupported)
		}
		text, err := t.text(queue[n])
		if err != nil {
			return s, err
		}
		for line := range sudoLines(text) {
			more, err := t.sudoIncludes(line)
			if err != nil {
				return s, err
			}
			queue = append(queue, more...)
			lines = append(lines, line)
		}
	}
	for _, line := range lines {
		s.alias(line)
	}
	for _, line := range lines {
		s.add(line)
	}
	return s, nil
}

// sudoLines joins continued lines and takes comments out. #include and #includedir are no comments, nor is #UID.
func sudoLines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
			line = strings.TrimSpace(line)
			for i := 0; i < len(line); i++ {
				number := i+1 < len(line) && line[i+1] >= '0' && line[i+1] <= '9'
				if line[i] == '#' && !number && !strings.HasPrefix(line[i:], "#include") && (i == 0 || line[i-1] != '%') {
					line = strings.TrimSpace(line[:i])
				}
			}
			if line != "" && !yield(line) {
				return
			}
		}
	}
}

// sudoIncludes returns the files that a line includes; of a folder those without a dot in their names and without ~ at
// the end.
func (t *tree) sudoIncludes(line string) (files []string, err error) {
	f := strings.Fields(strings.TrimLeft(line, "@#"))
	if line[0] != '@' && line[0] != '#' || len(f) != 2 {
		return nil, nil
	}
	name := strings.TrimPrefix(f[1], "/")
	if !strings.HasPrefix(f[1], "/") {
		name = path.Join("etc", f[1])
	}
	switch f[0] {
	case "include":
		return []string{path.Clean(name)}, nil
	case "includedir":
		names, err := t.list(path.Clean(name))
		for _, n := range names {
			if !strings.Contains(n, ".") && !strings.HasSuffix(n, "~") {
				files = append(files, path.Join(path.Clean(name), n))
			}
		}
		return files, err
	}
	return nil, nil
}

// alias takes in the names that a line gives to users and commands. A name may be used before it is given.
func (s *sudoRules) alias(line string) {
	word, rest, _ := strings.Cut(line, " ")
	for def := range strings.SplitSeq(rest, ":") {
		name, list, ok := strings.Cut(def, "=")
		switch {
		case !ok:
		case word == "User_Alias":
			s.aliases[strings.TrimSpace(name)] = words(list)
		case word == "Cmnd_Alias" && slices.ContainsFunc(words(list), func(w string) bool { return w == "ALL" || s.commands[w] }):
			s.commands[strings.TrimSpace(name)] = true
		}
	}
}

// add takes in one line: a default, or who may do what where.
func (s *sudoRules) add(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.HasPrefix(word, "Defaults"):
		if slices.Contains(words(rest), "!authenticate") {
			s.passwordless++
		}
	case strings.HasSuffix(word, "_Alias") || word[0] == '@' || strings.HasPrefix(word, "#include"):
	default:
		who, what, ok := strings.Cut(line, "=")
		if !ok {
			return
		}
		users := words(who)
		if len(users) > 1 {
			users = users[:len(users)-1] // the last is where
		}
		if all, free := s.allows(what); all {
			s.whom = append(s.whom, users...)
			if free {
				s.passwordless++
			}
		}
	}
}

// allows reports whether a list of commands holds ALL, and whether that needs no password. Tags hold on to the end of
// the list.
func (s *sudoRules) allows(what string) (all, free bool) {
	for {
		open := strings.IndexByte(what, '(')
		end := strings.IndexByte(what, ')')
		if open < 0 || end < open {
			break
		}
		what = what[:open] + " " + what[end+1:] // as whom
	}
	tag := false
	for _, w := range strings.FieldsFunc(strings.ReplaceAll(what, ":", ": "), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		switch {
		case w == "NOPASSWD:":
			tag = true
		case w == "PASSWD:":
			tag = false
		case w == "ALL" || s.commands[w]:
			all, free = true, free || tag
		}
	}
	return all, free
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// everything lists the accounts that rules let do everything.
func (s sudoRules) everything(p people) (list []string) {
	for i, whom := 0, s.whom; i < len(whom) && i < 10000; i++ {
		w := whom[i]
		switch {
		case w == "ALL":
			for name := range p.accounts {
				list = append(list, name)
			}
		case strings.HasPrefix(w, "%#"):
			for name, g := range p.groups {
				if g.gid == w[2:] {
					list = append(list, p.members(name)...)
				}
			}
		case w[0] == '%':
			list = append(list, p.members(w[1:])...)
		case w[0] == '#':
			for name, who := range p.accounts {
				if who.uid == w[1:] {
					list = append(list, name)
				}
			}
		case s.aliases[w] != nil:
			whom = append(whom[:len(whom):len(whom)], s.aliases[w]...)
		case w[0] != '!' && w[0] != '+':
			list = append(list, w)
		}
	}
	return list
}

// autologons counts the settings that log someone on without asking: GDM, LightDM, SDDM and the console.
func (t *tree) autologons() (n int, err error) {
	var files []string
	for _, dir := range []string{"etc/lightdm/lightdm.conf.d", "etc/sddm.conf.d", "etc/systemd/system/getty@tty1.service.d", "etc/systemd/system/getty@.service.d"} {
		names, err := t.list(dir)
		if err != nil {
			return n, err
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".conf") {
				files = append(files, path.Join(dir, name))
			}
		}
	}
	files = append(files, "etc/gdm3/daemon.conf", "etc/gdm3/custom.conf", "etc/gdm/custom.conf", "etc/lightdm/lightdm.conf", "etc/sddm.conf")
	for _, name := range files {
		text, err := t.text(name)
		if err != nil {
			return n, err
		}
		if logsOn(name, text) {
			n++
		}
	}
	return n, nil
}

func logsOn(name, text string) bool {
	yes := func(key string) bool {
		v := strings.ToLower(setting(text, key))
		return v == "true" || v == "1" || v == "yes"
	}
	switch {
	case strings.HasPrefix(name, "etc/gdm"):
		return yes("AutomaticLoginEnable") || yes("TimedLoginEnable")
	case strings.HasPrefix(name, "etc/lightdm"):
		return setting(text, "autologin-user") != ""
	case strings.HasPrefix(name, "etc/sddm"):
		_, section, _ := strings.Cut(text, "[Autologin]")
		section, _, _ = strings.Cut(section, "\n[")
		return setting(section, "User") != ""
	default:
		for line := range settings(text) {
			if strings.HasPrefix(line, "ExecStart=") && (strings.Contains(line, "--autologin") || strings.Contains(line, " -a ")) {
				return true
			}
		}
		return false
	}
}
