// Package access decides who may use the collector's web side, and as whom.
//
// Loopback is no access rule: other people and other programs use the same machine, and a page from anywhere can make a
// browser call 127.0.0.1. So every request must name a host that is on the list (which ends DNS rebinding), and come
// with a session or a token. While there are no users, a session is had by a one-time link, which whoever starts the
// program can read off its output; its holder is [Operator]. Programs send a token, as a bearer or as the password of
// basic authentication; the first start writes one for local use into the data folder. What changes something must come
// from the board's own pages, unless a bearer token comes with it, which no browser adds by itself.
//
// Secrets have 128 random bits or more, and only their SHA-256 is kept, the local token apart, which is a file that its
// owner alone can read. So failures need no lock-out, which would shut out whoever has a right to enter: they are slowed
// and logged at a bounded rate, and who has the right secret is never among them.
package access
