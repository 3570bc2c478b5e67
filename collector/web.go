package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/exporter"
)

// Paths for this machine's own subcommands.
const (
	pathLink         = "/api/local/link"
	pathToken        = "/api/local/token"
	pathAvailability = "/api/local/availability"
)

// web makes the server of board, PromQL API and metrics on a listener.
func (c *center) web(acc *access.Access, own *lateAgent, asked chan<- struct{}, l net.Listener) (*http.Server, net.Listener, error) {
	pages := board.NewHandler(&source{c: c}, board.Options{Now: c.now, Logger: c.log})
	metrics := c.metricsHandler(own)
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("/api/v1/", c.series.Handler())
	mux.Handle("/metrics", metrics)
	mux.Handle("/probe", metrics)
	mux.Handle("/log/", http.StripPrefix("/log", c.store.Handler()))
	mux.HandleFunc("POST "+pathLink, func(w http.ResponseWriter, r *http.Request) {
		link, err := acc.Link(base(r))
		answer(w, map[string]string{"link": link}, err)
	})
	mux.HandleFunc("POST "+pathToken, func(w http.ResponseWriter, r *http.Request) {
		var req tokenRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&req); err != nil {
			answer(w, nil, fmt.Errorf("the request cannot be read: %w", err))
			return
		}
		t, err := c.newToken(req)
		answer(w, t, err)
	})
	mux.HandleFunc("POST "+pathAvailability, func(w http.ResponseWriter, r *http.Request) {
		var req figuresRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&req); err != nil {
			answer(w, nil, fmt.Errorf("the request cannot be read: %w", err))
			return
		}
		f, err := c.figures(r.Context(), req)
		answer(w, f, err)
	})
	s := &http.Server{Handler: acc.Middleware(mux), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	secured, err := exporter.Secure(s, l, c.config.WebConfig)
	return s, secured, err
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
