// Package systemd holds the units by which systemd runs the programs.
package systemd

import _ "embed"

// AgentUnit and CollectorUnit are the units, as a package installs them.
var (
	//go:embed egovmon-agent.service
	AgentUnit string
	//go:embed egovmon-collector.service
	CollectorUnit string
)

// Names and places that the units rely on.
const (
	AgentName        = "egovmon-agent"
	CollectorName    = "egovmon-collector"
	AgentProgram     = "/usr/bin/egovmon-agent"
	CollectorProgram = "/usr/bin/egovmon-collector"
	AgentData        = "/var/lib/egovmon"
	CollectorData    = "/var/lib/egovmon-collector"
)
