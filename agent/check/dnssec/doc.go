// Package dnssec proves what a resolver said, from anchors that a plan names (RFC 4033 to 4035, 5155, 6840, 9276): it walks
// from an anchor down to the zone of an answer, verifies the signatures on the way and at the end, and reads the proofs of
// what does not exist. Nothing is kept from one run to the next, so that each proof is a whole one.
//
// It asks nobody itself: who makes a [Walk] gives it the function that does. Every step is bounded, since all that is read
// comes from outside: the signatures tried, the hashes made and the questions asked (CVE-2023-50387, CVE-2023-50868).
package dnssec
