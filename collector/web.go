package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/collector/restore"
	"egovmon/exporter"
)

// Paths for this machine's own subcommands.
const (
	pathLink         = "/api/local/link"
	pathToken        = "/api/local/token"
	pathAvailability = "/api/local/availability"
	pathAttest       = "/api/local/attest"
	pathReport       = "/api/local/report"
	pathAudit        = "/api/local/audit"
	pathFleet        = "/api/local/fleet"
	pathPlan         = "/api/local/plan"
	pathUsers        = "/api/local/users"
)

// web makes the server of board, PromQL API and metrics on a listener.
func (c *center) web(acc *access.Access, m *metrics, l net.Listener) (*http.Server, net.Listener, error) {
	pages := board.NewHandler(&source{c: c}, board.Options{Now: c.now, Logger: c.log, User: acks, Ack: c.incidents.Ack, Act: c.incidents.Act, People: members{acc}, Suspensions: announcer{c}, Confirmations: confirmer{c}, History: c.latestFigures, Registry: registrar{c}, Prover: prover{c, board.MaxExport}, Fleet: keeper{c}, Watcher: outside{c.watcher}, Public: c.config.Public, Reports: reporter{c},
		Unit: func(ctx context.Context) string { return access.Of(ctx).Unit }})
	metrics := m.handler()
	mux := http.NewServeMux()
	mux.Handle("/", access.Need(access.ScopeBoard, pages))
	mux.Handle("/api/v1/", access.Need(access.ScopeSeries, c.series.HandlerFor(func(ctx context.Context) string { return access.Of(ctx).Unit })))
	mux.Handle("/metrics", access.Need(access.ScopeMetrics, metrics))
	mux.Handle("/probe", access.Need(access.ScopeMetrics, metrics))
	mux.Handle("GET /api/sd", access.Need(access.ScopeMetrics, http.HandlerFunc(m.discover)))
	mux.Handle("/log/", access.Need(access.ScopeLog, http.StripPrefix("/log", c.store.Handler())))
	c.lifeHandlers(mux)
	c.local(rightful{mux}, acc)
	inner := acc.Middleware(mux)
	if len(c.config.Public) > 0 {
		inner = board.Public(acc.Anybody(pages), inner)
		for _, id := range c.config.Public {
			if _, ok := c.district().Service(id, c.now()); !ok {
				c.log.Warn("public: the profile has no such service today; it is not shown", "service", id)
			}
		}
	}
	s := &http.Server{Handler: asWebUser(inner), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	secured, err := exporter.Secure(s, l, c.config.WebConfig)
	s.Handler = exceptLocal(acc.LocalToken(), inner, s.Handler)
	return s, secured, err
}

// acks names who may take note of incidents: people, never programs.
func acks(ctx context.Context) string {
	if w := access.Of(ctx); w.Person && w.May(access.ScopeAck) {
		return w.Name
	}
	return ""
}

// members are the people of the board's pages.
type members struct{ *access.Access }

// Me names who has signed in.
func (m members) Me(ctx context.Context) (name string, admin bool) {
	w := access.Of(ctx)
	if m.Any() {
		name = w.Name
	}
	return name, w.May(access.ScopeUsers)
}

// A rightful mux answers the paths of subcommands to who has the right that each needs.
type rightful struct{ *http.ServeMux }

func (m rightful) HandleFunc(pattern string, f http.HandlerFunc) {
	s := access.ScopeFigures
	switch _, path, _ := strings.Cut(pattern, " "); path {
	case pathLink, pathUsers, pathRecovery, pathWitnesses, pathRetention:
		s = access.ScopeUsers
	case pathWatcher:
		if strings.HasPrefix(pattern, http.MethodPost) {
			s = access.ScopeUsers
		}
	case pathToken, pathRevoke:
		s = access.ScopeEnrol
	case pathReports, pathAttest, pathControls, pathSuspensions, pathConfirm, pathCerts:
		s = access.ScopeAttest
	}
	m.Handle(pattern, access.Need(s, f))
}

// routes take the paths of subcommands.
type routes interface {
	HandleFunc(pattern string, f http.HandlerFunc)
}

// local answers this machine's own subcommands.
func (c *center) local(mux routes, acc *access.Access) {
	mux.HandleFunc("POST "+pathUsers, c.usersHandler(acc))
	mux.HandleFunc("POST "+pathLink, func(w http.ResponseWriter, r *http.Request) {
		link, err := acc.Link(base(r))
		answer(w, map[string]string{"link": link}, err)
	})
	mux.HandleFunc("POST "+pathToken, func(w http.ResponseWriter, r *http.Request) {
		var req tokenRequest
		if !readRequest(w, r, 4<<10, &req) {
			return
		}
		t, err := c.newToken(req)
		answer(w, t, err)
	})
	mux.HandleFunc("POST "+pathRecovery, func(w http.ResponseWriter, r *http.Request) {
		var p restore.PublicKey
		if !readRequest(w, r, 4<<10, &p) {
			return
		}
		answer(w, struct{}{}, c.setRecovery(r.Context(), p))
	})
	mux.HandleFunc("POST "+pathRevoke, c.revokeHandler)
	mux.HandleFunc("POST "+pathAttest, c.attestHandler)
	mux.HandleFunc("POST "+pathControls, c.controlsHandler)
	mux.HandleFunc("GET "+pathControls, c.controlsHandler)
	mux.HandleFunc("GET "+pathDossier, c.dossierHandler)
	mux.HandleFunc("POST "+pathSuspensions, c.suspensionsHandler)
	mux.HandleFunc("GET "+pathSuspensions, c.suspensionsHandler)
	mux.HandleFunc("POST "+pathConfirm, c.confirmHandler)
	mux.HandleFunc("GET "+pathConfirm, c.confirmHandler)
	mux.HandleFunc("POST "+pathWitnesses, c.witnessesHandler)
	mux.HandleFunc("POST "+pathCerts, c.certsHandler)
	mux.HandleFunc("GET "+pathCerts, c.certsHandler)
	mux.HandleFunc("POST "+pathReport, c.reportHandler)
	mux.HandleFunc("POST "+pathReports, c.reportsHandler)
	mux.HandleFunc("POST "+pathRetention, c.retentionHandler)
	mux.HandleFunc("GET "+pathAudit, c.auditHandler)
	mux.HandleFunc("GET "+pathLocalIncidents, func(w http.ResponseWriter, r *http.Request) {
		answer(w, c.lives(words.ParseLang(r.FormValue("lang")), ""), nil)
	})
	mux.HandleFunc("GET "+pathLocalIncidents+"/{id}/form", func(w http.ResponseWriter, r *http.Request) { c.formHandler(w, r, r.PathValue("id")) })
	mux.HandleFunc("GET "+pathWatcher, func(w http.ResponseWriter, _ *http.Request) { answer(w, c.watcher.Status(), nil) })
	mux.HandleFunc("POST "+pathWatcher, c.watcherHandler)
	mux.HandleFunc("GET "+pathFleet, func(w http.ResponseWriter, _ *http.Request) { answer(w, c.fleet(), nil) })
	mux.HandleFunc("POST "+pathAvailability, func(w http.ResponseWriter, r *http.Request) {
		var req figuresRequest
		if !readRequest(w, r, 4<<10, &req) {
			return
		}
		// What is in the log is in the figures.
		if err := c.intake.Flush(r.Context()); err != nil {
			return // nobody waits any more
		}
		f, err := c.figures(r.Context(), req)
		answer(w, f, err)
	})
	mux.HandleFunc("POST "+pathPlan, func(w http.ResponseWriter, r *http.Request) {
		var req planRequest
		if !readRequest(w, r, 4<<10, &req) {
			return
		}
		p, err := c.wouldPlan(req)
		answer(w, p, err)
	})
}

// asWebUser takes a user of the web configuration, whose password was right, for who acts.
func asWebUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user := exporter.WebUser(r.Context()); user != "" {
			r = r.WithContext(access.WithUser(r.Context(), user+"@web"))
			r.Header.Del("Authorization")
		}
		next.ServeHTTP(w, r)
	})
}

// exceptLocal lets this machine's own subcommands, which know the local token, past the users of the web configuration.
func exceptLocal(token string, inner, outer http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == pathProve {
			answerProof(token, w, r)
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) == 1 {
			inner.ServeHTTP(w, r)
			return
		}
		outer.ServeHTTP(w, r)
	})
}

// base is the address by which a request reached the board.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// answer writes a value, or an error that a person can act on.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v)
}
