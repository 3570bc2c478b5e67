package exporter

import (
	"time"

	"egovmon/agent/check"
)

func at(sec int) time.Time { return time.Date(2026, 11, 23, 1, 0, sec, 0, time.UTC) }

func result(id string, r check.Reason, took time.Duration, phases check.Phases, facts check.Facts) *check.Result {
	return &check.Result{Check: id, Slot: at(0), Start: at(1).Add(250 * time.Millisecond), Took: took, State: r.State(), Reason: r,
		Detail: "text of the server: \"<b>Nguyễn Văn A</b>\"", Attempts: 1, Phases: phases, Facts: facts}
}

// sampleChecks has each kind of result: up, degraded, down and unknown ones, and a check that has not run.
func sampleChecks() []CheckState {
	const ms = time.Millisecond
	page := check.Phases{{Name: "dns", Took: 2 * ms}, {Name: "connect", Took: 10 * ms}, {Name: "tls", Took: 20 * ms}, {Name: "send", Took: ms},
		{Name: "first_byte", Took: 40 * ms}, {Name: "transfer", Took: 5 * ms}, {Name: "total", Took: 78 * ms}}
	chain := check.Facts{{Name: "cert_not_after_unix", Value: 1800000000}, {Name: "intermediate_not_after_unix", Value: 1790000000},
		{Name: "root_not_after_unix", Value: 2000000000}, {Name: "chain_not_after_unix", Value: 1790000000}, {Name: "chain_valid_code", Value: 1},
		{Name: "tls_version_code", Value: 13}}
	return []CheckState{
		{ID: "cong_h.http", Service: "cong_h", Kind: "http", Target: "https://tuky.example.vn/", Every: time.Minute, Last: result("cong_h.http", check.OK, 80*ms, page,
			append(check.Facts{{Name: "status_code", Value: 200}, {Name: "redirects_count", Value: 1}, {Name: "body_bytes", Value: 51234},
				{Name: "http_version_code", Value: 11}, {Name: "ip_family_code", Value: 4}}, chain...))},
		{ID: "cong_h.tls", Service: "cong_h", Kind: "tls", Target: "tuky.example.vn:443", Every: time.Hour, Last: result("cong_h.tls", check.TLSExpired, 31*ms, page[:3],
			check.Facts{{Name: "cert_not_after_unix", Value: 1790000001}, {Name: "chain_valid_code", Value: 0}, {Name: "tls_version_code", Value: 12}})},
		{ID: "dns", Service: "dns", Kind: "dns", Target: "tuky.example.vn", Every: time.Minute, Last: result("dns", check.Slow, 900*ms,
			check.Phases{{Name: "dns", Took: 899 * ms}, {Name: "total", Took: 900 * ms}},
			check.Facts{{Name: "answers_count", Value: 1}, {Name: "rcode_code", Value: 0}, {Name: "rrsig_not_after_unix", Value: 1796000000}, {Name: "soa_serial", Value: 2026112301}})},
		{ID: "ping", Service: "line", Kind: "ping", Target: "192.0.2.1", Every: time.Minute, Last: result("ping", check.PacketLoss, 3*time.Second,
			check.Phases{{Name: "dns", Took: ms}, {Name: "echo", Took: 2 * time.Second}},
			check.Facts{{Name: "icmp_mode_code", Value: 0}, {Name: "loss_ratio", Value: 0.2}, {Name: "rtt_avg_s", Value: 0.0125},
				{Name: "reply_hop_limit_count", Value: 57}, {Name: "ip_version_code", Value: 4}})},
		{ID: "ping_tcp", Service: "line", Kind: "ping", Target: "192.0.2.2", Every: time.Minute, Last: result("ping_tcp", check.OK, time.Second, nil,
			check.Facts{{Name: "icmp_mode_code", Value: 2}, {Name: "rtt_avg_s", Value: 0.0125}})},
		{ID: "tcp", Service: "mail", Kind: "tcp", Target: "mail.example.vn:25", Every: time.Minute, Last: result("tcp", check.EgressBlocked, 10*time.Second, nil, nil)},
		{ID: "new", Service: "mail", Kind: "tcp", Target: "mail.example.vn:587", Every: time.Minute},
	}
}

func sampleAgent() AgentState {
	return AgentState{
		Build: Build{Version: "1.2.3", Revision: "abc", Go: "go1.26.7"}, Checks: sampleChecks(),
		Runs: 1234, Missed: map[check.Reason]int64{check.MissedOverrun: 3, check.MissedSuspended: 60}, Running: 2,
		Delay:        Histogram{Bounds: []float64{0.01, 0.1, 1}, Counts: []uint64{1000, 200, 30, 4}, Sum: 41.5},
		SpoolBatches: 7, SpoolBytes: 123456, SpoolOldest: at(-30), SpoolDropped: map[check.Reason]int64{check.DataLost: 0}, SpoolSpared: 9,
		PushRequests: map[string]int64{"2xx": 100, "error": 4}, PushLastSuccess: at(-5), PushProblem: "tls_inspection", CertNotAfter: at(86400), PlanApplied: at(-3600), PlanVersion: 17,
		ClockOffset: new(-1500 * time.Millisecond), LogLeaves: 512, LogCheckpoint: at(-60), LogFailures: 0,
	}
}

func sampleCollector() CollectorState {
	agent := sampleAgent()
	return CollectorState{
		Watcher:  &Watcher{Confirmed: true, Last: at(-40), Calls: map[string]uint64{"ok": 9, "error": 1, "blind": 2}},
		Controls: []ControlFacts{{"m04", map[string]int{"pass": 20, "fail": 3, "exception": 1}}, {"a02", map[string]int{"missing": 24}}},
		Layers:   []LayerFacts{{"xa-an-thanh", "1", "measured", map[string]int{"pass": 18, "fail": 1}}, {"xa-an-thanh", "1", "attested", map[string]int{"missing": 5, "expired": 1}}},
		UserCerts: []UserCerts{
			{"xa-an-thanh", map[string]int{"expired": 1, "15d": 0, "30d": 2, "60d": 0, "ok": 5}, map[string]int{"good": 6, "revoked": 1, "stray": 0, "unknown": 0}},
			{"xa-chi-minh", map[string]int{"expired": 0, "15d": 0, "30d": 0, "60d": 0, "ok": 1}, nil},
		},
		Notifications: []Notification{{"mail", "error", 1}, {"mail", "ok", 2}, {"webhook", "ok", 3}},
		Build:         Build{Version: "1.2.3", Revision: "abc", Go: "go1.26.7"},
		Agents: []FleetAgent{
			{Machine: "pc-an-thanh-01", Unit: "xa-an-thanh", LastContact: at(-2), Cloned: at(-600), Refused: map[string]int64{"gap": 1}, Rejected: map[string]int64{"duplicate": 2, "slot": 1}},
			{Machine: "pc-chi-minh-01", Unit: "xa-chi-minh"},
		},
		Services: []ServiceFacts{
			{ID: "cong_h", State: check.Degraded, Units: map[string]check.State{"xa-an-thanh": check.Up, "xa-chi-minh": check.Unknown},
				View: map[string]int{"total": 2, "fresh": 1, "failing": 0},
				Windows: []Window{
					{Calendar: "24x7", Name: "30d", Lower: new(0.98), Upper: new(0.995), Coverage: new(0.985), Objective: new(0.97),
						Seconds: map[string]float64{"up": 2500000, "down": 3600}},
					{Calendar: "service_hours", Name: "1h"},
				}},
			{ID: "dvc"},
		},
		WorkingTime: map[string]bool{"service_hours": true, "24x7": true, "tet": false}, NotConfigured: 3,
		LogLeaves: 600, LogCheckpoint: at(-1), LogFailures: 1, ArchiveFailing: at(-3),
		BuiltIn: &BuiltIn{Machine: "center", Unit: "huyen", State: agent},
	}
}
