package control

import (
	"context"
	"errors"
	"time"

	"egovmon/agent/check"
)

// errNoReader says that there is no way here to read the value.
var errNoReader = errors.New("this operating system has no reader for it")

// A system reads the values of the controls. A nil function is one that this operating system has no reader for. An
// error that wraps fs.ErrPermission means that the agent's account may not look.
type system struct {
	firewall  func(ctx context.Context, proof string) (firewall, error)
	patches   func(ctx context.Context) (patches, error)
	listeners func(ctx context.Context) (listeners, error)
	accounts  func(ctx context.Context, sudoers bool) (accounts, error)
	clock     func(ctx context.Context) (clock, error)
	backups   func(ctx context.Context, path, data string) (backups, error)
	hosts     func(ctx context.Context, watched []string) (hosts, error)
	resolvers func(ctx context.Context) ([]string, error)

	protection   func(ctx context.Context, more []string) (protection, error)
	patterns     func(ctx context.Context) (patterns, error)
	release      func(ctx context.Context) (release, error)
	oldProtocols func(ctx context.Context) (oldProtocols, error)
	remotes      func(ctx context.Context) (remotes, error)
	encryption   func(ctx context.Context) (bool, error)
	logs         func(ctx context.Context) (logs, error)
	trust        func(ctx context.Context) (trust, error)
	passwords    func(ctx context.Context, now time.Time) (passwords, error)

	edr        func(ctx context.Context, l *limits) (reporters, error)
	forwarders func(ctx context.Context, l *limits) (reporters, error)
	idlers     func(ctx context.Context, now time.Time) (idlers, error)
	locking    func(ctx context.Context) (locking, error)
	autorun    func(ctx context.Context) (autorun, error)
	software   func(ctx context.Context) (software, error)
	upkeep     func(ctx context.Context) (upkeep, error)
	network    network
}

// measure binds a control to its reader, its limits and its judgement.
func (s *system) measure(id string, l *limits, now func() time.Time) measure {
	switch id {
	case hostFirewall:
		return reading(func(ctx context.Context) (firewall, error) { return s.firewall(ctx, l.proof) }, s.firewall != nil, judgeFirewall)
	case patchAge:
		return reading(s.patches, s.patches != nil, func(p patches) *check.Result { return judgePatches(p, l, now()) })
	case listeningPorts:
		if l.ports == nil {
			return fixed(check.NotConfigured, `option "allowed_ports": write the ports that may listen on this machine, or [] for none`)
		}
		return reading(s.listeners, s.listeners != nil, func(v listeners) *check.Result { return judgeListeners(v, l) })
	case administrators:
		return reading(func(ctx context.Context) (accounts, error) { return s.accounts(ctx, l.sudoers) }, s.accounts != nil,
			func(v accounts) *check.Result { return judgeAccounts(v, l) })
	case timeSync:
		return reading(s.clock, s.clock != nil, func(v clock) *check.Result { return judgeClock(v, l, now()) })
	case backupAge:
		if l.path == "" {
			return fixed(check.NotConfigured, `option "path": write the folder or the pattern of the backup's files`)
		}
		return reading(func(ctx context.Context) (backups, error) { return s.backups(ctx, l.path, l.data) }, s.backups != nil,
			func(v backups) *check.Result { return judgeBackups(v, l, now()) })
	case hostsFile:
		return reading(func(ctx context.Context) (names, error) { return s.names(ctx, l) }, s.hosts != nil,
			func(v names) *check.Result { return judgeNames(v, l) })
	}
	return s.measureUpkeep(id, l, now)
}

// measureUpkeep is measure for the controls of what runs on a machine and how it is kept.
func (s *system) measureUpkeep(id string, l *limits, now func() time.Time) measure {
	switch id {
	case antiMalware:
		return reading(func(ctx context.Context) (protection, error) { return s.protection(ctx, l.programs) }, s.protection != nil, judgeProtection)
	case signatureAge:
		return reading(s.patterns, s.patterns != nil, func(v patterns) *check.Result { return judgePatterns(v, l, now()) })
	case systemSupport:
		return reading(s.release, s.release != nil, func(v release) *check.Result { return judgeRelease(v, l, now()) })
	case oldServices:
		return reading(s.oldProtocols, s.oldProtocols != nil, judgeOldProtocols)
	case remoteControl:
		return reading(s.remotes, s.remotes != nil, func(v remotes) *check.Result { return judgeRemotes(v, l) })
	case diskEncryption:
		return reading(s.encryption, s.encryption != nil, func(v bool) *check.Result { return judgeEncryption(v, l) })
	case securityLog:
		return reading(s.logs, s.logs != nil, func(v logs) *check.Result { return judgeLogs(v, l, now()) })
	case passwordRules:
		return reading(func(ctx context.Context) (passwords, error) { return s.passwords(ctx, now()) }, s.passwords != nil, func(v passwords) *check.Result { return judgePasswords(v, l, now()) })
	case addedTrust:
		return reading(s.trust, s.trust != nil, func(v trust) *check.Result { return judgeTrust(v, l) })
	}
	return s.measureMore(id, l, now)
}

// measureMore is measure for the controls of what reports to elsewhere, of who may use the machine, and of the portal.
func (s *system) measureMore(id string, l *limits, now func() time.Time) measure {
	switch id {
	case malwareAgent:
		return reading(func(ctx context.Context) (reporters, error) { return s.edr(ctx, l) }, s.edr != nil,
			func(v reporters) *check.Result { return judgeEDR(v, l) })
	case logForwarder:
		return reading(func(ctx context.Context) (reporters, error) { return s.forwarders(ctx, l) }, s.forwarders != nil,
			func(v reporters) *check.Result { return judgeForwarding(v, l, now()) })
	case idleAccounts:
		return reading(func(ctx context.Context) (idlers, error) { return s.idlers(ctx, now()) }, s.idlers != nil,
			func(v idlers) *check.Result { return judgeIdle(v, l, now()) })
	case lockOut:
		return reading(s.locking, s.locking != nil, func(v locking) *check.Result { return judgeLocking(v, l) })
	case autoRun:
		return reading(s.autorun, s.autorun != nil, judgeAutorun)
	case badSoftware:
		return reading(s.software, s.software != nil, func(v software) *check.Result { return judgeSoftware(v, l) })
	case upkeepPower:
		return reading(func(ctx context.Context) (upkeep, error) {
			v, err := s.upkeep(ctx)
			if err == nil && l.ups != "" {
				v.upsless = s.network.nut(ctx, l.ups, &v)
			}
			return v, err
		}, s.upkeep != nil, func(v upkeep) *check.Result { return judgeUpkeep(v, l, now()) })
	case centreReach:
		if len(l.addresses) == 0 {
			return fixed(check.NotConfigured, `option "addresses": write the centres of monitoring, host:port each`)
		}
		return reading(func(ctx context.Context) ([]check.Reason, error) { return s.network.reach(ctx, l.addresses) }, s.network.dial != nil, judgeCentres)
	case portalRules:
		if l.portal == nil {
			return fixed(check.NotConfigured, `option "url": write the portal's address, https://host/`)
		}
		return reading(func(ctx context.Context) (portal, error) { return s.network.portal(ctx, l, now()) }, s.network.dial != nil,
			func(v portal) *check.Result { return judgePortal(v, l, now()) })
	}
	return fixed(check.Internal, "control "+id+" has no reader")
}

// reading makes a measure of a reader and a judgement. available is false when there is no reader here.
func reading[T any](read func(context.Context) (T, error), available bool, judge func(T) *check.Result) measure {
	return func(ctx context.Context) *check.Result {
		if !available {
			return unread(errNoReader)
		}
		v, err := read(ctx)
		if err != nil {
			return unread(err)
		}
		return judge(v)
	}
}

func fixed(r check.Reason, detail string) measure {
	return func(context.Context) *check.Result { return because(r, "%s", detail) }
}
