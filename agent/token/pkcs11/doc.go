// Package pkcs11 talks to the driver of a signing token (PKCS #11 version 2.40) without cgo: it lists tokens and their
// certificates, and signs.
//
// It takes care of the PIN: it never logs in to a token that says that the PIN is locked, that the next wrong one locks
// it, or that one was wrong since the last good one.
package pkcs11
