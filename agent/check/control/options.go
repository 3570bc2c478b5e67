package control

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
)

const day = 24 * time.Hour

// The limits that hold when the plan names none.
const (
	patchMaxAge  = 31 * day
	clockMaxAge  = 8 * day // Windows asks its source once a week where it is not told otherwise
	backupMaxAge = 24 * time.Hour
	maxAdmins    = 2
	clockOffset  = 60 * time.Second

	patternsMaxAge  = 3 * day
	patternsFailAge = 7 * day
	supportWarn     = 90 * day
	logsMinAge      = 30 * day
	passwordMaxAge  = 62 * day
	passwordLetters = 14

	idleMaxAge   = 45 * day
	sentMaxAge   = 15 * time.Minute
	upkeepMaxAge = 31 * day
	screenIdle   = 15 * time.Minute
	passwordTry  = 10
	certWarn     = 21 * day
)

// Values of the option proof.
const (
	proofConfiguration = "configuration"
	proofRules         = "rules"
)

func options() []check.Option {
	const century = 100 * 365 * 86400
	return []check.Option{
		{Name: "id", Type: check.TypeString, Required: true, Enum: ids(), Help: "The control, as the catalogue of the law set calls it."},
		{Name: "proof", Type: check.TypeString, Enum: []string{proofConfiguration, proofRules},
			Help: "For m04: whether a firewall that is configured and started with the system is enough where the rules in force may not be read (configuration, the default), or only the rules themselves are (rules)."},
		{Name: "max_age", Type: check.TypeDuration, Min: 60, Max: century, Help: "For m02, m05, m11, m12, m16, m18, m20 and m26: the oldest that the signatures (default 72h), the last patch (default 744h), the last use of an account (default 1080h), an administrator's password (default 1488h), the last setting of the clock where it is known (default 192h), what a forwarder sent last (default 15m) or the newest backup (default 24h) may be; for m26 how far back ends of the system count (default 744h)."},
		{Name: "fail_age", Type: check.TypeDuration, Min: 60, Max: century, Help: "For m02, m05 and m20: between max_age and this the control is met in part; default max_age, and 168h for m02."},
		{Name: "allowed_ports", Type: check.TypeStrings, Max: 256,
			Help: `For m07: what may listen on addresses other than loopback: 22, 53/udp, 5000-5010/tcp; a number alone is TCP and UDP. Required; [] for none.`},
		{Name: "max_count", Type: check.TypeInt, Min: 0, Max: 10000, Unit: "accounts", Help: "For m10: the most accounts that may administer, root or the built-in one among them; default 2."},
		{Name: "sudoers", Type: check.TypeBool, Help: "For m10 on Linux: whether the rules of sudo, which only root can read, belong to the control; default true. When false, accounts and groups alone decide."},
		{Name: "passwordless", Type: check.TypeBool, Help: "For m10 on Linux: whether sudo may let someone do everything without a password; default false."},
		{Name: "max_offset", Type: check.TypeDuration, Min: 0.001, Max: 86400, Help: "For m16: how far the clock may be from its source; default 60s."},
		{Name: "path", Type: check.TypeString, Help: "For m20: a folder, searched with the folders in it, or a pattern of files such as /srv/backup/*.zst or D:/saoluu/*.bak. Required."},
		{Name: "min_bytes", Type: check.TypeBytes, Min: 1, Max: 1 << 53, Unit: "bytes", Help: "For m20: the smallest that the newest backup may be; default 1."},
		{Name: "data_path", Type: check.TypeString, Help: "For m20: where the data are that the backup is of; the backup must be on another file system. Default: the system's own disk."},
		{Name: "domains", Type: check.TypeStrings, Max: 64, Help: "For m21: names that the hosts file must not set, with everything below them; default gov.vn."},
		{Name: "allowed_hosts", Type: check.TypeStrings, Max: 256, Help: "For m21: names below domains that it may set, each alone or with its address: mc.tuky.gov.vn or mc.tuky.gov.vn=10.1.2.3."},
		{Name: "sha256", Type: check.TypeString, Help: "For m21: the SHA-256 of the hosts file as it should be, in hex."},
		{Name: "programs", Type: check.TypeStrings, Max: 64, Help: "For m01, m03 and m18: names of further processes (as the kernel of Linux keeps them, 15 letters) or services of Windows that guard the machine, report malware or forward the log."},
		{Name: "os_ends", Type: check.TypeStrings, Max: 256, Help: "For m06: the last day on which each operating system is supported: debian 12=2028-06-30, windows 19045=2025-10-14, or narrower with its edition."},
		{Name: "warn_days", Type: check.TypeInt, Min: 0, Max: 3650, Unit: "days", Help: "For m06 and m27: the control is met in part when support (default 90) or the certificate (default 21) ends within this time."},
		{Name: "allowed_remote", Type: check.TypeStrings, Max: 64, Help: "For m09: programs that may control this machine from elsewhere: processes on Linux, services on Windows, rdp for Remote Desktop."},
		{Name: "ssh_password", Type: check.TypeBool, Help: "For m09 on Linux: whether SSH may let people in by password alone; default false. root never."},
		{Name: "required", Type: check.TypeBool, Help: "For m03 and m15: whether the agent must run, or the system's disk must be encrypted; default false, which reports."},
		{Name: "min_age", Type: check.TypeDuration, Min: 3600, Max: century, Help: "For m17: how far back the log must reach; default 720h, and 2160h suits systems of level 3."},
		{Name: "allowed_roots", Type: check.TypeStrings, Max: 64, Help: "For m22: SHA-256 of root certificates that may be added to this machine, in hex."},
		{Name: "allowed_proxies", Type: check.TypeStrings, Max: 64, Help: "For m22: hosts of proxies that all programs of this machine may be told to use."},
		{Name: "min_length", Type: check.TypeInt, Min: 1, Max: 128, Unit: "letters", Help: "For m12: the shortest password that may be taken; default 14, and 8 where another proof of who someone is comes on top."},
		{Name: "addresses", Type: check.TypeAddrs, Min: 1, Max: 16, Help: "For m03, m18 and m19: the centres that the agent or the forwarder is connected to by TCP (address and port in numbers), or that must answer (host:port)."},
		{Name: "max_tries", Type: check.TypeInt, Min: 1, Max: 1000, Unit: "wrong passwords", Help: "For m13: the most that are taken before an account is locked; default 10."},
		{Name: "max_idle", Type: check.TypeDuration, Min: 1, Max: 86400, Help: "For m13: the longest that a screen may be left alone before it locks itself; default 15m."},
		{Name: "forbidden", Type: check.TypeStrings, Max: 256, Help: "For m23: patterns of further programs that may not be installed, such as utorrent*; in lower case, by package on Linux and by name in the list of programs on Windows."},
		{Name: "ups", Type: check.TypeAddress, Help: "For m26: the server of Network UPS Tools that watches the UPS, such as 127.0.0.1:3493; without it only a UPS that the kernel knows is seen."},
		{Name: "url", Type: check.TypeURL, Help: "For m27: the portal's address, https://host/; of one with http:// the host is asked by HTTPS. Required."},
		{Name: "roots", Type: check.TypeString, Help: "For m27: a PEM file of the roots to trust in place of the system's."},
		{Name: "resolvers", Type: check.TypeStrings, Max: 64, Help: "For m21: the addresses of the resolvers that this machine may use; without it they are only counted."},
	}
}

// users lists which controls use an option that is not for all.
func users(option string) []string {
	switch option {
	case "proof":
		return []string{hostFirewall}
	case "max_age":
		return []string{signatureAge, patchAge, idleAccounts, passwordRules, timeSync, logForwarder, backupAge, upkeepPower}
	case "fail_age":
		return []string{signatureAge, patchAge, backupAge}
	case "programs":
		return []string{antiMalware, malwareAgent, logForwarder}
	case "os_ends":
		return []string{systemSupport}
	case "warn_days":
		return []string{systemSupport, portalRules}
	case "addresses":
		return []string{malwareAgent, logForwarder, centreReach}
	case "max_tries", "max_idle":
		return []string{lockOut}
	case "forbidden":
		return []string{badSoftware}
	case "ups":
		return []string{upkeepPower}
	case "url", "roots":
		return []string{portalRules}
	case "allowed_remote", "ssh_password":
		return []string{remoteControl}
	case "required":
		return []string{malwareAgent, diskEncryption}
	case "allowed_roots", "allowed_proxies":
		return []string{addedTrust}
	case "min_length":
		return []string{passwordRules}
	case "min_age":
		return []string{securityLog}
	case "allowed_ports":
		return []string{listeningPorts}
	case "max_count", "sudoers", "passwordless":
		return []string{administrators}
	case "max_offset":
		return []string{timeSync}
	case "path", "min_bytes", "data_path":
		return []string{backupAge}
	case "domains", "allowed_hosts", "sha256", "resolvers":
		return []string{hostsFile}
	default:
		return ids()
	}
}

// onlyFor refuses options that the control does not use: one that is silently ignored looks like a limit that holds.
func onlyFor(o check.Options, id string) error {
	for _, d := range options() {
		if u := users(d.Name); o.Has(d.Name) && !slices.Contains(u, id) {
			return fmt.Errorf("option %q is not for %s, but for %s: take it out", d.Name, id, strings.Join(u, " and "))
		}
	}
	return nil
}

// limits are what the plan allows. Fields of other controls are zero.
type limits struct {
	proof           string
	maxAge, failAge time.Duration
	ports           []ports // nil when the plan says nothing
	maxCount        int
	sudoers         bool
	passwordless    bool
	maxOffset       time.Duration
	path, data      string
	minBytes        int64
	domains         []string
	allowed         []allowedHost
	sha256          string
	resolvers       []string

	programs    []string
	ends        map[string]time.Time // the last day of support, by system
	warn        time.Duration
	remote      []string // in lower case
	sshPassword bool
	required    bool
	minAge      time.Duration
	minLength   int
	roots       []string // SHA-256 in hex
	proxies     []string // hosts in lower case

	centres   []netip.AddrPort // of m03 and m18
	addresses []string         // of m19, host:port
	maxTries  int
	maxIdle   time.Duration
	ups       string   // host:port; "" for none
	forbidden []string // patterns in lower case
	portal    *url.URL // nil when the plan says nothing
	rootsFile string
}

// An allowedHost may stand in the hosts file. Without an address any will do.
type allowedHost struct {
	name    string
	address netip.Addr
}

// ports are a stretch of ports of one or both protocols.
type ports struct {
	from, to uint16
	tcp, udp bool
}

func readLimits(o check.Options, id string) (*limits, error) {
	l := &limits{
		proof: proofConfiguration, maxAge: patchMaxAge, maxCount: maxAdmins, sudoers: true, maxOffset: clockOffset,
		path: o.String("path"), data: o.String("data_path"), minBytes: 1, domains: []string{"gov.vn"},
		passwordless: o.Bool("passwordless"),
	}
	if err := l.readUpkeep(o); err != nil {
		return nil, err
	}
	if err := l.readCentres(o, id); err != nil {
		return nil, err
	}
	if id == portalRules && !o.Has("warn_days") {
		l.warn = certWarn
	}
	switch id {
	case signatureAge:
		l.maxAge = patternsMaxAge
	case passwordRules:
		l.maxAge = passwordMaxAge
	case idleAccounts:
		l.maxAge = idleMaxAge
	case logForwarder:
		l.maxAge = sentMaxAge
	case upkeepPower:
		l.maxAge = upkeepMaxAge
	case timeSync:
		l.maxAge = clockMaxAge
	case backupAge:
		l.maxAge = backupMaxAge
	}
	if o.Has("proof") {
		l.proof = o.String("proof")
	}
	if o.Has("max_age") {
		l.maxAge = o.Duration("max_age")
	}
	l.failAge = l.maxAge
	if id == signatureAge {
		l.failAge = max(l.maxAge, patternsFailAge)
	}
	if o.Has("fail_age") {
		if l.failAge = o.Duration("fail_age"); l.failAge < l.maxAge {
			return nil, fmt.Errorf("option \"fail_age\": %v is below max_age %v: write at least that", l.failAge, l.maxAge)
		}
	}
	if o.Has("max_count") {
		l.maxCount = int(o.Int("max_count"))
	}
	if o.Has("sudoers") {
		l.sudoers = o.Bool("sudoers")
	}
	if o.Has("max_offset") {
		l.maxOffset = o.Duration("max_offset")
	}
	if o.Has("min_bytes") {
		l.minBytes = o.Int("min_bytes")
	}
	if err := l.readPorts(o); err != nil {
		return nil, err
	}
	if err := l.readPaths(); err != nil {
		return nil, err
	}
	return l, l.readNames(o)
}

// readUpkeep reads the limits of the controls of what runs on a machine and how it is kept.
func (l *limits) readUpkeep(o check.Options) error {
	l.programs, l.sshPassword, l.required, l.minAge = o.Strings("programs"), o.Bool("ssh_password"), o.Bool("required"), logsMinAge
	l.minLength = passwordLetters
	if o.Has("min_length") {
		l.minLength = int(o.Int("min_length"))
	}
	if o.Has("min_age") {
		l.minAge = o.Duration("min_age")
	}
	for _, s := range o.Strings("allowed_remote") {
		l.remote = append(l.remote, strings.ToLower(strings.TrimSpace(s)))
	}
	l.ups = o.String("ups")
	l.maxTries, l.maxIdle = passwordTry, screenIdle
	if o.Has("max_tries") {
		l.maxTries = int(o.Int("max_tries"))
	}
	if o.Has("max_idle") {
		l.maxIdle = o.Duration("max_idle")
	}
	for _, read := range []func(check.Options) error{l.readTrust, l.readForbidden, l.readPortal} {
		if err := read(o); err != nil {
			return err
		}
	}
	return l.readEnds(o)
}

func (l *limits) readPorts(o check.Options) error {
	if !o.Has("allowed_ports") {
		return nil
	}
	l.ports = []ports{}
	for _, s := range o.Strings("allowed_ports") {
		p, err := parsePorts(s)
		if err != nil {
			return fmt.Errorf("option \"allowed_ports\": %w", err)
		}
		l.ports = append(l.ports, p)
	}
	return nil
}

// parsePorts reads PORT[-PORT][/tcp|/udp].
func parsePorts(s string) (ports, error) {
	bad := fmt.Errorf("%q is no port: write 22, 53/udp or 5000-5010/tcp", s)
	number, protocol, named := strings.Cut(strings.TrimSpace(s), "/")
	if named && protocol != "tcp" && protocol != "udp" {
		return ports{}, bad
	}
	first, last, ranged := strings.Cut(number, "-")
	if !ranged {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || to < from {
		return ports{}, bad
	}
	return ports{uint16(from), uint16(to), protocol != "udp", protocol != "tcp"}, nil
}

func (l *limits) readNames(o check.Options) error {
	if o.Has("domains") {
		l.domains = nil
		for _, d := range o.Strings("domains") {
			if l.domains = append(l.domains, hostName(d)); hostName(d) == "" {
				return fmt.Errorf("option \"domains\": an empty name: write names such as gov.vn")
			}
		}
	}
	for _, s := range o.Strings("allowed_hosts") {
		name, address, pinned := strings.Cut(s, "=")
		h := allowedHost{name: hostName(name)}
		var err error
		if pinned {
			h.address, err = netip.ParseAddr(strings.TrimSpace(address))
		}
		if err != nil || h.name == "" {
			return fmt.Errorf("option \"allowed_hosts\": %q: write a name, or name=address", s)
		}
		h.address = h.address.Unmap()
		l.allowed = append(l.allowed, h)
	}
	if l.sha256 = strings.ToLower(o.String("sha256")); l.sha256 != "" {
		if b, err := hex.DecodeString(l.sha256); err != nil || len(b) != 32 {
			return fmt.Errorf("option \"sha256\": %q is not 64 hex digits: write what sha256sum prints", l.sha256)
		}
	}
	for _, s := range o.Strings("resolvers") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("option \"resolvers\": %q is no address: write addresses such as 10.1.2.3", s)
		}
		l.resolvers = append(l.resolvers, a.Unmap().WithZone("").String())
	}
	return nil
}

// readPaths brings the paths into one form, with slashes.
func (l *limits) readPaths() error {
	for name, p := range map[string]*string{"path": &l.path, "data_path": &l.data} {
		if onDrive(*p) || strings.HasPrefix(*p, `\\`) {
			*p = strings.ReplaceAll(*p, `\`, "/")
		}
		if *p != "" && !strings.HasPrefix(*p, "/") && !onDrive(*p) {
			return fmt.Errorf("option %q: %q is not absolute: write it from / or from the drive's letter on", name, *p)
		}
	}
	if _, err := path.Match(l.path, ""); err != nil {
		return fmt.Errorf("option \"path\": %q is no pattern: * and ? stand for any text and any letter, [ must be closed", l.path)
	}
	return nil
}

// onDrive reports whether a path begins with a drive's letter.
func onDrive(p string) bool {
	return len(p) >= 3 && p[1] == ':' && (p[2] == '/' || p[2] == '\\') && (p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z')
}

// hostName is a name as names are compared.
func hostName(s string) string { return strings.ToLower(strings.Trim(strings.TrimSpace(s), ".")) }
