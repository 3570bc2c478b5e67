// Package exporter holds every Prometheus metric of both programs: names, labels, units and help in one place, the
// collectors that read the latest results, and the handlers that show them.
package exporter
