package control

// An nftChain is a chain of nf_tables with its rules in their order.
type nftChain struct {
	family      byte // NFPROTO_*: see the constants
	table, name string
	hook        int  // NF_INET_*, -1 for a chain that is only jumped to
	filter      bool // of type filter
	drop        bool // the policy drops
	rules       []nftRule
}

// An nftRule is what a rule does when it is reached.
type nftRule struct {
	always bool    // it has no condition
	does   nftDoes // its verdict
	target string  // of a jump
}

type nftDoes byte

const (
	nftNothing nftDoes = iota
	nftAccept
	nftDropped // dropped or rejected
	nftJump
	nftReturn
)

// Numbers of the kernel's interface (linux/netfilter.h).
const (
	nfprotoInet = 1
	nfprotoIPv4 = 2
	nfprotoIPv6 = 10
	nfHookIn    = 1 // NF_INET_LOCAL_IN
)

// closes tells which of IPv4 and IPv6 some input chain refuses what it does not name. A packet passes every chain of
// the hook, so that one is enough.
func closes(chains []nftChain) (ip4, ip6 bool) {
	for _, c := range chains {
		if c.hook != nfHookIn || !c.filter || !ends(chains, c, 0) {
			continue
		}
		ip4 = ip4 || c.family == nfprotoIPv4 || c.family == nfprotoInet
		ip6 = ip6 || c.family == nfprotoIPv6 || c.family == nfprotoInet
	}
	return ip4, ip6
}

// ends reports whether a packet that meets no condition is dropped in this chain.
func ends(chains []nftChain, c nftChain, depth int) bool {
	does := falls(chains, c, depth)
	return does == nftDropped || does == nftNothing && c.drop
}

// falls follows a packet that meets no condition through a chain. The kernel allows 16 jumps.
func falls(chains []nftChain, c nftChain, depth int) nftDoes {
	if depth > 16 {
		return nftNothing
	}
	for _, r := range c.rules {
		if !r.always {
			continue
		}
		switch r.does {
		case nftAccept, nftDropped:
			return r.does
		case nftReturn:
			return nftNothing
		case nftJump:
			for _, to := range chains {
				if to.family == c.family && to.table == c.table && to.name == r.target {
					if does := falls(chains, to, depth+1); does != nftNothing {
						return does
					}
				}
			}
		}
	}
	return nftNothing
}
