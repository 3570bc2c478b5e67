package exporter

import (
	"log/slog"
	"math"
	"net/http"

	dto "github.com/prometheus/client_model/go"

	"egovmon/agent/check"
)

// probeFamilies are names of blackbox_exporter, in their order, with the meaning they have there.
var probeFamilies = []Family{
	{"probe_dns_answer_rrs", GaugeType, "", "Records of the type asked in the answer.", nil},
	{"probe_dns_duration_seconds", GaugeType, "seconds", "How long the question took.", []string{LabelPhase}},
	{"probe_dns_lookup_time_seconds", GaugeType, "seconds", "How long finding the target's address took.", nil},
	{"probe_dns_query_succeeded", GaugeType, "", "1 when an answer came, whatever it said.", nil},
	{"probe_dns_serial", GaugeType, "", "Serial of the zone.", nil},
	{"probe_duration_seconds", GaugeType, "seconds", "How long the whole run took.", nil},
	{"probe_failed_due_to_regex", GaugeType, "", "1 when the page did not hold what it must, or held what it must not.", nil},
	{"probe_http_duration_seconds", GaugeType, "seconds", "How long each step took, over all redirections.", []string{LabelPhase}},
	{"probe_http_redirects", GaugeType, "", "Redirections followed.", nil},
	{"probe_http_ssl", GaugeType, "", "1 when the last connection was encrypted.", nil},
	{"probe_http_status_code", GaugeType, "", "Status of the last answer.", nil},
	{"probe_http_uncompressed_body_length", GaugeType, "", "Bytes of the body after decompression.", nil},
	{"probe_http_version", GaugeType, "", "Version of HTTP that was spoken.", nil},
	{"probe_icmp_duration_seconds", GaugeType, "seconds", "How long each step took; rtt is the mean round trip.", []string{LabelPhase}},
	{"probe_icmp_reply_hop_limit", GaugeType, "", "Hop limit (TTL) left in the last reply.", nil},
	{"probe_ip_protocol", GaugeType, "", "4 or 6: the version of IP that was used.", nil},
	{"probe_ssl_earliest_cert_expiry", GaugeType, "", "When the first of the certificates that the target showed ends, in Unix seconds.", nil},
	{"probe_ssl_last_chain_expiry_timestamp_seconds", GaugeType, "seconds", "When the trusted chain that lasts longest ends, in Unix seconds.", nil},
	{"probe_success", GaugeType, "", "1 when the last result was up or degraded, 0 when it was down.", nil},
	{"probe_tls_version_info", GaugeType, "", "Always 1; the label is the version of TLS.", []string{"version"}},
}

// ProbeHandler answers ?module=KIND&target=TARGET under the names of blackbox_exporter from the last recorded result.
// It never probes: a target that no check has is not found, so that nobody can aim this program at anything. Of several
// checks of the kind with that target the one that ran last counts. While the state is unknown, or nothing was recorded
// yet, probe_success is absent, where blackbox_exporter would say 0: what could not be measured is not down.
func ProbeHandler(checks func() []CheckState, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		module, target := q.Get("module"), q.Get("target")
		if module == "" || target == "" {
			http.Error(w, "module and target are needed: write /probe?module=http&target=https://… as a check of the plan has it", http.StatusBadRequest)
			return
		}
		ck := newest(checks(), module, target)
		if ck == nil {
			http.Error(w, "no check of the plan has this kind and target: module is the kind of a check, target its url, address, host or name exactly as the plan writes it", http.StatusNotFound)
			return
		}
		MetricsHandler(gathererOf(func() []*dto.MetricFamily { return gatherProbe(ck) }), log).ServeHTTP(w, r)
	})
}

// newest returns the check of this kind and target that ran last, nil for none.
func newest(checks []CheckState, kind, target string) *CheckState {
	var best *CheckState
	for i := range checks {
		ck := &checks[i]
		switch {
		case ck.Kind != kind || ck.Target != target:
		case best == nil, ck.Last != nil && (best.Last == nil || ck.Last.Start.After(best.Last.Start)):
			best = ck
		}
	}
	return best
}

func gatherProbe(ck *CheckState) []*dto.MetricFamily {
	s := newSet()
	r := ck.Last
	if r == nil {
		return nil
	}
	if r.State.Known() {
		s.add("probe_success", truth(r.State != check.Down))
	}
	s.add("probe_duration_seconds", r.Took.Seconds())
	for _, f := range []string{"ip_family_code", "ip_version_code"} {
		s.fact(r, f, "probe_ip_protocol")
	}
	s.probeTLS(r)
	switch ck.Kind {
	case "dns":
		s.probeDNS(r)
	case "ping", "gateway":
		s.probeICMP(r)
	default:
		s.phase(r, "dns", "probe_dns_lookup_time_seconds", "")
	}
	if ck.Kind == "http" || ck.Kind == "loginpage" {
		s.probeHTTP(r)
	}
	return s.families()
}

func (s *set) probeHTTP(r *check.Result) {
	s.fact(r, "status_code", "probe_http_status_code")
	s.fact(r, "redirects_count", "probe_http_redirects")
	s.fact(r, "body_bytes", "probe_http_uncompressed_body_length")
	if v, ok := r.Facts.Get("http_version_code"); ok {
		s.add("probe_http_version", v/10)
	}
	if _, answered := r.Facts.Get("status_code"); answered {
		_, encrypted := r.Facts.Get("tls_version_code")
		s.add("probe_http_ssl", truth(encrypted))
		s.add("probe_failed_due_to_regex", truth(r.Reason == check.ContentMissing || r.Reason == check.ContentForbidden))
	}
	const name = "probe_http_duration_seconds"
	s.phase(r, "dns", name, "resolve")
	s.phase(r, "connect", name, "connect")
	s.phase(r, "tls", name, "tls")
	// Blackbox's processing is from the connection to the first byte.
	send, sent := r.Phases.Get("send")
	first, came := r.Phases.Get("first_byte")
	if sent || came {
		s.add(name, (send + first).Seconds(), s.label(LabelPhase, "processing"))
	}
	s.phase(r, "transfer", name, "transfer")
}

func (s *set) probeTLS(r *check.Result) {
	earliest := math.Inf(1)
	for _, f := range []string{"cert_not_after_unix", "intermediate_not_after_unix"} {
		if v, ok := r.Facts.Get(f); ok {
			earliest = min(earliest, v)
		}
	}
	if !math.IsInf(earliest, 1) {
		s.add("probe_ssl_earliest_cert_expiry", earliest)
	}
	s.fact(r, "chain_not_after_unix", "probe_ssl_last_chain_expiry_timestamp_seconds")
	if v, ok := r.Facts.Get("tls_version_code"); ok {
		versions := map[float64]string{10: "TLS 1.0", 11: "TLS 1.1", 12: "TLS 1.2", 13: "TLS 1.3"}
		if name := versions[v]; name != "" {
			s.add("probe_tls_version_info", 1, s.label("version", name))
		}
	}
}

func (s *set) probeDNS(r *check.Result) {
	_, answered := r.Facts.Get("rcode_code")
	if answered || r.State == check.Down {
		s.add("probe_dns_query_succeeded", truth(answered))
	}
	s.fact(r, "soa_serial", "probe_dns_serial")
	s.fact(r, "answers_count", "probe_dns_answer_rrs")
	s.phase(r, "dns", "probe_dns_duration_seconds", "request")
}

// probeICMP leaves out round trips that were connections of TCP, where the system lets nobody send echoes.
func (s *set) probeICMP(r *check.Result) {
	s.phase(r, "dns", "probe_dns_lookup_time_seconds", "")
	const tcp = 2
	if mode, ok := r.Facts.Get("icmp_mode_code"); !ok || mode == tcp {
		return
	}
	s.phase(r, "dns", "probe_icmp_duration_seconds", "resolve")
	if v, ok := r.Facts.Get("rtt_avg_s"); ok {
		s.add("probe_icmp_duration_seconds", v, s.label(LabelPhase, "rtt"))
	}
	s.fact(r, "reply_hop_limit_count", "probe_icmp_reply_hop_limit")
}

// fact adds a fact under another name, if it was seen.
func (s *set) fact(r *check.Result, fact, name string) {
	if v, ok := r.Facts.Get(fact); ok {
		s.add(name, v)
	}
}

// phase adds a step under another name, if it was measured; as is "" for a family without the label.
func (s *set) phase(r *check.Result, phase, name, as string) {
	took, ok := r.Phases.Get(phase)
	switch {
	case !ok:
	case as == "":
		s.add(name, took.Seconds())
	default:
		s.add(name, took.Seconds(), s.label(LabelPhase, as))
	}
}
