package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// firewall reads the rules in force from the kernel. Where the agent's account may not, it reads how ufw, firewalld or
// nftables are configured, unless proof asks for the rules.
func (t *tree) firewall(ctx context.Context, proof string) (firewall, error) {
	ipv6 := t.hasIPv6()
	var ruleErr error
	if t.chains == nil {
		ruleErr = errNoReader
	} else {
		var chains []nftChain
		if chains, ruleErr = t.chains(ctx); ruleErr == nil {
			return t.inForce(chains, ipv6)
		}
	}
	if proof == proofRules {
		return firewall{}, fmt.Errorf("the firewall's rules in force: %w", ruleErr)
	}
	ip4, ip6, configured, err := t.configured()
	if err != nil {
		return firewall{}, err
	}
	if !configured && t.mayHaveRules() {
		return firewall{}, fmt.Errorf("no firewall is configured that starts with the system, and the rules in force: %w", ruleErr)
	}
	return scopes(ip4, ip6, ipv6), nil
}

// inForce judges the rules that the kernel gave.
func (t *tree) inForce(chains []nftChain, ipv6 bool) (firewall, error) {
	ip4, ip6 := closes(chains)
	f := scopes(ip4, ip6, ipv6)
	f.rules = true
	if f.closed < f.scopes && t.legacyTables() {
		return firewall{}, fmt.Errorf("the rules of iptables-legacy, which are in use: %w", errors.ErrUnsupported)
	}
	return f, nil
}

func scopes(ip4, ip6, ipv6 bool) firewall {
	f := firewall{scopes: 1}
	if ip4 {
		f.closed++
	}
	if ipv6 {
		f.scopes++
		if ip6 {
			f.closed++
		}
	}
	return f
}

// hasIPv6 reports whether an interface other than loopback has an IPv6 address (proc(5), if_inet6). A link-local one
// counts: neighbours reach it.
func (t *tree) hasIPv6() bool {
	text, err := t.text("proc/net/if_inet6")
	if err != nil {
		return true
	}
	for line := range settings(text) {
		if f := strings.Fields(line); len(f) >= 6 && f[5] != "lo" {
			return true
		}
	}
	return false
}

// legacyTables reports whether filter rules were loaded in the way before nf_tables.
func (t *tree) legacyTables() bool {
	for _, name := range []string{"proc/net/ip_tables_names", "proc/net/ip6_tables_names"} {
		if text, err := t.text(name); err == nil && slices.Contains(strings.Fields(text), "filter") {
			return true
		}
	}
	return false
}

// mayHaveRules reports whether the kernel could hold rules at all: the code for them is a module that is loaded, or is
// built in, or it cannot be told.
func (t *tree) mayHaveRules() bool {
	loaded, err := t.read("proc/modules", maxFile)
	if err != nil || len(loaded) == 0 {
		return true
	}
	for line := range settings(string(loaded)) {
		name, _, _ := strings.Cut(line, " ")
		if name == "nf_tables" || name == "ip_tables" || name == "ip6_tables" {
			return true
		}
	}
	release, err := t.text("proc/sys/kernel/osrelease")
	if err != nil || release == "" {
		return true
	}
	builtin, err := t.read("lib/modules/"+strings.TrimSpace(release)+"/modules.builtin", maxFile)
	return err != nil || strings.Contains(string(builtin), "/nf_tables.ko") || strings.Contains(string(builtin), "/ip_tables.ko")
}

// configured reads the front ends: whether one of them is switched on and starts with the system, and what it closes.
func (t *tree) configured() (ip4, ip6, on bool, err error) {
	for _, read := range []func() (bool, bool, bool, error){t.ufw, t.firewalld, t.nftablesConf} {
		if ip4, ip6, on, err = read(); on || err != nil {
			return ip4, ip6, on, err
		}
	}
	return false, false, false, nil
}

// ufw reads ufw.conf(5) and /etc/default/ufw.
func (t *tree) ufw() (ip4, ip6, on bool, err error) {
	conf, err := t.text("etc/ufw/ufw.conf")
	if err != nil {
		return false, false, false, fmt.Errorf("the configuration of ufw: %w", bare(err))
	}
	if setting(conf, "ENABLED") != "yes" || !t.startsWithSystem("ufw") {
		return false, false, false, nil
	}
	defaults, err := t.text("etc/default/ufw")
	if err != nil {
		return false, false, false, fmt.Errorf("the defaults of ufw: %w", bare(err))
	}
	policy := setting(defaults, "DEFAULT_INPUT_POLICY")
	closed := policy == "DROP" || policy == "REJECT"
	return closed, closed && strings.EqualFold(setting(defaults, "IPV6"), "yes"), true, nil
}

// firewalld looks for the daemon. Its folder of settings is often closed to others; its default zone, public, refuses
// what is not listed, and only the zone trusted lets all in.
func (t *tree) firewalld() (ip4, ip6, on bool, err error) {
	found, err := t.running("firewalld")
	if err != nil {
		if t.startsWithSystem("firewalld") {
			return false, false, false, err
		}
		return false, false, false, nil
	}
	if found["firewalld"] == 0 {
		return false, false, false, nil
	}
	conf, err := t.text("etc/firewalld/firewalld.conf")
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return false, false, false, fmt.Errorf("the configuration of firewalld: %w", bare(err))
	}
	closed := !strings.EqualFold(setting(conf, "DefaultZone"), "trusted")
	return closed, closed, true, nil
}

var (
	nftTable = regexp.MustCompile(`^table\s+(?:(ip|ip6|inet|arp|bridge|netdev)\s+)?\S+\s*\{`)
	nftHook  = regexp.MustCompile(`\bhook\s+(\w+)`)
	nftDrop  = regexp.MustCompile(`\bpolicy\s+drop\b`)
	nftLast  = regexp.MustCompile(`^(?:counter\s+|log\s+)*(?:drop|reject)\b`)
)

// nftablesConf reads what the service nftables loads at the start: which families' input chains end in a refusal.
func (t *tree) nftablesConf() (ip4, ip6, on bool, err error) {
	if !t.startsWithSystem("nftables") {
		return false, false, false, nil
	}
	conf, err := t.text("etc/nftables.conf")
	if err != nil {
		return false, false, false, fmt.Errorf("the configuration of nftables: %w", bare(err))
	}
	family, input := "", false
	for line := range settings(conf) {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimSpace(part)
			if m := nftTable.FindStringSubmatch(part); m != nil {
				family = m[1]
			}
			if m := nftHook.FindStringSubmatch(part); m != nil {
				input = m[1] == "input"
			}
			if input && (nftDrop.MatchString(part) || nftLast.MatchString(part)) {
				ip4 = ip4 || family == "" || family == "ip" || family == "inet"
				ip6 = ip6 || family == "ip6" || family == "inet"
			}
			if strings.HasPrefix(part, "chain ") {
				input = strings.Contains(part, "hook input")
			}
		}
	}
	return ip4, ip6, true, nil
}
