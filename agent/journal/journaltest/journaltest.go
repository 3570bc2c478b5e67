// Package journaltest makes records such as a commune's machine writes them, for the tests that measure how much room
// and how many bytes of a line they take.
package journaltest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
)

// A Machine measures twenty checks a minute: ten web pages, three TCP ports, two name servers, a certificate, the
// gateway, the uplink, an echo and the machine itself, in the proportions of a commune's plan. What a target says of
// itself (certificate, sizes, codes) stays as in life; each duration, load and counter is another at each run.
type Machine struct {
	Name   string
	Checks []Check
	rng    *rand.Rand
	phase  time.Duration
	boot   time.Time
}

// A Check is one of the twenty.
type Check struct {
	ID   string
	Kind string
	rtt  float64 // s
	seed uint64  // of what the target says of itself
}

// New returns a machine. The same name and seed measure the same; machines of one seed watch the same targets.
func New(name string, seed uint64) *Machine {
	m := &Machine{Name: name, boot: time.Date(2026, 11, 21, 1, 12, 9, 0, time.UTC)}
	own := seed
	for _, c := range []byte(name) {
		own = own*1099511628211 ^ uint64(c)
	}
	m.rng = rand.New(rand.NewPCG(own, 1))
	m.phase = time.Duration(m.rng.IntN(1000)) * time.Millisecond
	add := func(kind string, services ...string) {
		for _, s := range services {
			n := uint64(len(m.Checks))
			m.Checks = append(m.Checks, Check{s + "." + kind, kind, 0.004 + 0.03*m.rng.Float64(), seed + n})
		}
	}
	add("http", "cong_h", "cong_t", "dvc_qg", "dvc_t", "mot_cua", "vneid", "van_ban", "bhxh", "thue_dt", "kho_bac")
	add("tcp", "van_ban", "thu_dt", "bhxh")
	add("dns", "dns_local", "dns_tinh")
	add("tls", "ky_so")
	add("gateway", "lan")
	add("uplink", "lan")
	add("ping", "tslcd")
	add("host", "pc")
	return m
}

// Plan returns a plan of the twenty checks.
func (m *Machine) Plan(version int) []byte {
	text := fmt.Appendf(nil, "plan: p\nfor: %s\nversion: %d\nissued: 2026-11-23T01:00:00Z\nchecks:\n", m.Name, version)
	for _, c := range m.Checks {
		text = fmt.Appendf(text, "- {id: %s, service: s, kind: %s, every: 60s}\n", c.ID, c.Kind)
	}
	return text
}

// Kinds is a table that declares what these checks report, without any way to run them.
func Kinds() check.Table {
	m := New("pc-01", 1)
	var t check.Table
	seen := map[string]bool{}
	for _, r := range m.Results(time.Unix(1795395600, 0), time.Minute) {
		kind := r.Check[len(r.Check)-index(r.Check):]
		if seen[kind] {
			continue
		}
		seen[kind] = true
		k := check.Kind{Name: kind, New: func(check.Options, check.Env) (check.Func, error) {
			return func(context.Context) check.Result { return check.Because(check.NotSupported, "") }, nil
		}}
		if kind != "host" {
			k.Target = func(check.Options) []string { return []string{"example.test"} }
		}
		for _, f := range r.Facts {
			k.Facts = append(k.Facts, check.FactDef{Name: f.Name})
		}
		for _, p := range r.Phases {
			k.Phases = append(k.Phases, p.Name)
		}
		t = append(t, k)
	}
	return t
}

func index(id string) (n int) {
	for id[len(id)-1-n] != '.' {
		n++
	}
	return n
}

// Results returns what the machine measures in [from, from+d), in the order of time.
func (m *Machine) Results(from time.Time, d time.Duration) []check.Result {
	type run struct {
		at    time.Time
		check Check
	}
	var runs []run
	for _, c := range m.Checks {
		for at := range plan.Slots(m.Name, plan.Check{ID: c.ID, Every: time.Minute}, from.Truncate(time.Second), from.Add(d)) {
			runs = append(runs, run{at, c})
		}
	}
	slices.SortStableFunc(runs, func(a, b run) int { return a.at.Compare(b.at) })
	out := make([]check.Result, 0, len(runs))
	for _, r := range runs {
		out = append(out, m.result(r.check, r.at))
	}
	return out
}

// Records is Results as records.
func (m *Machine) Records(from time.Time, d time.Duration) []journal.Record {
	rs := m.Results(from, d)
	recs := make([]journal.Record, len(rs))
	for i := range rs {
		recs[i].Result = &rs[i]
	}
	return recs
}

// jitter is a duration around s, as lines have it: never much shorter, now and then much longer.
func (m *Machine) jitter(s float64) time.Duration {
	return time.Duration(s * math.Exp(0.25*m.rng.NormFloat64()) * float64(time.Second)).Round(10 * time.Microsecond)
}

func (m *Machine) result(c Check, slot time.Time) check.Result {
	r := check.Because(check.OK, "")
	r.Check, r.Slot, r.Attempts = c.ID, slot, 1
	r.Start = slot.Add(m.phase + time.Duration(m.rng.IntN(4))*time.Millisecond)
	target := rand.New(rand.NewPCG(c.seed, 2))
	var total time.Duration
	step := func(name string, s float64) {
		d := m.jitter(s)
		r.Phases.Add(name, d)
		total += d
	}
	fact := func(name string, v float64) { r.Facts.Add(name, v) }
	cert := func() {
		after := 1795395600 + float64(target.IntN(3e7))
		fact("cert_not_after_unix", after)
		fact("cert_not_before_unix", after-31622400)
		fact("chain_certs_count", 3)
		fact("chain_not_after_unix", after)
		fact("chain_valid_code", 1)
	}
	switch c.Kind {
	case "http":
		step("dns", 0.002)
		step("connect", c.rtt)
		step("tls", 2.2*c.rtt)
		step("send", 0.00005)
		step("first_byte", 0.06+c.rtt)
		step("transfer", 1.5*c.rtt)
		size := float64(20000 + target.IntN(80000))
		if target.IntN(2) == 0 { // every other page is made anew at each call
			size += float64(m.rng.IntN(400))
		}
		fact("body_bytes", size)
		cert()
		fact("http_version_code", 20)
		fact("ip_family_code", 4)
		fact("issuer_code", float64(target.Int64N(1<<48)))
		fact("key_bits", 2048)
		fact("name_valid_code", 1)
		fact("redirects_count", float64(target.IntN(2)))
		fact("status_code", 200)
		fact("tls_cipher_code", 4866)
		fact("tls_version_code", 13)
	case "tls":
		step("dns", 0.002)
		step("connect", c.rtt)
		step("tls", 2.2*c.rtt)
		cert()
		fact("ip_family_code", 4)
		fact("issuer_code", float64(target.Int64N(1<<48)))
		fact("key_bits", 2048)
		fact("name_valid_code", 1)
		fact("tls_cipher_code", 4866)
		fact("tls_version_code", 13)
		r.Detail = "issued by RootCA-G2 ký số"
	case "tcp":
		step("dns", 0.002)
		step("connect", c.rtt)
		fact("addresses_count", 1)
		fact("ip_version_code", 4)
	case "dns":
		step("exchange", c.rtt)
		fact("answers_count", 1)
		fact("servers_count", 1)
		fact("ttl_min_s", float64(m.rng.IntN(3600)))
	case "uplink":
		step("connect", c.rtt)
		fact("answered_count", 3)
		fact("asked_count", 3)
		fact("rtt_min_s", m.jitter(c.rtt).Seconds())
	case "gateway", "ping":
		if c.Kind == "gateway" {
			c.rtt = 0.0007
			fact("default_routes_count", 1)
		}
		step("echo", 0.6)
		fact("icmp_mode_code", 1)
		fact("ip_version_code", 4)
		fact("jitter_s", m.jitter(c.rtt/5).Seconds())
		fact("loss_ratio", 0)
		fact("received_count", 3)
		fact("reply_hop_limit_count", 64)
		for _, name := range []string{"rtt_avg_s", "rtt_max_s", "rtt_min_s"} {
			fact(name, m.jitter(c.rtt).Seconds())
		}
		fact("sent_count", 3)
	case "host":
		step("total", 0.0015)
		up := slot.Sub(m.boot).Seconds()
		fact("boot_unix", float64(m.boot.Unix()))
		fact("cpu_count", 4)
		fact("disk_free_bytes", 58182242304+4096*math.Round(up/7))
		fact("disk_used_ratio", 0.40505)
		fact("disks_count", 1)
		fact("disks_read_only_count", 0)
		for _, name := range []string{"load_15m_tasks", "load_1m_tasks", "load_5m_tasks"} {
			fact(name, math.Round(100*(0.2+m.rng.Float64()))/100)
		}
		fact("mem_available_bytes", 4096*float64(600000+m.rng.IntN(40000)))
		fact("mem_total_bytes", 8276502016)
		fact("mem_used_ratio", 0.5+0.05*m.rng.Float64())
		fact("nic_drops_count", 0)
		fact("nic_errors_count", 0)
		fact("nic_receive_bytes", math.Round(up*11731.7))
		fact("nic_transmit_bytes", math.Round(up*1327.3))
		fact("nics_count", 1)
		fact("nics_up_count", 1)
		fact("sources_failed_count", 0)
		fact("swap_total_bytes", 0)
		fact("swap_used_bytes", 0)
		fact("uptime_s", up)
		r.Took = total + 30*time.Microsecond
		return r
	}
	r.Phases.Add("total", total)
	r.Took = total + 20*time.Microsecond
	return r
}
