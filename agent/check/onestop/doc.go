// Package onestop holds the kinds of check that look at the one-stop shop as the counter uses it: "journey" (several
// requests in a row, each with what the one before gave, as a person would go) and "freshness" (when a system last did its
// work: received a dossier, sent a document, made a backup).
//
// A journey acts in somebody else's system. It sends to the hosts that its plan lists, submits forms to the addresses
// that its plan writes out and nowhere else, and only with the written approval of the system's owner.
package onestop

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table { return check.Table{journeyKind(), freshnessKind()} }
