// Package portal holds the kinds of check that look at a web site as its users reach it: "tls" (the handshake, the
// chain and its dates), "http" (one page, fetched over a fresh connection, and what stands on it) and "loginpage" (a login
// form as it is sent to the user, its captcha and the host of its single sign-on; nothing is ever submitted).
//
// All read a certificate chain before it is judged, so that the dates are known exactly when they are needed. Every
// answer is taken as hostile: its size, its time and its redirections are bounded.
package portal

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table { return check.Table{tlsKind(), httpKind(), loginpageKind()} }
