package exporter

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// HandlerOptions are how an agent answers.
type HandlerOptions struct {
	Node  bool         // offer node_* families of this machine
	Log   *slog.Logger // nil discards
	Build Build        // shown on the index page
}

// AgentHandler answers /metrics, /probe and an index at /; every other path is not found. The state is asked for anew
// at each request.
//
// A scrape shows at most four series a check; ?collect= adds, by a closed list of words: phases, the steps of the last
// run; tls, the dates and validity of certificates, also of those that have ended; info, the interval and what the
// check is of; facts, every number the last run saw.
func AgentHandler(state func() AgentState, o HandlerOptions) (http.Handler, error) {
	if state == nil {
		return nil, errors.New("metrics: nothing tells the agent's state")
	}
	own := ownRegistry()
	more := []prometheus.Gatherer{own}
	if o.Node {
		more = append(more, NodeGatherer())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(own, metricsHandler(o.Log, func(c collect) prometheus.Gatherer {
		return join(append([]prometheus.Gatherer{gathererOf(func() []*dto.MetricFamily { return gatherAgent(state(), c) })}, more...))
	})))
	mux.Handle("GET /probe", ProbeHandler(func() []CheckState { return state().Checks }, o.Log))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		fmt.Fprintf(w, `%s

/metrics                               the latest results, and this program
/metrics?collect=phases,tls,info,facts more about each check
/probe?module=KIND&target=TARGET       one check under the names of blackbox_exporter
`, o.Build)
	})
	return mux, nil
}

// MetricsHandler answers with what a gatherer has, in Prometheus' text format or OpenMetrics, as the client asks. Log
// may be nil.
func MetricsHandler(g prometheus.Gatherer, log *slog.Logger) http.Handler {
	return metricsHandler(log, func(c collect) prometheus.Gatherer {
		if cg, ok := g.(collectorGatherer); ok {
			return cg.with(c)
		}
		return g
	})
}

// ownRegistry holds the families of the Go runtime and of this process.
func ownRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// maxScrapes is how many scrapes are answered at once; more are asked to come again.
const maxScrapes = 8

func metricsHandler(log *slog.Logger, gatherer func(collect) prometheus.Gatherer) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	places := make(chan struct{}, maxScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := parseCollect(r.URL.Query()["collect"])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many scrapes at once", http.StatusServiceUnavailable)
			return
		}
		promhttp.HandlerFor(gatherer(c), promhttp.HandlerOpts{
			ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelError),
			ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
			DisableCompression: local(r.RemoteAddr), // within a machine it costs more than it saves
		}).ServeHTTP(w, r)
	})
}

func local(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// A collect is what a scrape asks for beyond the four series a check.
type collect struct{ phases, tls, info, facts bool }

// parseCollect reads the values of ?collect=, each one word or several with commas between.
func parseCollect(values []string) (collect, error) {
	var c collect
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			switch word {
			case "phases":
				c.phases = true
			case "tls":
				c.tls = true
			case "info":
				c.info = true
			case "facts":
				c.facts = true
			default:
				return collect{}, fmt.Errorf("collect %.40q: write one or more of phases, tls, info, facts, e.g. /metrics?collect=phases,tls", word)
			}
		}
	}
	return c, nil
}

// gathererOf makes a gatherer of a function that cannot fail.
func gathererOf(f func() []*dto.MetricFamily) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return f(), nil })
}

// join gathers from several gatherers whose samples are known to differ, so that nothing is compared: a family that two
// of them have gets the samples of both, and of two with different types the first wins.
func join(gs []prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		var all []*dto.MetricFamily
		var errs []error
		at := map[string]*dto.MetricFamily{}
		for _, g := range gs {
			mfs, err := g.Gather()
			if err != nil {
				errs = append(errs, err)
			}
			for _, mf := range mfs {
				first, ok := at[mf.GetName()]
				switch {
				case !ok:
					at[mf.GetName()] = mf
					all = append(all, mf)
				case first.GetType() == mf.GetType():
					first.Metric = append(first.Metric, mf.Metric...)
				default:
					errs = append(errs, fmt.Errorf("metric %s is a %s and a %s: rename one", mf.GetName(), first.GetType(), mf.GetType()))
				}
			}
		}
		sortFamilies(all)
		return all, errors.Join(errs...)
	})
}
