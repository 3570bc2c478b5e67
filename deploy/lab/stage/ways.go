//go:build linux

package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"egovmon/deploy/lab/lateline"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/standin"
	"egovmon/deploy/lab/town"
)

// What is laid into a gateway's namespace by faults: routing tables, the order of rules, an interface.
const (
	captiveTable, captiveRule = 101, 101
	lateTable, lateRule       = 102, 102
	lateLine                  = "late"
	lateBy                    = 800 * time.Millisecond
)

// way lays the hands on what a line does to packets.
func (s *Stage) way() {
	s.hands["captive-portal"] = s.captive
	s.hands["line-delay"] = s.lineDelay
	s.stops = append(s.stops, func() error {
		var errs []error
		for _, u := range s.units {
			if u.late != nil {
				errs = append(errs, u.late.Close())
				u.late = nil
			}
		}
		return errors.Join(errs...)
	})
	if _, err := exec.LookPath("nft"); err != nil {
		why := "the program nft is missing: run as root: apt-get install -y --no-install-recommends nftables"
		s.missing["line-loss"], s.missing["mtu-black-hole"] = why, why
		return
	}
	drop := func(name, match string) {
		s.hands[name] = func(ctx context.Context, u *unit, on bool) error {
			return nftTable(ctx, town.Netns(u.gateway), "egl_"+name[:3], on, "type filter hook forward priority 0;\n "+match+" drop")
		}
	}
	// A tenth each way: of ten echo requests, two are lost.
	drop("line-loss", fmt.Sprintf("oifname %q numgen random mod 100 < 10 drop;\n iifname %q numgen random mod 100 < 10", town.Internet, town.Internet))
	drop("mtu-black-hole", fmt.Sprintf("iifname %q meta length > 1000", town.Internet))
}

// nftTable puts a table with one chain into a namespace, in the place of one of this name, or takes it away.
func nftTable(ctx context.Context, netns, table string, on bool, chain string) error {
	text := fmt.Sprintf("table ip %s\ndelete table ip %s\n", table, table)
	if on {
		text += fmt.Sprintf("table ip %s {\n chain c {\n %s\n }\n}\n", table, chain)
	}
	return nft(ctx, netns, text)
}

// lineDelay leads what leaves a LAN for the Internet line over an interface that is late, or straight on.
func (s *Stage) lineDelay(ctx context.Context, u *unit, on bool) (err error) {
	ns := town.Netns(u.gateway)
	if !on {
		if u.late == nil {
			return nil
		}
		err = errors.Join(batch(ctx, ns, true, fmt.Sprintf("rule del table %d\nroute flush table %d\n", lateTable, lateTable)), u.late.Close())
		u.late = nil
		return err
	}
	if u.late != nil {
		return nil
	}
	if u.late, err = lateline.Open(ns, lateLine, lateBy); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "link set %s up\nroute replace default dev %s table %d\n", lateLine, lateLine, lateTable)
	for _, n := range s.town.OverDedicated(u.gateway) { // those go their own way
		fmt.Fprintf(&text, "route replace throw %s table %d\n", n, lateTable)
	}
	fmt.Fprintf(&text, "rule add iif %s table %d priority %d\n", town.LAN, lateTable, lateRule)
	if err := batch(ctx, ns, false, text.String()); err != nil {
		return errors.Join(err, s.lineDelay(ctx, u, false))
	}
	return nil
}

// captive has the gateway answer in the place of every web site, or no longer.
func (s *Stage) captive(ctx context.Context, u *unit, on bool) (err error) {
	if on == (u.wall != nil) {
		return nil
	}
	if s.pki != nil {
		return s.captiveServer(ctx, u, on)
	}
	ns := town.Netns(u.gateway)
	if !on {
		err := errors.Join(batch(ctx, ns, true, fmt.Sprintf("rule del table %d\n", captiveTable)), u.wall.Stop())
		u.wall = nil
		return err
	}
	pki, err := standin.NewPKI(s.trace.Since)
	if err != nil {
		return err
	}
	// What comes from the LAN to the port of the web is taken by the gateway itself.
	if u.wall, err = standin.NewSite(pki, captiveHost, "Đăng nhập Wi-Fi", func() (net.Listener, error) { return listenForAll(servers.Place{Netns: ns}, 443) }); err != nil {
		return err
	}
	return batch(ctx, ns, false, fmt.Sprintf("route replace local 0.0.0.0/0 dev lo table %d\nrule add iif %s ipproto tcp dport 443 table %d priority %d\n",
		captiveTable, town.LAN, captiveTable, captiveRule))
}

const captiveHost = "wifi.login.test"

// captiveServer is captive with the real server: what comes from the LAN to the ports of the web is led to it.
func (s *Stage) captiveServer(ctx context.Context, u *unit, on bool) error {
	ns, table := town.Netns(u.gateway), "egl_captive"
	if !on {
		err := errors.Join(nftTable(ctx, ns, table, false, ""), u.wall.Stop())
		u.wall = nil
		return err
	}
	p, err := s.place(u.gateway, filepath.Join("captive", u.gateway), s.town.At(u.gateway, town.LAN))
	if err != nil {
		return err
	}
	wall, err := servers.StartCaptive(s.ctx, p, servers.CaptiveConfig{PKI: s.pki, Host: captiveHost})
	if err != nil {
		return err
	}
	u.wall = wall
	if err := nftTable(ctx, ns, table, true, fmt.Sprintf("type nat hook prerouting priority -100;\n iifname %q tcp dport { 80, 443 } redirect", town.LAN)); err != nil {
		return errors.Join(err, s.captiveServer(ctx, u, false))
	}
	return nil
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
