package exporter

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"egovmon/agent/check"
)

// thousand is an agent with as many checks as a plan may have.
func thousand() AgentState {
	st := sampleAgent()
	checks := st.Checks
	st.Checks = nil
	for i := range 1000 {
		ck := checks[i%(len(checks)-2)]
		ck.ID = fmt.Sprintf("service_%d.check", i)
		st.Checks = append(st.Checks, ck)
	}
	return st
}

// A plain shows the same four series a check as client_golang has one do it.
type plain struct {
	state                            AgentState
	success, duration, last, because *prometheus.Desc
}

func newPlain(st AgentState) *plain {
	desc := func(name string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, Help(name), labels, nil)
	}
	return &plain{st, desc(CheckSuccess, LabelCheck), desc(CheckDuration, LabelCheck), desc(CheckLastRun, LabelCheck), desc(CheckReason, LabelCheck, LabelReason)}
}

func (p *plain) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(p, ch) }

func (p *plain) Collect(ch chan<- prometheus.Metric) {
	for i := range p.state.Checks {
		ck := &p.state.Checks[i]
		send := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
		}
		r := ck.Last
		if r.State.Known() {
			send(p.success, truth(r.State != check.Down), ck.ID)
		}
		send(p.duration, r.Took.Seconds(), ck.ID)
		send(p.last, unix(r.Start), ck.ID)
		send(p.because, 1, ck.ID, string(r.Reason))
	}
}

// BenchmarkMetrics is a scrape of 1,000 checks over a kept connection, as Prometheus makes one, beside the same series
// through plain const metrics. Repeat: go test -run=^$ -bench=Metrics ./exporter
func BenchmarkMetrics(b *testing.B) {
	st := thousand()
	own, err := AgentHandler(func() AgentState { return st }, HandlerOptions{})
	if err != nil {
		b.Fatal(err)
	}
	node, err := AgentHandler(func() AgentState { return st }, HandlerOptions{Node: true})
	if err != nil {
		b.Fatal(err)
	}
	reg := ownRegistry()
	reg.MustRegister(newPlain(st))
	plain := http.NewServeMux()
	plain.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true}))
	var ownTime, plainTime time.Duration
	scrape := func(h http.Handler, total *time.Duration) func(b *testing.B) {
		return func(b *testing.B) {
			s := httptest.NewServer(h)
			defer s.Close()
			b.ReportAllocs()
			for b.Loop() {
				resp, err := s.Client().Get(s.URL + "/metrics")
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || n < 200_000 {
					b.Fatalf("%d bytes, %v", n, err)
				}
			}
			if total != nil {
				*total = b.Elapsed() / time.Duration(b.N)
			}
		}
	}
	b.Run("own", scrape(own, &ownTime))
	b.Run("own+node", scrape(node, nil))
	b.Run("plain", func(b *testing.B) {
		scrape(plain, &plainTime)(b)
		if ownTime > 0 {
			b.ReportMetric(float64(plainTime)/float64(ownTime), "x-of-own")
		}
	})
}

// BenchmarkGather is the building alone.
func BenchmarkGather(b *testing.B) {
	st := thousand()
	b.ReportAllocs()
	for b.Loop() {
		gatherAgent(st, collect{})
	}
}
