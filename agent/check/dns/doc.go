// Package dns holds the kinds of check that judge name servers and what they answer. The asking
// itself stands in lookup, which goes past the system's resolver; only the name of a server, where a plan gives no
// address, is looked up as other programs do it.
package dns

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table {
	return check.Table{dnsKind(), zoneKind(), hijackKind()}
}
