//go:build linux

package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/standin"
	"egovmon/deploy/lab/town"
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
	s.missing["pc-clock"] = "Linux has one clock for all programs, and no namespace for it: the agent cannot be given another time"
	if s.cfg.Loopback {
		for _, name := range []string{"line-cut", "tslcd-line-cut", "both-lines-cut", "lan-down", "carrier-down", "tslcd-down", "line-loss", "line-delay", "mtu-black-hole", "captive-portal", "printer-off", "disk-full"} {
			s.missing[name] = "it needs network namespaces: run the lab as root, without --loopback"
		}
		return
	}
	s.hands["disk-full"] = func(_ context.Context, u *unit, on bool) error { return fill(u, on) }
	s.hands["printer-off"] = func(_ context.Context, u *unit, on bool) error { return u.printer.set(s, on) }
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
	s.hands["captive-portal"] = s.captive
	s.lossy()
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

// Ways of a captive portal: what comes from the LAN to the ports of the web is taken by the gateway itself.
const captiveTable = 101

func (s *Stage) captive(ctx context.Context, u *unit, on bool) error {
	ns := town.Netns(u.gateway)
	if !on {
		var text strings.Builder
		for _, port := range []int{80, 443} {
			text.WriteString(fmt.Sprintf("rule del iif %s ipproto tcp dport %d table %d\n", town.LAN, port, captiveTable))
		}
		err := batch(ctx, ns, true, text.String())
		if u.wall != nil {
			err = errors.Join(err, u.wall.Stop())
			u.wall = nil
		}
		return err
	}
	if u.wall != nil {
		return nil
	}
	p := servers.Place{Netns: ns}
	pki, err := standin.NewPKI(s.trace.Since)
	if err != nil {
		return err
	}
	if u.wall, err = standin.NewSite(pki, "wifi.login.test", "Đăng nhập Wi-Fi", func() (net.Listener, error) { return listenForAll(p, 443) }); err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString(fmt.Sprintf("route replace local 0.0.0.0/0 dev lo table %d\n", captiveTable))
	for _, port := range []int{80, 443} {
		text.WriteString(fmt.Sprintf("rule add iif %s ipproto tcp dport %d table %d\n", town.LAN, port, captiveTable))
	}
	return batch(ctx, ns, false, text.String())
}

// listenForAll listens for connections to whatever address, see IP_TRANSPARENT in ip(7).
func listenForAll(p servers.Place, port int) (l net.Listener, err error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1) })
		return errors.Join(err, failed)
	}}
	err = p.Do(func() error {
		l, err = c.Listen(context.Background(), "tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	})
	return l, err
}

// lossy lays the hands on what a line does to packets, where this machine can do it.
func (s *Stage) lossy() {
	probe := town.Netns(s.units[0].gateway)
	netem := func(args ...string) error {
		return command(s.ctx, "tc", append([]string{"-n", probe, "qdisc"}, args...)...)
	}
	if err := netem("add", "dev", town.Internet, "root", "netem", "delay", "1ms"); err != nil {
		s.missing["line-delay"] = "this kernel has no module sch_netem"
	} else {
		_ = netem("del", "dev", town.Internet, "root")
		s.hands["line-delay"] = func(ctx context.Context, u *unit, on bool) error {
			if on {
				return command(ctx, "tc", "-n", town.Netns(u.gateway), "qdisc", "replace", "dev", town.Internet, "root", "netem", "delay", "800ms")
			}
			_ = command(ctx, "tc", "-n", town.Netns(u.gateway), "qdisc", "del", "dev", town.Internet, "root") // gone already
			return nil
		}
	}
	if _, err := exec.LookPath("nft"); err != nil {
		why := "the program nft is missing: run as root: apt-get install -y --no-install-recommends nftables"
		s.missing["line-loss"], s.missing["mtu-black-hole"] = why, why
		return
	}
	drop := func(name, match string) {
		s.hands[name] = func(ctx context.Context, u *unit, on bool) error {
			ns, table := town.Netns(u.gateway), "egl_"+name[:3]
			_ = nft(ctx, ns, "delete table ip "+table+"\n") // gone already
			if !on {
				return nil
			}
			return nft(ctx, ns, fmt.Sprintf("table ip %s {\n chain f { type filter hook forward priority 0;\n %s drop\n }\n}\n", table, match))
		}
	}
	drop("line-loss", fmt.Sprintf("oifname %q numgen random mod 100 < 10 drop;\n iifname %q numgen random mod 100 < 10", town.Internet, town.Internet))
	drop("mtu-black-hole", fmt.Sprintf("iifname %q meta length > 1000", town.Internet))
}

func nft(ctx context.Context, netns, text string) error {
	cmd := servers.Command(ctx, servers.Place{Netns: netns}, "nft", "-f", "-")
	cmd.Stdin = bytes.NewBufferString(text)
	var said bytes.Buffer
	cmd.Stderr = &said
	p, err := servers.Start(cmd)
	if err == nil {
		<-p.Done()
		err = p.Err()
	}
	if err != nil {
		return fmt.Errorf("nft: %w: %.300s", err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.300s", name, err, bytes.TrimSpace(out))
	}
	return nil
}
