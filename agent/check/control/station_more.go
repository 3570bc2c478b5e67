package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

const (
	keySystemPolicy = `SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System`
	keyExplorer     = `SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\Explorer`
	autorunNever    = 0xff // every kind of drive
	maxUninstall    = 20000
)

// services are those of the names that are there and run; what could not be asked is in unread.
func (s *station) services(names []string) (running []string, err error) {
	for _, name := range names {
		_, there, e := s.number(keyServices+name, "Start")
		if e != nil {
			err = e
		}
		if !there {
			continue
		}
		runs, e := s.running(name)
		if e != nil {
			err = e
		} else if runs {
			running = append(running, name)
		}
	}
	return running, err
}

func (s *station) reporters(ctx context.Context, known []string, l *limits) (reporters, error) {
	running, err := s.services(append(known, l.programs...))
	if err != nil && len(running) == 0 {
		return reporters{}, fmt.Errorf("the services: %w", err)
	}
	v := reporters{running: running}
	if len(l.centres) > 0 {
		v.unread = errNoReader
		if s.connected != nil {
			v.connected, v.unread = s.connected(ctx, l.centres)
		}
	}
	return v, nil
}

// edr looks for the services of known agents: Defender for Endpoint, CrowdStrike, SentinelOne, Kaspersky, Wazuh and others.
func (s *station) edr(ctx context.Context, l *limits) (reporters, error) {
	return s.reporters(ctx, []string{"Sense", "CSFalconService", "SentinelAgent", "klnagent", "CbDefense", "WazuhSvc", "OssecSvc", "osqueryd", "ElasticEndpoint", "ds_agent"}, l)
}

// forwarders looks for the services of known forwarders, and for Windows' own when it is told where to.
func (s *station) forwarders(ctx context.Context, l *limits) (reporters, error) {
	v, err := s.reporters(ctx, []string{"winlogbeat", "nxlog", "WazuhSvc", "OssecSvc", "SplunkForwarder", "fluent-bit", "vector"}, l)
	if err != nil {
		return v, err
	}
	to, err := s.registry.Text(`SOFTWARE\Policies\Microsoft\Windows\EventLog\EventForwarding\SubscriptionManager`, "1")
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(to) == "" {
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("the forwarding of events: %w", err)
	}
	if runs, err := s.running("WinRM"); err == nil && runs {
		v.running = append(v.running, "WinRM")
	}
	return v, nil
}

// locking reads when a screen that is left alone locks itself; the lock of accounts is asked of the system.
func (s *station) locking(context.Context) (locking, error) {
	if s.lockout == nil {
		return locking{}, fmt.Errorf("the lock of accounts: %w", errNoReader)
	}
	v := locking{screens: true}
	var err error
	if v.tries, err = s.lockout(); err != nil {
		return locking{}, fmt.Errorf("the lock of accounts: %w", err)
	}
	seconds, ok, err := s.number(keySystemPolicy, "InactivityTimeoutSecs")
	switch {
	case err != nil:
		v.unread = err
	case !ok:
		// Without the policy each user's own screen saver decides, which only that user's programs can read.
		v.unread = fmt.Errorf("no policy of this machine sets it, and each user's own setting is not read: %w", errors.ErrUnsupported)
	default:
		v.idle = time.Duration(min(seconds, 1<<31)) * time.Second
	}
	return v, nil
}

// autorun reads the policy about drives and the driver of disks at USB.
func (s *station) autorun(context.Context) (autorun, error) {
	v := autorun{screens: true}
	drives, ok, err := s.number(keyExplorer, "NoDriveTypeAutoRun")
	if err != nil {
		return v, fmt.Errorf("the policy about autorun: %w", err)
	}
	v.off = ok && drives&autorunNever == autorunNever
	start, ok, err := s.number(keyServices+"USBSTOR", "Start")
	if err != nil {
		return v, fmt.Errorf("the driver of USB disks: %w", err)
	}
	v.refused = ok && start == startDisabled
	return v, nil
}

// software reads the list of programs of the machine, of 64 and of 32 bits. Programs of one user alone are not in it.
func (s *station) software(ctx context.Context) (software, error) {
	var v software
	lists := 0
	for _, list := range []string{
		`SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`, `SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall`,
	} {
		keys, err := s.registry.Keys(list)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && len(keys) > maxUninstall {
			err = fmt.Errorf("more than %d programs: %w", maxUninstall, errors.ErrUnsupported)
		}
		if err != nil {
			v.unread = err
			return v, nil
		}
		lists++
		for _, key := range keys {
			if err := ctx.Err(); err != nil {
				return software{}, err
			}
			// An entry without a name, or with one of another type, is a part of another program.
			if name, err := s.registry.Text(list+`\`+key, "DisplayName"); err == nil && name != "" {
				v.packages = append(v.packages, strings.ToLower(strings.TrimSpace(name)))
			}
		}
	}
	if lists == 0 {
		v.unread = fs.ErrNotExist
	}
	return v, nil
}
