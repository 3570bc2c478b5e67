// Package kinds is the one visible table of the kinds of check that this version knows. A new kind is one constructor
// in the folder of its family; a new family is one line here.
package kinds

import (
	"slices"

	"egovmon/agent/check"
	"egovmon/agent/check/control"
	"egovmon/agent/check/dns"
	"egovmon/agent/check/machine"
	"egovmon/agent/check/mail"
	"egovmon/agent/check/network"
	"egovmon/agent/check/onestop"
	"egovmon/agent/check/portal"
	"egovmon/agent/check/signature"
)

// Table lists every kind, family by family.
func Table() check.Table {
	return slices.Concat(
		network.Kinds(),
		dns.Kinds(),
		portal.Kinds(),
		onestop.Kinds(),
		mail.Kinds(),
		signature.Kinds(),
		machine.Kinds(),
		control.Kinds(),
	)
}
