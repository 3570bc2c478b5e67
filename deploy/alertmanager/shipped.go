// Package alertmanager holds the example of routes that is shipped for an Alertmanager beside the collector. The package is
// for those who run one in a lab or a test; an installation copies the file.
package alertmanager

import _ "embed"

//go:embed alertmanager.yml
var config string

// Config is alertmanager.yml as it is shipped.
func Config() string { return config }
