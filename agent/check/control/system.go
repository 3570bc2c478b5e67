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
}

// measure binds a control to its reader, its limits and its judgement.
func (s system) measure(id string, l limits, now func() time.Time) measure {
	switch id {
	case hostFirewall:
		return reading(func(ctx context.Context) (firewall, error) { return s.firewall(ctx, l.proof) }, s.firewall != nil, judgeFirewall)
	case patchAge:
		return reading(s.patches, s.patches != nil, func(p patches) check.Result { return judgePatches(p, l, now()) })
	case listeningPorts:
		if l.ports == nil {
			return fixed(check.NotConfigured, `option "allowed_ports": write the ports that may listen on this machine, or [] for none`)
		}
		return reading(s.listeners, s.listeners != nil, func(v listeners) check.Result { return judgeListeners(v, l) })
	case administrators:
		return reading(func(ctx context.Context) (accounts, error) { return s.accounts(ctx, l.sudoers) }, s.accounts != nil,
			func(v accounts) check.Result { return judgeAccounts(v, l) })
	case timeSync:
		return reading(s.clock, s.clock != nil, func(v clock) check.Result { return judgeClock(v, l, now()) })
	case backupAge:
		if l.path == "" {
			return fixed(check.NotConfigured, `option "path": write the folder or the pattern of the backup's files`)
		}
		return reading(func(ctx context.Context) (backups, error) { return s.backups(ctx, l.path, l.data) }, s.backups != nil,
			func(v backups) check.Result { return judgeBackups(v, l, now()) })
	default:
		return reading(func(ctx context.Context) (names, error) { return s.names(ctx, l) }, s.hosts != nil,
			func(v names) check.Result { return judgeNames(v, l) })
	}
}

// reading makes a measure of a reader and a judgement. available is false when there is no reader here.
func reading[T any](read func(context.Context) (T, error), available bool, judge func(T) check.Result) measure {
	return func(ctx context.Context) check.Result {
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
	return func(context.Context) check.Result { return check.Because(r, "%s", detail) }
}
