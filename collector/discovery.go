package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
)

// A scrape is one entry of Prometheus' HTTP service discovery: what /probe answers for one target.
type scrape struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// discover answers Prometheus with every pair of kind and target in the plans in force.
func (m *metrics) discover(w http.ResponseWriter, r *http.Request) {
	type key struct{ kind, target string }
	services := map[key]string{}
	for _, c := range m.checks() {
		if c.Target == "" {
			continue
		}
		k := key{c.Kind, c.Target}
		if s, ok := services[k]; !ok || c.Service < s {
			services[k] = c.Service
		}
	}
	out := make([]scrape, 0, len(services))
	for k, service := range services {
		out = append(out, scrape{Targets: []string{r.Host}, Labels: map[string]string{"__metrics_path__": "/probe",
			"__param_module": k.kind, "__param_target": k.target, "instance": k.target, "service": service}})
	}
	slices.SortFunc(out, func(a, b scrape) int {
		return cmp.Or(cmp.Compare(a.Labels["__param_module"], b.Labels["__param_module"]),
			cmp.Compare(a.Labels["__param_target"], b.Labels["__param_target"]))
	})
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}
