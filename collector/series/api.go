package series

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"strconv"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

const (
	// apiVersion is the Prometheus whose API this is: programs choose what they ask for by it.
	apiVersion = "3.16.0"

	maxForm = 256 << 10 // bytes of a query in a POST body
)

// Metadata describes one metric.
type Metadata struct {
	Name string `json:"-"`
	Type string `json:"type"` // gauge or counter
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// Handler answers the reading part of the Prometheus HTTP API below /api/v1/: what Grafana's Prometheus data source
// and promtool query use, over raw samples and roll-ups. Nothing behind it changes anything; who may ask is the
// caller's to decide. There are no rules or alerts here, so those lists are empty.
func (db *DB) Handler() http.Handler {
	return db.handler(func(next http.Handler) http.Handler { return next })
}

// handler answers the API; what reads series passes through narrow once its form was read.
func (db *DB) handler(narrow func(next http.Handler) http.Handler) http.Handler {
	r := route.New()
	db.newAPI().Register(r)
	api := http.StripPrefix("/api/v1", r)
	mux := http.NewServeMux()
	turns := make(chan struct{}, db.o.Queries)
	heavy := db.limited(turns, narrow(api))
	for _, path := range []string{"query", "query_range", "labels", "series", "format_query", "parse_query"} {
		mux.Handle("GET /api/v1/"+path, heavy)
		mux.Handle("POST /api/v1/"+path, heavy)
	}
	mux.Handle("GET /api/v1/label/{name}/values", heavy)
	for _, path := range []string{"status/buildinfo", "rules", "alerts"} {
		mux.Handle("GET /api/v1/"+path, api)
	}
	mux.HandleFunc("GET /api/v1/metadata", db.metadata)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		apiError(w, http.StatusNotFound, "not_found", r.Method+" "+r.URL.Path+" is not served here")
	})
	return mux
}

// limited lets a few requests through at once; the others wait as long as a query may take.
func (db *DB) limited(turns chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), db.o.QueryTimeout)
		defer cancel()
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-ctx.Done():
			apiError(w, http.StatusServiceUnavailable, "unavailable", "too many queries at once: try again later")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			code := http.StatusBadRequest
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				code = http.StatusRequestEntityTooLarge
			}
			apiError(w, code, "bad_data", "reading the form: "+err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// apiError answers in the API's own form.
func apiError(w http.ResponseWriter, code int, kind, text string) {
	answer(w, code, map[string]string{"status": "error", "errorType": kind, "error": text})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the reader may have gone
}

// metadata answers for Options.Metadata; the API's own answer would be about scrape targets, of which there are none.
func (db *DB) metadata(w http.ResponseWriter, r *http.Request) {
	limit := -1
	if s := r.FormValue("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			apiError(w, http.StatusBadRequest, "bad_data", "limit must be a number")
			return
		}
		limit = n
	}
	want := r.FormValue("metric")
	data := map[string][]Metadata{}
	for _, m := range db.o.Metadata {
		if limit >= 0 && len(data) >= limit {
			break
		}
		if want == "" || want == m.Name {
			data[m.Name] = []Metadata{m}
		}
	}
	answer(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

// newAPI makes Prometheus's own handlers with nothing to scrape, no rules, and nothing that writes. Its many
// parameters are why this stands apart.
func (db *DB) newAPI() *v1.API {
	own := prometheus.NewRegistry() // its counters are about endpoints that are not served
	return v1.NewAPI(
		db.engine, db.both(), nil, db.both(),
		func(context.Context) v1.ScrapePoolsRetriever { return nothing{} },
		func(context.Context) v1.TargetRetriever { return nothing{} },
		func(context.Context) v1.AlertmanagerRetriever { return nothing{} },
		func() config.Config { return config.DefaultConfig },
		nil, v1.GlobalURLOptions{},
		func(h http.HandlerFunc) http.HandlerFunc { return h },
		noStats{}, "", false, false, 0, db.o.Logger,
		func(context.Context) v1.RulesRetriever { return nothing{} },
		0, 1, 1<<20, false, regexp.MustCompile("^$"),
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, nil },
		&v1.PrometheusVersion{Version: apiVersion, Branch: "egovmon", Revision: db.o.Version, GoVersion: runtime.Version()},
		func() []notifications.Notification { return nil }, nil,
		own, own, nil, false, nil, false, false, false, lookBack, false, false, nil, nil,
		v1.OpenAPIOptions{}, db.parser, false, db.o.QueryTimeout)
}

// nothing is scraped, alerted to, or ruled.
type nothing struct{}

func (nothing) ScrapePools() []string                                 { return nil }
func (nothing) TargetsActive() map[string][]*scrape.Target            { return nil }
func (nothing) TargetsDropped() map[string][]*scrape.Target           { return nil }
func (nothing) TargetsDroppedCounts() map[string]int                  { return nil }
func (nothing) ScrapePoolConfig(string) (*config.ScrapeConfig, error) { return nil, errNotServed }
func (nothing) Alertmanagers() []*url.URL                             { return nil }
func (nothing) DroppedAlertmanagers() []*url.URL                      { return nil }
func (nothing) RuleGroups() []*rules.Group                            { return nil }
func (nothing) AlertingRules() []*rules.AlertingRule                  { return nil }
