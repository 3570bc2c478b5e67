package control

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"egovmon/agent/check"
)

// hosts is what a hosts file sets.
type hosts struct {
	absent  bool
	entries int           // names set
	watched []allowedHost // those of them below the watched domains
	sum     [sha256.Size]byte
}

// names are what decides how this machine finds hosts.
type names struct {
	hosts
	resolvers []string // addresses, without zone; nil when they could not be read
	unread    error    // why not
}

// maxHosts is the most bytes of a hosts file that are read: lists against advertising have some 5 MB.
const maxHosts = 32 << 20

// maxWatched is the most names below the watched domains that are kept; more are counted as entries only.
const maxWatched = 10000

func (s *system) names(ctx context.Context, l *limits) (names, error) {
	h, err := s.hosts(ctx, l.domains)
	if err != nil {
		return names{}, err
	}
	n := names{hosts: h}
	if s.resolvers == nil {
		n.unread = errNoReader
	} else {
		n.resolvers, n.unread = s.resolvers(ctx)
	}
	return n, nil
}

// judgeNames asks that the hosts file sets no watched name that it may not, is the one that is expected, and that the
// resolvers are allowed ones.
func judgeNames(n names, l *limits) *check.Result {
	foreign := 0
	for _, w := range n.watched {
		if !slices.ContainsFunc(l.allowed, func(a allowedHost) bool {
			return a.name == w.name && (!a.address.IsValid() || a.address == w.address)
		}) {
			foreign++
		}
	}
	strange := 0
	for _, r := range n.resolvers {
		if l.resolvers != nil && !slices.Contains(l.resolvers, r) {
			strange++
		}
	}
	changed := l.sha256 != "" && l.sha256 != hex.EncodeToString(n.sum[:])
	r := judgeTampering(n, l, foreign, strange, changed)
	r.Facts.Add("hosts_entries_count", float64(min(n.entries, 1e6)))
	r.Facts.Add("hosts_watched_count", float64(len(n.watched)))
	r.Facts.Add("hosts_unexpected_count", float64(foreign))
	if !n.absent {
		r.Facts.Add("hosts_hash_serial", float64(binary.BigEndian.Uint64(n.sum[:8])>>16))
	}
	if n.unread == nil {
		r.Facts.Add("resolvers_count", float64(len(n.resolvers)))
		if l.resolvers != nil {
			r.Facts.Add("resolvers_unexpected_count", float64(strange))
		}
	}
	return r
}

func judgeTampering(n names, l *limits, foreign, strange int, changed bool) *check.Result {
	var bad []string
	if foreign > 0 {
		bad = append(bad, fmt.Sprintf("the hosts file sets %d watched names that it may not", foreign))
	}
	if strange > 0 {
		bad = append(bad, fmt.Sprintf("%d of %d resolvers are not allowed", strange, len(n.resolvers)))
	}
	switch {
	case len(bad) > 0:
		return because(check.ControlFail, "%s", strings.Join(bad, "; "))
	case l.resolvers != nil && n.unread != nil:
		return unread(fmt.Errorf("the resolvers: %w", n.unread))
	case changed:
		return because(check.ControlPartial, "the hosts file is not the expected one, but sets no watched name")
	}
	return because(check.OK, "the hosts file sets %d names, %d of them watched, all allowed", n.entries, len(n.watched))
}

// scanHosts reads a hosts file: lines of an address and names, comments after #.
func scanHosts(ctx context.Context, r io.Reader, domains []string) (hosts, error) {
	var h hosts
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(io.LimitReader(r, maxHosts+1), sum), 64<<10)
	for read := 0; ; {
		line, err := in.ReadSlice('\n')
		if read += len(line); read > maxHosts {
			return hosts{}, fmt.Errorf("the hosts file has more than %d bytes", maxHosts)
		}
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return hosts{}, fmt.Errorf("the hosts file: %w", bare(err))
		}
		if err == bufio.ErrBufferFull {
			return hosts{}, fmt.Errorf("the hosts file has a line of more than %d bytes", 64<<10)
		}
		h.line(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")), domains)
		if err == io.EOF {
			break
		}
		if ctx.Err() != nil {
			return hosts{}, ctx.Err()
		}
	}
	sum.Sum(h.sum[:0])
	return h, nil
}

func (h *hosts) line(b []byte, domains []string) {
	b, _, _ = bytes.Cut(b, []byte("#"))
	f := bytes.Fields(b)
	if len(f) < 2 {
		return
	}
	h.entries += len(f) - 1
	for _, w := range f[1:] {
		name := hostName(string(w))
		below := slices.ContainsFunc(domains, func(d string) bool { return name == d || strings.HasSuffix(name, "."+d) })
		if !below || len(h.watched) >= maxWatched {
			continue
		}
		a, _ := netip.ParseAddr(string(f[0]))
		h.watched = append(h.watched, allowedHost{name, a.Unmap()})
	}
}
