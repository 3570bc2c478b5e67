// Package network holds the kinds of check that judge hosts and lines below any application: each has a file of its name.
// Names are resolved as the system's other programs resolve them, since their users do; what a resolver answers is judged
// by the kind dns. Connections leave from the address that the plan names for the check's line.
package network

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table {
	return check.Table{
		pingKind(),
		tcpKind(),
		gatewayKind(),
		uplinkKind(),
		pathKind(),
		lineKind(),
		throughputKind(),
		captiveKind(),

		neighboursKind(),
		ntpKind(),
		deviceKind(),
	}
}
