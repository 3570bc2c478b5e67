package servers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// ZoneConfig describes a zone. Its SOA, its name server (ns below it) and delegations to zones below it are made.
type ZoneConfig struct {
	Name    string   // e.g. "tuky.lab"
	Records []string // as a zone file writes them; names without a dot at the end are below the zone
	Signed  bool     // with DNSSEC; the zone above, if it is signed too, vouches for it
	NSEC3   bool     // what does not exist is denied by NSEC3 in place of NSEC
	OptOut  bool     // with NSEC3: unsigned delegations are left out of the denials
}

// NamesConfig sets up an authority of names.
type NamesConfig struct {
	Zones    []ZoneConfig
	Transfer bool // anybody may copy the zones
}

// A Names is BIND as the authority of zones, at port 53. Records live for 5 seconds, so that faults show soon.
type Names struct {
	p        Place
	named    *daemon
	transfer bool

	mu    sync.Mutex
	zones []*zone // those below before those above
}

// A zone as it is served at the moment.
type zone struct {
	c                     ZoneConfig
	name                  string // canonical: in lower case, with the dot at its end
	key                   *dns.DNSKEY
	serial                uint32
	bogus, servfail, lame bool
	expired               bool
}

const namedSettings = `options {
	directory "%s";
	listen-on port %d { %s };
	listen-on-v6 port %d { %s };
	pid-file none;
	lock-file none;
	session-keyfile none;
	recursion no;
	empty-zones-enable no;
	dnssec-validation no;
	notify no;
	allow-query { any; };
	allow-transfer { %s; };
};
controls { };
`

// StartNames signs the zones and starts the authority.
func StartNames(ctx context.Context, p Place, c NamesConfig) (*Names, error) {
	if err := Require("named", "dnssec-keygen", "dnssec-signzone"); err != nil {
		return nil, err
	}
	if len(c.Zones) == 0 {
		return nil, errors.New("an authority of names needs a zone")
	}
	if err := p.ownAddress(); err != nil {
		return nil, err
	}
	n := &Names{p: p, transfer: c.Transfer}
	if err := os.MkdirAll(filepath.Join(p.Dir, "zones"), 0o755); err != nil {
		return nil, err
	}
	for _, zc := range c.Zones {
		z := &zone{c: zc, name: dns.CanonicalName(zc.Name), serial: uint32(time.Now().Unix())}
		if zc.Signed {
			if err := z.newKey(ctx, p); err != nil {
				return nil, fmt.Errorf("zone %s: %w", z.name, err)
			}
		}
		n.zones = append(n.zones, z)
	}
	slices.SortStableFunc(n.zones, func(a, b *zone) int { return cmp.Compare(dns.CountLabel(b.name), dns.CountLabel(a.name)) })
	if err := n.writeAll(ctx); err != nil {
		return nil, err
	}
	var err error
	n.named, err = startDaemon(ctx, p, func(proc *Process) error { return n.shown(ctx, proc) },
		"named", "-g", "-n", "1", "-c", filepath.Join(p.Dir, "named.conf"))
	return n, err
}

// ownAddress says when the Place's address is on no interface: BIND listens at those alone, not even at all of 127.0.0.0/8.
func (p Place) ownAddress() error {
	return p.Do(func() error {
		all, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		for _, a := range all {
			if ipn, ok := a.(*net.IPNet); ok && ipn.IP.Equal(p.IP.AsSlice()) {
				return nil
			}
		}
		return fmt.Errorf("BIND cannot listen at %s, which is no interface's address: use one that `ip addr` shows, on loopback 127.0.0.1", p.IP)
	})
}

// newKey makes the key that signs all of the zone.
func (z *zone) newKey(ctx context.Context, p Place) error {
	name, err := runTool(ctx, p, "dnssec-keygen", "-q", "-K", p.Dir, "-a", "ECDSAP256SHA256", "-f", "KSK", z.name)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(p.Dir, strings.TrimSpace(string(name))+".key"))
	if err != nil {
		return err
	}
	for rr, ok := range records(text) {
		if key, isKey := rr.(*dns.DNSKEY); ok && isKey {
			z.key = key
			return nil
		}
	}
	return errors.New("dnssec-keygen wrote no key")
}

// records goes through a zone file's records; ok is false at one that cannot be read, which is the last.
func records(text []byte) func(yield func(rr dns.RR, ok bool) bool) {
	return func(yield func(dns.RR, bool) bool) {
		z := dns.NewZoneParser(bytes.NewReader(text), ".", "")
		for rr, ok := z.Next(); ok; rr, ok = z.Next() {
			if !yield(rr, true) {
				return
			}
		}
		if z.Err() != nil {
			yield(nil, false)
		}
	}
}

// runTool runs a program that needs no network, and returns what it prints.
func runTool(ctx context.Context, p Place, name string, args ...string) ([]byte, error) {
	p.Netns = ""
	cmd := Command(ctx, p, name, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	r, err := Start(cmd)
	if err != nil {
		return nil, err
	}
	<-r.Done()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}

// writeAll writes every zone and the configuration.
func (n *Names) writeAll(ctx context.Context) error {
	for _, z := range n.zones {
		if err := n.write(ctx, z); err != nil {
			return fmt.Errorf("zone %s: %w", z.name, err)
		}
	}
	return n.configure()
}

// write writes a zone as it is to be served, signed if it is, with the newest serial.
func (n *Names) write(ctx context.Context, z *zone) error {
	plain, final := filepath.Join(n.p.Dir, "zones", fileName(z.name)+"plain"), n.zoneFile(z)
	if err := replace(plain, n.text(z), 0o644); err != nil {
		return err
	}
	if z.key == nil {
		return os.Rename(plain, final)
	}
	args := []string{"-S", "-z", "-K", n.p.Dir, "-d", filepath.Join(n.p.Dir, "zones"), "-O", "full", "-o", z.name, "-f", plain + ".signed"}
	if z.c.NSEC3 {
		args = append(args, "-3", "ab", "-H", "0")
	}
	if z.c.OptOut {
		args = append(args, "-A")
	}
	if z.expired {
		args = append(args, "-s", "20200101000000", "-e", "20200201000000", "-P")
	}
	if _, err := runTool(ctx, n.p, "dnssec-signzone", append(args, plain)...); err != nil {
		return err
	}
	signed, err := os.ReadFile(plain + ".signed")
	if err != nil {
		return err
	}
	if z.bogus {
		if signed, err = spoil(signed); err != nil {
			return err
		}
	}
	return replace(final, signed, 0o644)
}

func (n *Names) zoneFile(z *zone) string {
	return filepath.Join(n.p.Dir, "zones", fileName(z.name)+"zone")
}

// spoil changes one bit in every signature but those of keys and delegations: the zone is reached, and its data do not verify.
func spoil(text []byte) ([]byte, error) {
	var b strings.Builder
	for rr, ok := range records(text) {
		if !ok {
			return nil, errors.New("dnssec-signzone wrote what cannot be read")
		}
		if sig, isSig := rr.(*dns.RRSIG); isSig && sig.TypeCovered != dns.TypeDNSKEY && sig.TypeCovered != dns.TypeDS {
			raw, err := base64.StdEncoding.DecodeString(sig.Signature)
			if err != nil {
				return nil, err
			}
			raw[len(raw)/2] ^= 1
			sig.Signature = base64.StdEncoding.EncodeToString(raw)
		}
		b.WriteString(rr.String() + "\n")
	}
	return []byte(b.String()), nil
}

// text is the zone file without signatures.
func (n *Names) text(z *zone) []byte {
	var b strings.Builder
	kind := "A"
	if n.p.IP.Is6() {
		kind = "AAAA"
	}
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL 5\n@ SOA ns hostmaster %d 3600 600 86400 1\n@ NS ns\nns %s %s\n", z.name, z.serial, kind, n.p.IP)
	for _, r := range z.c.Records {
		b.WriteString(r + "\n")
	}
	for _, below := range n.zones {
		if n.above(below) != z {
			continue
		}
		ns := "ns." + strings.TrimPrefix(below.name, ".")
		fmt.Fprintf(&b, "%s NS %s\n%s %s %s\n", below.name, ns, ns, kind, n.p.IP)
		if below.key != nil {
			ds := below.key.ToDS(dns.SHA256)
			ds.Hdr.Ttl = 5
			b.WriteString(ds.String() + "\n")
		}
	}
	return []byte(b.String())
}

// above is the zone that delegates to z; nil when it is not among ours.
func (n *Names) above(z *zone) *zone {
	i := slices.IndexFunc(n.zones, func(a *zone) bool { return a != z && dns.IsSubDomain(a.name, z.name) })
	if i < 0 {
		return nil
	}
	return n.zones[i] // those with more labels stand before
}

// configure writes BIND's configuration.
func (n *Names) configure() error {
	four, six := n.p.IP.String()+";", "none;"
	if n.p.IP.Is6() {
		four, six = six, four
	}
	port := n.p.port(53)
	who := "none"
	if n.transfer {
		who = "any"
	}
	text := fmt.Appendf(nil, namedSettings, n.p.Dir, port, four, port, six, who)
	for _, z := range n.zones {
		switch {
		case z.lame: // delegated here, to a server that does not want to know it
			text = fmt.Appendf(text, "zone %q { type primary; file %q; allow-query { none; }; };\n", z.name, n.zoneFile(z))
		case z.servfail: // a copy of a zone that could not be fetched
			text = fmt.Appendf(text, "zone %q { type secondary; primaries port 1 { %s }; };\n", z.name, n.p.IP.String()+";")
		default:
			text = fmt.Appendf(text, "zone %q { type primary; file %q; };\n", z.name, n.zoneFile(z))
		}
	}
	return replace(filepath.Join(n.p.Dir, "named.conf"), text, 0o644)
}

// shown waits until every zone is served as it was written.
func (n *Names) shown(ctx context.Context, proc *Process) error {
	for _, z := range n.zones {
		err := until(ctx, proc, "zone "+z.name, func() error {
			m, err := ask(ctx, n.p, n.p.at(53), z.name, dns.TypeSOA)
			if err != nil {
				return err
			}
			want := dns.RcodeSuccess
			switch {
			case z.lame:
				want = dns.RcodeRefused
			case z.servfail:
				want = dns.RcodeServerFailure
			}
			if m.Rcode != want {
				return fmt.Errorf("answer %s, want %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[want])
			}
			if want != dns.RcodeSuccess {
				return nil
			}
			if len(m.Answer) > 0 {
				if soa, ok := m.Answer[0].(*dns.SOA); ok && soa.Serial == z.serial {
					return nil
				}
			}
			return errors.New("an old version of the zone is served")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ask asks a server at host:port, from the Place.
func ask(ctx context.Context, p Place, server, name string, kind uint16) (*dns.Msg, error) {
	c, err := p.DialContext(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	m, _, err := (&dns.Client{Timeout: 500 * time.Millisecond}).ExchangeWithConn(q, &dns.Conn{Conn: c})
	return m, err
}

// change changes a zone and lets BIND serve it.
func (n *Names) change(name string, f func(*zone)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.zones, func(z *zone) bool { return z.name == dns.CanonicalName(name) })
	if i < 0 {
		return fmt.Errorf("no zone %q at this authority", name)
	}
	z := n.zones[i]
	f(z)
	z.serial++
	if err := n.write(n.named.ctx, z); err != nil {
		return fmt.Errorf("zone %s: %w", z.name, err)
	}
	if err := n.configure(); err != nil {
		return err
	}
	return n.named.reload(func(proc *Process) error { return n.shown(n.named.ctx, proc) })
}

// SetRecords puts other records in the place of a zone's own.
func (n *Names) SetRecords(zoneName string, records []string) error {
	return n.change(zoneName, func(z *zone) { z.c.Records = slices.Clone(records) })
}

// Bogus spoils the signatures of a zone's data.
func (n *Names) Bogus(zoneName string, on bool) error {
	return n.change(zoneName, func(z *zone) { z.bogus = on })
}

// Expired lets the signatures of a zone's data and keys be those of a month long past.
func (n *Names) Expired(zoneName string, on bool) error {
	return n.change(zoneName, func(z *zone) { z.expired = on })
}

// Servfail lets the authority fail at a zone, as one whose copy was never fetched.
func (n *Names) Servfail(zoneName string, on bool) error {
	return n.change(zoneName, func(z *zone) { z.servfail = on })
}

// Lame lets the authority refuse a zone that is delegated to it.
func (n *Names) Lame(zoneName string, on bool) error {
	return n.change(zoneName, func(z *zone) { z.lame = on })
}

// Halt ends the authority, or starts it again.
func (n *Names) Halt(on bool) error { return n.named.halt(on) }

// Hang lets the authority answer nobody.
func (n *Names) Hang(on bool) error { return n.named.hang(on) }

// Stop ends the authority for good.
func (n *Names) Stop() error { return n.named.stop() }

// Addr is its host:port.
func (n *Names) Addr() string { return n.p.at(53) }

// Anchors are the keys that a resolver must know to verify the zones that are signed and that no zone of ours vouches for, as
// a zone file writes them.
func (n *Names) Anchors() []string {
	var keys []string
	for _, z := range n.zones {
		if above := n.above(z); z.key != nil && (above == nil || above.key == nil) {
			keys = append(keys, z.key.String())
		}
	}
	return keys
}

// Zones lists the names of all zones, those below before those above.
func (n *Names) Zones() []string {
	var names []string
	for _, z := range n.zones {
		names = append(names, z.name)
	}
	return names
}
