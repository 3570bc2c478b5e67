// Package dns holds the kinds of check that judge name servers and what they answer. It asks the servers itself,
// message by message (RFC 1035), and never through the system's or Go's resolver, whose caches, retries and fall-backs
// would hide what is to be seen. Only the name of a server, where a plan gives no address, is looked up that way.
package dns

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table {
	return check.Table{dnsKind()}
}
