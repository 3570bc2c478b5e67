// Package mail holds the kinds of check that judge official e-mail as its users and the other mail servers meet it:
// "smtp", "imap" and "pop3" (the servers, up to a login with a monitoring account), "maildns" (what the domain says of its
// mail in DNS) and "mailloop" (letters of our own, from one machine's monitoring mailbox to another's). None of them lists
// or reads any other letter.
//
// The protocols are spoken by a few lines of our own instead of a client library: a server that greets without end,
// sends lines of a megabyte or announces a literal of four gigabytes is what these kinds are for, and every line, every
// answer and every conversation has its bound here. Passwords travel through verified TLS only.
package mail

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table {
	return check.Table{smtpKind(), imapKind(), pop3Kind(), maildnsKind(), mailloopKind()}
}
