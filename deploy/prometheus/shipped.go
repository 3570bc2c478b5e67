// Package prometheus holds the configuration and the alert rules that are shipped for a Prometheus beside the collector. The
// package is for those who run one in a lab or a test; an installation copies the files.
package prometheus

import "embed"

//go:embed prometheus.yml rules/*.yml
var files embed.FS

// Files are prometheus.yml and the rules that it names, as they are shipped.
func Files() embed.FS { return files }
