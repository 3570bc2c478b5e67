// Package access decides who may use the collector's web side, and as whom.
//
// Loopback is no access rule: other people and other programs use the same machine, and a page from anywhere can make a
// browser call 127.0.0.1. So every request must name a host that is on the list (which ends DNS rebinding), and come
// with a session or a token. While there are no users, a session is had by a one-time link, which whoever starts the
// program can read off its output; its holder is [Operator]. Programs send a token, as a bearer or as the password of
// basic authentication; the first start writes one for local use into the data folder. What changes something must come
// from the board's own pages, unless a bearer token comes with it, which no browser adds by itself.
//
// # People
//
// Once there are users, people enter by name: a password (Argon2id) and, for those who run the district's monitoring, a
// one-time code (RFC 6238). A user has a role, which is a set of scopes, and may be bound to one unit. Nobody knows
// another's password: who makes a user gets a link with which that person sets it. Taking note of an incident needs a
// person; programs, and the holder of a link once there are users, cannot. Every change of users, roles and tokens is a
// leaf of the log before it holds; secrets and display names are in users.json alone, and what the file says of roles
// counts only as far as the leaves bear it out.
//
// # Guessing
//
// Links, tokens and session cookies have 128 random bits or more, and only their SHA-256 is kept, the local token apart,
// which is a file that its owner alone can read. Failures with these need no lock-out: they are slowed and logged at a
// bounded rate, and who has the right secret is never among them. Passwords are another matter: five wrong tries lock a
// user for 15 minutes, tries of one address are limited, and an answer does not tell whether a name is known.
package access
