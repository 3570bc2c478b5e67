package daemon

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/agent/schedule"
	"egovmon/exporter"
)

// openPort makes the server for /metrics and /probe, unless the configuration wants none.
func (d *Daemon) openPort() error {
	addr := d.o.Config.Listen
	if addr == "" || addr == "-" {
		return nil
	}
	h, err := exporter.AgentHandler(d.State, exporter.HandlerOptions{Node: d.o.Config.ShowNode(), Log: d.log, Build: d.o.Build})
	if err != nil {
		return err
	}
	d.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: idleTimeout, MaxHeaderBytes: 32 << 10}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%s for /metrics: %w; name another address with --listen, or - for none", addr, err)
	}
	if d.listen, err = exporter.Secure(d.server, l, d.o.Config.WebConfig); err != nil {
		_ = l.Close()
		return err
	}
	d.log.Info("metrics are answered", "listen", l.Addr().String())
	return nil
}

// Addr is where /metrics is answered; "" for nowhere.
func (d *Daemon) Addr() string {
	if d.listen == nil {
		return ""
	}
	return d.listen.Addr().String()
}

// State is what the agent shows of itself now.
func (d *Daemon) State() exporter.AgentState {
	d.mu.Lock()
	id := d.id
	d.mu.Unlock()
	js, ss, ps := d.journal.Stats(), d.sched.Stats(), d.pusher.Stats()
	s := exporter.AgentState{
		Build: d.o.Build, Runs: ss.Runs, Missed: ss.Missed, Running: ss.Running, Delay: delays(ss),
		SpoolBatches: int64(js.Batches), SpoolBytes: js.Bytes, SpoolOldest: js.Oldest,
		SpoolDropped: map[check.Reason]int64{check.DataLost: int64(js.Lost)}, SpoolSpared: int64(js.Spared),
		PushRequests:    map[string]int64{},
		PushLastSuccess: ps.LastSuccess, PushProblem: string(ps.Problem), CertNotAfter: id.TLS.Leaf.NotAfter, LogFailures: int64(ps.Refused),
		LogLeaves: ps.Leaves, LogCheckpoint: ps.Seen,
	}
	for class, n := range ps.Requests {
		s.PushRequests[class] = int64(n)
	}
	if !ps.Measured.IsZero() {
		s.ClockOffset = &ps.Offset
	}
	p, at := d.sink.current()
	if p == nil {
		return s
	}
	s.PlanApplied, s.PlanVersion = at, p.Version
	for _, c := range p.Checks {
		cs := exporter.CheckState{ID: c.ID, Service: c.Service, Kind: c.Kind, Target: Target(c), Every: c.Every}
		if r, ok := d.journal.LatestOf(c.ID); ok {
			cs.Last = &r
		}
		s.Checks = append(s.Checks, cs)
	}
	return s
}

func delays(st schedule.Stats) exporter.Histogram {
	h := exporter.Histogram{Sum: st.DelaySum.Seconds()}
	for _, b := range schedule.DelayBounds() {
		h.Bounds = append(h.Bounds, b.Seconds())
	}
	for _, n := range st.Delays {
		h.Counts = append(h.Counts, uint64(n))
	}
	return h
}

// Target is what a check is aimed at, as its plan writes it; "" when the plan does not say.
func Target(c plan.Check) string {
	for _, name := range []string{"url", "address", "host", "name", "server"} {
		if s := c.Options.String(name); s != "" {
			return s
		}
	}
	return ""
}
