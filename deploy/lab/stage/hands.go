//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"egovmon/deploy/lab/standin"
	"egovmon/deploy/lab/town"
	"egovmon/deploy/lab/wrongclock"
)

// everywhere is a hand for what strikes all at once.
func everywhere(f func(on bool) error) hand {
	return func(_ context.Context, _ *unit, on bool) error { return f(on) }
}

// sceneryHands lays the hands on the stand-ins.
func (s *Stage) sceneryHands(sc *scenery) {
	stopped := func(site *standin.Site) hand {
		return everywhere(func(on bool) error {
			if on {
				return site.Stop()
			}
			return site.Start()
		})
	}
	answers := func(site *standin.Site, p standin.Page) hand {
		return everywhere(func(on bool) error {
			if !on {
				p := standin.Normal
				site.Answer(p)
				return nil
			}
			site.Answer(p)
			return nil
		})
	}
	shows := func(site *standin.Site, c standin.Certificate) hand {
		return everywhere(func(on bool) error {
			if !on {
				site.Show(standin.Good)
				return nil
			}
			site.Show(c)
			return nil
		})
	}
	s.hands["portal-stopped"] = stopped(sc.portal)
	s.hands["portal-maintenance"] = answers(sc.portal, standin.Maintenance)
	s.hands["portal-defaced"] = answers(sc.portal, standin.Defaced)
	s.hands["portal-cert-expired"] = shows(sc.portal, standin.Expired)
	s.hands["portal-cert-name"] = shows(sc.portal, standin.OtherName)
	s.hands["portal-cert-chain"] = shows(sc.portal, standin.NoIntermediate)
	s.hands["backend-down"] = answers(sc.backend, standin.BadGateway)
	s.hands["national-portal-down"] = stopped(sc.national)
	s.hands["lookup-fails"] = answers(sc.onestop, standin.NoLookUp)
	s.hands["resolver-dead"] = everywhere(func(on bool) error {
		if on {
			return sc.resolver.Stop()
		}
		return sc.resolver.Start()
	})
	s.hands["resolver-lies"] = everywhere(func(on bool) error { sc.resolver.Lie(on); return nil })
	s.hands["zone-servfail"] = everywhere(func(on bool) error {
		zone := ""
		if on {
			zone = "tuky.test"
		}
		sc.resolver.Fail(zone)
		return nil
	})
}

// layHands lays the hands on lines, machines and the collector, and says why there are none for the rest.
func (s *Stage) layHands() {
	s.hands["pc-off"] = s.pcOff
	s.hands["power-cut"] = s.powerCut
	s.hands["collector-away"] = func(ctx context.Context, _ *unit, on bool) error {
		if err := s.centre.hold("collector-away", on, syscall.SIGTERM); err != nil || on {
			return err
		}
		return s.api.wait(ctx)
	}
	if err := wrongclock.Possible(); err != nil {
		s.missing["pc-clock"] = err.Error()
	} else {
		s.hands["pc-clock"] = s.pcClock
	}
	if s.cfg.Loopback {
		for _, name := range []string{"line-cut", "tslcd-line-cut", "both-lines-cut", "lan-down", "carrier-down", "tslcd-down", "line-loss", "line-delay", "mtu-black-hole", "captive-portal", "printer-off", "disk-full"} {
			s.missing[name] = "it needs network namespaces: run the lab as root, without --loopback"
		}
		return
	}
	s.hands["disk-full"] = func(_ context.Context, u *unit, on bool) error { return fill(u, on) }
	s.hands["printer-off"] = func(_ context.Context, u *unit, on bool) error { return u.printer.Off(on) }
	cut := func(name string, ends func(u *unit) []end) {
		s.hands[name] = func(ctx context.Context, u *unit, on bool) error {
			by := name
			if u != nil {
				by += " " + u.ID
			}
			return s.lines.set(ctx, by, on, ends(u)...)
		}
	}
	internet := func(u *unit) end { return end{u.carrier, u.gateway} }
	tslcd := func(u *unit) end { return end{town.Dedicated, u.gateway} }
	cut("line-cut", func(u *unit) []end { return []end{internet(u)} })
	cut("tslcd-line-cut", func(u *unit) []end { return []end{tslcd(u)} })
	cut("both-lines-cut", func(u *unit) []end { return []end{internet(u), tslcd(u)} })
	cut("lan-down", func(u *unit) []end { return []end{{u.gateway, town.LAN}} })
	cut("carrier-down", func(*unit) []end { return s.lines.all(town.Carrier1) })
	cut("tslcd-down", func(*unit) []end { return s.lines.all(town.Dedicated) })
	s.way()
}

// pcOff switches a machine off in order, or on.
func (s *Stage) pcOff(_ context.Context, u *unit, on bool) error {
	state := "running\n"
	if on {
		state = "stopping\n"
	}
	if err := os.WriteFile(filepath.Join(s.cfg.Dir, "bin", u.Machine, "state"), []byte(state), 0o644); err != nil {
		return err
	}
	return u.agent.hold("pc-off", on, syscall.SIGTERM)
}

// powerCut takes the power from a commune: its machine, gateway and printer. On loopback there is only the machine.
func (s *Stage) powerCut(ctx context.Context, u *unit, on bool) error {
	err := u.agent.hold("power-cut", on, syscall.SIGKILL)
	if s.lines == nil || u.gateway == "" {
		return err
	}
	return errors.Join(err, s.lines.set(ctx, "power-cut "+u.ID, on, end{u.carrier, u.gateway}, end{town.Dedicated, u.gateway}, end{u.gateway, town.LAN}))
}

// roomLeft is what fill leaves: an agent that cannot write a single record more cannot say either that the disk is full.
const roomLeft = 512 << 10

// fill fills a machine's disk but for roomLeft bytes, or frees it.
func fill(u *unit, on bool) error {
	name := filepath.Join(u.dir, "ballast")
	if !on {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for range 1 << 10 {
		for len(block) > 0 {
			n, err := f.Write(block)
			if n < len(block) || err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					return err
				}
				block = block[:len(block)/2]
				continue
			}
			break
		}
		if len(block) == 0 {
			size, err := f.Seek(0, io.SeekEnd)
			if err != nil {
				return err
			}
			return f.Truncate(max(0, size-roomLeft))
		}
	}
	return fmt.Errorf("%s: the disk has no end", name)
}

// clockAhead is how far a clock is off by pc-clock. It is behind, as that of a machine whose battery is empty.
const clockAhead = -5 * time.Minute

// pcClock sets a machine's clock wrong, or right. The agent is not told: it reads another time from then on.
func (s *Stage) pcClock(_ context.Context, u *unit, on bool) error {
	ahead := time.Duration(0)
	if on {
		ahead = clockAhead
	}
	return u.agent.setClock(ahead)
}
