package exporter

import (
	"fmt"
	"log/slog"
	"net/http"
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
	Build Build        // for the index page
}

// A collect is what a scrape asks for beyond the four series a check.
type collect struct{ phases, tls, info, facts bool }

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
				return collect{}, fmt.Errorf("collect %q: write one or more of phases, tls, info and facts, e.g. /metrics?collect=phases,tls", word)
			}
		}
	}
	return c, nil
}

// AgentHandler answers /metrics, /probe and an index at /; every other path is not found. The state is asked for anew
// at each request.
func AgentHandler(state func() AgentState, o HandlerOptions) (http.Handler, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	own := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := own.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of the program itself: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		c, err := parseCollect(r.URL.Query()["collect"])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		agent := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return gatherAgent(state(), c), nil })
		promhttp.HandlerFor(prometheus.Gatherers{agent, own}, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
			ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "%s\n\n/metrics\n/metrics?collect=phases,tls,info,facts\n/probe?module=KIND&target=TARGET\n", o.Build)
	})
	return mux, nil
}
