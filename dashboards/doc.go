// Package dashboards holds the Grafana dashboards as code: what is asked, how it is drawn and what stands beside it in
// words, in Vietnamese and in English.
//
// Grafana reads the JSON that [Files] makes of them, in its classic model, which versions 10 to 13 take from provisioned
// files. It is committed in the folders vi and en; after a change here write it anew with go generate. Nothing in it
// is bound to an installation: the data source is a variable and may be the collector itself or any Prometheus that has
// what the collector shows.
//
// Four looks tell four things apart everywhere: up, degraded, down and unknown. A time without any sample stays a gap.
package dashboards

//go:generate go run ./generate
