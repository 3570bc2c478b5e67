package check

import "fmt"

// A Reason is a word of a closed list that says why a result has its state: the lowest layer that failed. It is safe
// as a label. The zero value is no reason; a Result without one is not valid.
type Reason string

// Up.
const (
	OK Reason = "ok" // everything that was asked for was seen
)

// Degraded: the target works, but not as it should.
const (
	Slow              Reason = "slow"               // answered later than the check's own limit for a good answer
	PacketLoss        Reason = "packet_loss"        // some echoes were lost, not all
	PathMTU           Reason = "path_mtu"           // large packets do not pass
	CertExpiring      Reason = "cert_expiring"      // a certificate of the chain ends within warn_days
	SignatureExpiring Reason = "signature_expiring" // a DNSSEC or document signature ends soon
	WeakTLS           Reason = "weak_tls"           // a protocol version or key below what is allowed
	Partial           Reason = "partial"            // some of several targets failed, fewer than all
	Stale             Reason = "stale"              // the newest thing seen is older than it should be
	ClockSkew         Reason = "clock_skew"         // a clock differs by more than the limit
	LowResource       Reason = "low_resource"       // little disk, memory, processor or capacity of a line left
	Quota             Reason = "quota"              // a quota is nearly used up
	DNSLame           Reason = "dns_lame"           // a server named for the zone does not answer for it
	DNSInconsistent   Reason = "dns_inconsistent"   // resolvers or servers give different answers
	STARTTLSMissing   Reason = "starttls_missing"   // the server does not offer encryption
	MailLate          Reason = "mail_late"          // the letter came, but too late
	MailAuth          Reason = "mail_auth"          // SPF, DKIM or DMARC did not pass
	ContentChanged    Reason = "content_changed"    // a page differs from what it was
	RevocationStale   Reason = "revocation_stale"   // a CRL or OCSP answer is past its next update
	TrustlistStale    Reason = "trustlist_stale"    // a trust list is past its next update
	TSASkew           Reason = "tsa_skew"           // a time stamp differs from our clock
	ControlPartial    Reason = "control_partial"    // a security control is met in part
	EvidenceExpiring  Reason = "evidence_expiring"  // an attested document ends soon
)

// Unknown: we could not tell.
const (
	NoUplink        Reason = "no_uplink"         // our own line was out, shown by its anchors
	NoPermission    Reason = "no_permission"     // the operating system does not let us look
	NotSupported    Reason = "not_supported"     // this system cannot be measured so
	NotConfigured   Reason = "not_configured"    // a value the check needs was left empty
	Misconfigured   Reason = "misconfigured"     // a value the check was given cannot work
	Internal        Reason = "internal"          // the run could not be finished: a fault of our own program, or a flood of strangers' packets; the detail says which
	Blocked         Reason = "blocked"           // a firewall refuses us, not the users
	EgressBlocked   Reason = "egress_blocked"    // our provider refuses this port (25 from a PC)
	TokenAbsent     Reason = "token_absent"      // no signing token is plugged in
	ClockUnset      Reason = "clock_unset"       // our clock was not plausible yet
	DataLost        Reason = "data_lost"         // recorded, then given up because the disk was full, or lost to damage of the disk
	MissedSuspended Reason = "missed_suspended"  // the machine slept
	MissedOverrun   Reason = "missed_overrun"    // the run before was still under way, or no place was free
	MissedClockJump Reason = "missed_clock_jump" // the clock stepped over these slots
	MissedStopped   Reason = "missed_stopped"    // the agent was stopped or had died
	MissedShutdown  Reason = "missed_shutdown"   // the machine was shut down in order
	EvidenceMissing Reason = "evidence_missing"  // no document was entered
	EvidenceExpired Reason = "evidence_expired"  // the document's validity has ended
	ClockUnproven   Reason = "clock_unproven"    // our clock differs too much from the collector's
	NotPlanned      Reason = "not_planned"       // accounts only: no plan covered this second
	Silent          Reason = "silent"            // accounts only: planned, and nothing has come
	IdentityCloned  Reason = "identity_cloned"   // accounts only: two machines used one identity
)

// Down: the lowest layer that failed, from DNS up to content, then the families' own.
const (
	DNSNXDomain Reason = "dns_nxdomain" // the name does not exist (RFC 1035, section 4.1.1, RCODE 3)
	DNSServfail Reason = "dns_servfail" // the resolver failed (RCODE 2)
	DNSRefused  Reason = "dns_refused"  // the resolver refused (RCODE 5)
	DNSTimeout  Reason = "dns_timeout"  // no resolver answered in time
	DNSEmpty    Reason = "dns_empty"    // the name exists, without records of the type asked
	DNSMismatch Reason = "dns_mismatch" // an answer other than the expected one
	DNSBogus    Reason = "dns_bogus"    // DNSSEC validation failed

	ConnectRefused     Reason = "connect_refused"     // the host is there, the port is closed
	ConnectTimeout     Reason = "connect_timeout"     // no answer to the connection request
	ConnectUnreachable Reason = "connect_unreachable" // a router or our own system says there is no way
	ConnectReset       Reason = "connect_reset"       // cut off while connecting or talking

	TLSHandshake   Reason = "tls_handshake"     // no agreement, or something else than TLS answers
	TLSExpired     Reason = "tls_expired"       // a certificate of the chain has ended
	TLSNotYetValid Reason = "tls_not_yet_valid" // a certificate of the chain has not begun
	TLSName        Reason = "tls_name"          // the certificate is for another name
	TLSUntrusted   Reason = "tls_untrusted"     // no chain to a trusted root
	TLSRevoked     Reason = "tls_revoked"       // the certificate was revoked
	TLSProtocol    Reason = "tls_protocol"      // only protocol versions that are no longer allowed

	Timeout       Reason = "timeout"        // connected, then too slow
	Protocol      Reason = "protocol"       // an answer that breaks its protocol
	HTTPStatus    Reason = "http_status"    // a status other than the expected ones
	HTTPRedirect  Reason = "http_redirect"  // too many redirects, or to where it must not
	Auth          Reason = "auth"           // our user name and password were not accepted
	TooLarge      Reason = "too_large"      // more than max_bytes
	Truncated     Reason = "truncated"      // the answer stopped short, or is below min_bytes
	CaptivePortal Reason = "captive_portal" // somebody else answers in the target's place

	ContentMissing   Reason = "content_missing"   // what must be there is not
	ContentForbidden Reason = "content_forbidden" // what must not be there is

	MailRejected Reason = "mail_rejected" // the server refuses a letter, or to serve at all
	MailLost     Reason = "mail_lost"     // a letter did not arrive
	MailAltered  Reason = "mail_altered"  // a letter arrived changed

	Revoked           Reason = "revoked"            // a certificate is on a CRL or OCSP says so
	RevocationInvalid Reason = "revocation_invalid" // a CRL or OCSP answer does not verify
	TSAInvalid        Reason = "tsa_invalid"        // a time stamp does not verify
	SignatureInvalid  Reason = "signature_invalid"  // a signature does not verify
	PINRefused        Reason = "pin_refused"        // the token refused the PIN (we stop after one try)

	ControlFail Reason = "control_fail" // a security control is not met
)

// Reasons lists the closed list in the order of the constants above.
func Reasons() []Reason {
	return []Reason{
		OK,
		Slow, PacketLoss, PathMTU, CertExpiring, SignatureExpiring, WeakTLS, Partial, Stale, ClockSkew, LowResource, Quota,
		DNSLame, DNSInconsistent, STARTTLSMissing, MailLate, MailAuth, ContentChanged, RevocationStale, TrustlistStale,
		TSASkew, ControlPartial, EvidenceExpiring,
		NoUplink, NoPermission, NotSupported, NotConfigured, Misconfigured, Internal, Blocked, EgressBlocked, TokenAbsent,
		ClockUnset, DataLost, MissedSuspended, MissedOverrun, MissedClockJump, MissedStopped, MissedShutdown,
		EvidenceMissing, EvidenceExpired, ClockUnproven, NotPlanned, Silent, IdentityCloned,
		DNSNXDomain, DNSServfail, DNSRefused, DNSTimeout, DNSEmpty, DNSMismatch, DNSBogus,
		ConnectRefused, ConnectTimeout, ConnectUnreachable, ConnectReset,
		TLSHandshake, TLSExpired, TLSNotYetValid, TLSName, TLSUntrusted, TLSRevoked, TLSProtocol,
		Timeout, Protocol, HTTPStatus, HTTPRedirect, Auth, TooLarge, Truncated, CaptivePortal,
		ContentMissing, ContentForbidden, MailRejected, MailLost, MailAltered,
		Revoked, RevocationInvalid, TSAInvalid, SignatureInvalid, PINRefused, ControlFail,
	}
}

// State returns the one state that goes with the reason. A word that is not on the list is Unknown.
func (r Reason) State() State {
	switch r {
	case OK:
		return Up
	case Slow, PacketLoss, PathMTU, CertExpiring, SignatureExpiring, WeakTLS, Partial, Stale, ClockSkew, LowResource, Quota,
		DNSLame, DNSInconsistent, STARTTLSMissing, MailLate, MailAuth, ContentChanged, RevocationStale, TrustlistStale,
		TSASkew, ControlPartial, EvidenceExpiring:
		return Degraded
	case DNSNXDomain, DNSServfail, DNSRefused, DNSTimeout, DNSEmpty, DNSMismatch, DNSBogus,
		ConnectRefused, ConnectTimeout, ConnectUnreachable, ConnectReset,
		TLSHandshake, TLSExpired, TLSNotYetValid, TLSName, TLSUntrusted, TLSRevoked, TLSProtocol,
		Timeout, Protocol, HTTPStatus, HTTPRedirect, Auth, TooLarge, Truncated, CaptivePortal,
		ContentMissing, ContentForbidden, MailRejected, MailLost, MailAltered,
		Revoked, RevocationInvalid, TSAInvalid, SignatureInvalid, PINRefused, ControlFail:
		return Down
	default:
		return Unknown
	}
}

// Valid reports whether r is on the closed list.
func (r Reason) Valid() bool {
	return r.State() != Unknown || r.unknown()
}

// Missed reports whether r says that a slot was not run, so that it may stand in a range record only.
func (r Reason) Missed() bool {
	switch r {
	case MissedSuspended, MissedOverrun, MissedClockJump, MissedStopped, MissedShutdown, ClockUnset, DataLost:
		return true
	}
	return false
}

// AccountOnly reports whether r arises in the collector's accounts alone, never in a result.
func (r Reason) AccountOnly() bool {
	return r == NotPlanned || r == Silent || r == IdentityCloned
}

func (r Reason) unknown() bool {
	switch r {
	case NoUplink, NoPermission, NotSupported, NotConfigured, Misconfigured, Internal, Blocked, EgressBlocked, TokenAbsent,
		EvidenceMissing, EvidenceExpired, ClockUnproven:
		return true
	}
	return r.Missed() || r.AccountOnly()
}

// ParseReason reads a word of the closed list.
func ParseReason(s string) (Reason, error) {
	if r := Reason(s); r.Valid() {
		return r, nil
	}
	return "", fmt.Errorf("reason %q is not on the closed list", s)
}
