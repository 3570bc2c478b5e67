// Package machine holds the kinds of check that look at the computer the agent runs on: "host" (processor, memory,
// disks, network links, temperatures) and "inventory" (what it is, and what of it has changed).
//
// Numbers come from gopsutil, which nothing outside this package sees. A part of the system that cannot be read, or
// does not answer, leaves its facts out and never fails the rest. Facts are sums and worst cases; a list by disk or
// by link would need names, which facts have not.
package machine

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table { return check.Table{hostKind(), inventoryKind()} }
