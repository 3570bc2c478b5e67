package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/miekg/dns"
)

// A Copy is BIND as a second server of an authority's zones, at port 53. It fetches them when it starts and again only when they
// are an hour old: what the authority changes meanwhile is not seen there.
type Copy struct {
	p     Place
	named *daemon
}

// StartCopy starts a second server, which must be able to reach the authority; that one must let its zones be transferred.
func StartCopy(ctx context.Context, p Place, of *Names) (*Copy, error) {
	if err := errors.Join(Require("named"), p.ownAddress()); err != nil {
		return nil, err
	}
	if !of.transfer {
		return nil, errors.New("the authority lets nobody copy its zones: set Transfer")
	}
	if err := os.MkdirAll(filepath.Join(p.Dir, "zones"), 0o755); err != nil {
		return nil, err
	}
	four, six, port := p.IP.String()+";", "none;", p.port(53)
	if p.IP.Is6() {
		four, six = six, four
	}
	text := fmt.Appendf(nil, namedSettings, p.Dir, port, four, port, six, "none")
	for _, z := range of.zones {
		text = fmt.Appendf(text, "zone %q { type secondary; file %q; primaries port %d { %s; }; };\n",
			z.name, filepath.Join(p.Dir, "zones", fileName(z.name)+"copy"), of.p.port(53), of.p.IP)
	}
	if err := replace(filepath.Join(p.Dir, "named.conf"), text, 0o644); err != nil {
		return nil, err
	}
	c := &Copy{p: p}
	var err error
	c.named, err = startDaemon(ctx, p, func(proc *Process) error {
		for _, name := range of.Zones() {
			err := until(ctx, proc, "copy of "+name, func() error {
				m, err := ask(ctx, p, p.at(53), name, dns.TypeSOA)
				switch {
				case err != nil:
					return err
				case m.Rcode != dns.RcodeSuccess || !m.Authoritative:
					return fmt.Errorf("answer %s", dns.RcodeToString[m.Rcode])
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}, "named", "-g", "-n", "1", "-c", filepath.Join(p.Dir, "named.conf"))
	return c, err
}

// Halt ends it, or starts it again.
func (c *Copy) Halt(on bool) error { return c.named.halt(on) }

// Hang lets it answer nobody.
func (c *Copy) Hang(on bool) error { return c.named.hang(on) }

// Stop ends it for good.
func (c *Copy) Stop() error { return c.named.stop() }

// Addr is its host:port.
func (c *Copy) Addr() string { return c.p.at(53) }
