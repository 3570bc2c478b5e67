// Package lookup asks name servers itself, message by message (RFC 1035), and never through the system's or Go's
// resolver, whose caches, retries and fall-backs would hide what is to be seen. It says what one server answered to one
// question; what that means for a name or a domain is for the families dns and mail to judge.
package lookup
