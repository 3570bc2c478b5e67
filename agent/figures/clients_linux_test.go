package figures

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/schedule"
)

const places = 25 // probes at once

// A spent is what a client's process says at its end.
type spent struct {
	Probes  int64
	Failed  int64
	Missed  int64
	CPU     float64 // s, of the part that probes
	Seconds float64
}

// bare probes with the libraries alone, n probes at a time, for a while.
func bare(p peers, atOnce int, d time.Duration) (spent, error) {
	pem, err := os.ReadFile(p.Roots)
	if err != nil {
		return spent{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	get := func(url string) error {
		resp, err := client.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	probe := func(i int64) error {
		switch i % 5 {
		case 0, 1:
			return get(p.HTTP)
		case 2:
			return get(p.HTTPS)
		case 3:
			c, err := net.Dial("tcp", p.TCP)
			if err != nil {
				return err
			}
			return c.Close()
		default:
			m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion("tuky.test.", dns.TypeA), p.DNS)
			if err == nil && len(m.Answer) != 1 {
				err = errors.New("no answer")
			}
			return err
		}
	}
	var s spent
	var next, failed atomic.Int64
	before, start := cpu(), time.Now()
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for time.Since(start) < d {
				if probe(next.Add(1)) != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	s.CPU, s.Seconds, s.Probes, s.Failed = cpu()-before, time.Since(start).Seconds(), next.Load(), failed.Load()
	return s, nil
}

// A sink records in a real journal, and counts.
type sink struct {
	*journal.Journal
	failed int64
}

func (s *sink) Applied(p *plan.Plan, at time.Time) error {
	return s.PlanApplied(journal.PlanApplied{Version: 1, SHA256: p.Hash(), At: at})
}
func (s *sink) Stepped(at time.Time) error { return s.Rotate("clock_stepped", at) }

func (s *sink) Write(rs []check.Result, gs []check.Range) error {
	for _, r := range rs {
		if r.State != check.Up {
			s.failed++
		}
	}
	return s.Journal.Write(rs, gs)
}

// watched probes with the agent's scheduler, kinds and journal: checks due every so often, in 25 places.
func watched(p peers, dir string, checks int, every, d time.Duration) (spent, error) {
	var b strings.Builder
	b.WriteString("plan: figures\nfor: pc-01\nversion: 1\nchecks:\n")
	for i := range min(checks, 1000) {
		b.WriteString(p.check(i, "every: 1m, timeout: 2s"))
	}
	pl, err := plan.Parse([]byte(b.String()), kinds.Table())
	if err != nil {
		return spent{}, err
	}
	for i := len(pl.Checks); i < checks; i++ { // more than a plan may have
		c := pl.Checks[i%1000]
		c.ID = fmt.Sprintf("s.x%d", i)
		pl.Checks = append(pl.Checks, c)
	}
	pl.Concurrency = places
	for i := range pl.Checks {
		pl.Checks[i].Every = every // shorter than a plan may ask for
	}
	skey, _, err := note.GenerateKey(rand.Reader, "egovmon/figures/journal/pc-01")
	if err != nil {
		return spent{}, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return spent{}, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	j, _, err := journal.OpenJournal(journal.Options{Dir: filepath.Join(dir, "journal"), Machine: "pc-01", Signer: signer, Now: time.Now, Log: log})
	if err != nil {
		return spent{}, err
	}
	out := &sink{Journal: j}
	s := schedule.New(schedule.Options{Machine: "pc-01", Kinds: kinds.Table(), Sink: out, Log: log, Suspended: schedule.SystemSuspended})
	s.Apply(pl)
	if name := os.Getenv("EGOVMON_FIGURES_PROFILE"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return spent{}, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return spent{}, err
		}
		defer pprof.StopCPUProfile()
	}
	debug.SetGCPercent(daemon.GCPercent)
	before, start := cpu(), time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	go func() { _ = j.Run(ctx) }()
	s.Run(ctx)
	if err := j.Close("stop", time.Now()); err != nil {
		return spent{}, err
	}
	st := s.Stats()
	return spent{Probes: st.Runs, Failed: out.failed, Missed: st.Missed[check.MissedOverrun], CPU: cpu() - before, Seconds: time.Since(start).Seconds()}, nil
}

// child is what a process does that this test starts of itself.
func child(role string) int {
	var p peers
	dir := os.Getenv("EGOVMON_FIGURES_DIR")
	_ = json.Unmarshal([]byte(os.Getenv("EGOVMON_FIGURES_PEERS")), &p)
	var atOnce, checks int
	var every, d time.Duration
	_, _ = fmt.Sscan(os.Getenv("EGOVMON_FIGURES_ARGS"), &atOnce, &checks, (*int64)(&every), (*int64)(&d))
	var s spent
	var err error
	switch role {
	case "servers":
		err = serve(dir)
	case "bare":
		s, err = bare(p, atOnce, d)
	case "agent":
		s, err = watched(p, dir, checks, every, d)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if role != "servers" {
		_ = json.NewEncoder(os.Stdout).Encode(s)
	}
	return 0
}
