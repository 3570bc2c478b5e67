package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"
)

// A registry is the registry of a Windows machine below HKEY_LOCAL_MACHINE, in its 64-bit view. What is not there is
// fs.ErrNotExist, what the account may not read fs.ErrPermission; a value of another type is an error too.
type registry interface {
	// Number returns a REG_DWORD or REG_QWORD.
	Number(key, name string) (uint64, error)
	// Text returns a REG_SZ or a REG_EXPAND_SZ as it is written.
	Text(key, name string) (string, error)
	// Keys lists the names of the keys below a key.
	Keys(key string) ([]string, error)
}

// A hive is a registry whose binary values are read too.
type hive interface {
	registry
	// Bytes returns a REG_BINARY; one of more than some megabytes is an error.
	Bytes(key, name string) ([]byte, error)
}

// A station reads the values of a Windows machine. The functions are calls of the system without a place in the registry.
type station struct {
	registry    hive
	running     func(service string) (bool, error)            // asks the service manager
	otherWall   func() (bool, error)                          // whether the Security Center knows a firewall that is on
	sockets     func(ctx context.Context) ([]listener, error) // those that listen
	admins      func() ([]member, error)                      // the group Administrators
	nameServers func() ([]string, error)                      // of the adapters in use
	volume      func(name string) fs.FS                       // the tree of a drive such as D: or of a share
	device      func(path string) (serial uint64, err error)  // the volume that a path is on
	variables   func(name string) string                      // of the environment
	lockout     func() (tries int, err error)                 // wrong passwords until an account is locked; 0 for any number
	connected   func(ctx context.Context, centres []netip.AddrPort) (int, error)
	objects     objects                                   // of WMI
	events      events                                    // of the logs
	users       func(ctx context.Context) ([]user, error) // of this machine
	letters     func() (int, error)                       // the fewest that a new password must have
	supply      func() (power, error)
	hives       func() ([]hive, error) // of the people who are signed in
	shipped     []string               // SHA-1 of the roots that come with Windows, in hex
}

func (s station) system() system {
	return system{
		firewall: s.firewall, patches: s.patches, listeners: s.listeners, accounts: s.accounts, clock: s.clock,
		backups: s.backups, hosts: s.hosts,
		resolvers: func(context.Context) ([]string, error) { return s.nameServers() },
		release:   s.release, oldProtocols: s.oldProtocols, remotes: s.remotes,
		protection: s.protection, patterns: s.patterns, encryption: s.encryption, logs: s.logs, trust: s.trust,
		passwords: s.passwords, idlers: s.idlers, upkeep: s.upkeep,
		edr: s.edr, forwarders: s.forwarders, locking: s.locking, autorun: s.autorun, software: s.software,
	}
}

const (
	keyFirewall = `SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\`
	keyPolicy   = `SOFTWARE\Policies\Microsoft\WindowsFirewall\`
	keyServices = `SYSTEM\CurrentControlSet\Services\`
	keyPackages = `SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages`
	keyWindows  = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	keyLogon    = `SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon`
	keyTCP      = `SYSTEM\CurrentControlSet\Services\Tcpip\Parameters`

	startDisabled    = 4    // SERVICE_DISABLED
	packageInstalled = 0x70 // CurrentState of a package that is in force
	ephemeralPort    = 49152
)

// number reads a number of the registry; ok is false when it is not there.
func (s *station) number(key, name string) (v uint64, ok bool, err error) {
	v, err = s.registry.Number(key, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	return v, err == nil, err
}

// firewall reads the three profiles of the Windows firewall, where a group policy goes before what is set on the
// machine. Another firewall that the Security Center calls good counts for all of them.
func (s *station) firewall(_ context.Context, proof string) (firewall, error) {
	if proof == proofRules {
		return firewall{}, fmt.Errorf("the firewall's rules in force: %w", errNoReader)
	}
	var f firewall
	for _, profile := range []string{"DomainProfile", "StandardProfile", "PublicProfile"} {
		closed, err := s.profile(profile)
		if err != nil {
			return firewall{}, fmt.Errorf("the firewall's %s: %w", profile, err)
		}
		f.scopes++
		if closed {
			f.closed++
		}
	}
	start, _, err := s.number(keyServices+"mpssvc", "Start")
	if err != nil {
		return firewall{}, fmt.Errorf("the firewall's service: %w", err)
	}
	if running, err := s.running("mpssvc"); start == startDisabled || err == nil && !running {
		f.closed = 0
	}
	if f.closed < f.scopes {
		if good, err := s.otherWall(); err == nil && good {
			f.closed = f.scopes
		}
	}
	return f, nil
}

// profile reports whether a profile is on and refuses what no rule allows.
func (s *station) profile(name string) (bool, error) {
	value := func(value string) (uint64, bool, error) {
		if v, ok, err := s.number(keyPolicy+name, value); ok || err != nil {
			return v, ok, err
		}
		return s.number(keyFirewall+name, value)
	}
	on, ok, err := value("EnableFirewall")
	if err != nil {
		return false, err
	}
	if !ok {
		return false, fmt.Errorf("EnableFirewall: %w", fs.ErrNotExist)
	}
	inbound, ok, err := value("DefaultInboundAction") // 0 allows, 1 blocks; blocking is the default
	return on == 1 && (!ok || inbound == 1), err
}

// patches reads when the newest installed package of updates came into force.
func (s *station) patches(ctx context.Context) (patches, error) {
	var p patches
	if installed, ok, err := s.number(keyWindows, "InstallDate"); err == nil && ok && installed > 0 && installed < 1<<33 {
		p.begins = time.Unix(int64(installed), 0)
	}
	packages, err := s.registry.Keys(keyPackages)
	if err != nil {
		return patches{}, fmt.Errorf("the list of installed updates: %w", err)
	}
	for _, name := range packages {
		if err := ctx.Err(); err != nil {
			return patches{}, err
		}
		if !strings.HasPrefix(name, "Package_for_") {
			continue
		}
		key := keyPackages + `\` + name
		if state, err := s.registry.Number(key, "CurrentState"); err != nil || state != packageInstalled {
			continue
		}
		high, err1 := s.registry.Number(key, "InstallTimeHigh")
		low, err2 := s.registry.Number(key, "InstallTimeLow")
		if at := fileTime(high<<32 | low&0xffffffff); err1 == nil && err2 == nil && at.After(p.last) {
			p.last = at
		}
	}
	for _, key := range []string{
		`SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending`,
		`SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired`,
	} {
		if _, err := s.registry.Keys(key); err == nil {
			p.reboot = true
		}
	}
	return p, nil
}

// fileTime reads a FILETIME: units of 100 ns since 1601.
func fileTime(v uint64) time.Time {
	const epoch = 116444736000000000 // 1970 in these units
	if v < epoch || v > 1<<62 {
		return time.Time{}
	}
	return time.Unix(int64((v-epoch)/1e7), int64((v-epoch)%1e7)*100)
}

func (s *station) listeners(ctx context.Context) (listeners, error) {
	all, err := s.sockets(ctx)
	if err != nil {
		return listeners{}, fmt.Errorf("the table of sockets: %w", err)
	}
	return listeners{all, ephemeralPort}, nil
}

// accounts counts the members of the group Administrators that can log on; a group among them counts as one.
func (s *station) accounts(context.Context, bool) (accounts, error) {
	members, err := s.admins()
	if err != nil {
		return accounts{}, fmt.Errorf("the group of administrators: %w", err)
	}
	a := accounts{uid0: -1}
	for _, m := range members {
		if !m.disabled {
			a.administrators++
		}
	}
	auto, err := s.registry.Text(keyLogon, "AutoAdminLogon")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		var n uint64
		n, err = s.registry.Number(keyLogon, "AutoAdminLogon") // some tools write a number
		auto = strconv.FormatUint(n, 10)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		a.unread = append(a.unread, "the setting of the automatic log-on")
		a.denied = errors.Is(err, fs.ErrPermission)
	case strings.TrimSpace(auto) == "1":
		a.autologon = 1
	}
	return a, nil
}

// clock reads how the Windows time service is set, and when it last knew the time to be right.
func (s *station) clock(context.Context) (clock, error) {
	const key = keyServices + "W32Time"
	start, ok, err := s.number(key, "Start")
	if err != nil || !ok {
		return clock{}, fmt.Errorf("the time service: %w", errors.Join(err, missing(ok)))
	}
	source, err := s.registry.Text(key+`\Parameters`, "Type")
	if err != nil {
		return clock{}, fmt.Errorf("the source of the time service: %w", err)
	}
	c := clock{off: start == startDisabled || strings.EqualFold(source, "NoSync")}
	running, err := s.running("W32Time")
	c.hidden = err != nil
	if running {
		c.services = []string{"W32Time"}
	}
	good, ok, err := s.number(key+`\Config`, "LastKnownGoodTime")
	if err != nil {
		return clock{}, fmt.Errorf("when the clock was last right: %w", err)
	}
	if ok {
		c.last = fileTime(good)
	}
	c.known = !c.last.IsZero()
	c.synchronised = c.known
	return c, nil
}

func missing(ok bool) error {
	if ok {
		return nil
	}
	return fs.ErrNotExist
}

// backups looks for the files of a pattern on a drive or a share.
func (s *station) backups(ctx context.Context, pattern, data string) (backups, error) {
	volume, rest := splitVolume(pattern)
	b, newest, err := gatherBackups(ctx, s.volume(volume), rest)
	if err != nil {
		return backups{}, fmt.Errorf("the folder of the backup: %w", bare(err))
	}
	if b.count == 0 {
		return b, nil
	}
	if data == "" {
		data = s.variables("SystemDrive") + "/"
	}
	there, err := s.device(volume + "/" + newest)
	if err != nil {
		return backups{}, fmt.Errorf("the volume of the backup: %w", bare(err))
	}
	here, err := s.device(data)
	if err != nil {
		return backups{}, fmt.Errorf("the volume of data_path: %w", bare(err))
	}
	b.same = there == here
	return b, nil
}

// splitVolume takes the drive or the share off a path with slashes.
func splitVolume(p string) (volume, rest string) {
	if onDrive(p) {
		return p[:2], strings.TrimPrefix(path.Clean(p[2:]), "/")
	}
	if share, ok := strings.CutPrefix(p, "//"); ok {
		parts := strings.SplitN(share, "/", 3)
		if len(parts) == 3 {
			return "//" + parts[0] + "/" + parts[1], strings.TrimPrefix(path.Clean(parts[2]), "/")
		}
		return p, "."
	}
	return "", strings.TrimPrefix(path.Clean(p), "/")
}

// hosts reads the hosts file where the registry says that it is: that it lies elsewhere than usual is a known way of
// tampering.
func (s *station) hosts(ctx context.Context, watched []string) (hosts, error) {
	dir, err := s.registry.Text(keyTCP, "DataBasePath")
	if err != nil {
		return hosts{}, fmt.Errorf("the place of the hosts file: %w", err)
	}
	volume, rest := splitVolume(strings.ReplaceAll(s.expand(dir), `\`, "/"))
	if volume == "" {
		return hosts{}, fmt.Errorf("the place of the hosts file is no absolute path: %w", errors.ErrUnsupported)
	}
	return readHosts(ctx, &tree{root: s.volume(volume)}, path.Join(rest, "hosts"), watched)
}

// expand replaces %NAME% by the variable of the environment.
func (s *station) expand(text string) string {
	parts := strings.Split(text, "%")
	for i := 1; i+1 < len(parts); i += 2 {
		parts[i] = s.variables(parts[i])
	}
	return strings.Join(parts, "")
}
