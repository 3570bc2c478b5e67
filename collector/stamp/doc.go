// Package stamp has an authority of time stamps (RFC 3161) sign, once a day, that a state of the log was there.
//
// A witness says that the log was not rewritten; the time stamp says since when, by a clock that is not the collector's. What
// is stamped is the text of a checkpoint without its signatures: name, leaves and root. Anybody can write it again from the
// leaves, so that the token alone is kept:
//
//	egovmon-leaf/1 stamp
//	at 2026-11-23T17:00:04Z
//	origin egovmon/tu-ky/log/1
//	size 48211
//	blob SHA-256 SIZE          the token, DER
//
// Where `at` is the collector's clock when the token came. A token is verified against the authority's roots before it goes
// into the log. Without an answer it is asked again, later each time up to an hour, and people are told after two days.
package stamp
