package main

import (
	"strconv"

	"egovmon/agent/check"
)

// A stage is one part of the way from this machine to a system, from the inside outwards.
type stage int

// The stages.
const (
	atMachine stage = iota
	atLAN
	atGateway
	atLine
	atCarrier
	atResolver
	atServer
	atCertificate
	atPage
	pastAll // the way is whole
)

// stages are the keys of the catalogue, in the order of the way.
func stages() [pastAll]string {
	return [pastAll]string{"machine", "lan", "gateway", "line", "carrier", "resolver", "server", "certificate", "page"}
}

// wayEvidence is what was seen of the way to a system. What was not looked at is nil.
type wayEvidence struct {
	early   bool // the clock shows a time before this program was made
	card    bool // an interface is switched on
	link    bool // one of them has a link
	address bool // one of them has an address

	route    bool          // this machine knows a way there, be it by a default gateway or another
	near     bool          // the system is this machine's own or on its network: no line leads there
	wayless  bool          // the system's address is known, and this machine knows no way to it
	page     check.Result  // of the kind http, or of the one that speaks to the system
	service  bool          // the system is no page
	gateway  *check.Result // of the kind gateway
	path     *check.Result // of the kind path: to the system, else to what stands for the world outside
	toSystem bool          // path is to the system itself
	captive  *check.Result // of the kind captive, where the plan has one
	hijack   *check.Result // of the kind hijack, where the plan has one
	tslcd    bool          // the system's line is the dedicated network
	outside  int           // neutral hosts and name servers outside of this network that have answered
	resolved bool          // a name server has said something of the name, whatever it is
	bogus    bool          // a name server hands the name out only without verifying the signatures of its zone
}

// A wayBreak is where the way breaks off, and how.
type wayBreak struct {
	at     stage
	how    string // of the catalogue: doctor.break.HOW is the sentence, doctor.break.HOW.do what to do
	reason check.Reason
	after  string // the last hop that answered; "" when that says nothing
}

// judgeWay finds the first stage that does not work. A page that comes contradicts everything else. What answers outside
// shows that the line works, and a name server's answer that it does.
func judgeWay(e wayEvidence) wayBreak {
	if e.page.State == check.Up || e.page.State == check.Degraded {
		return wayBreak{at: pastAll, reason: e.page.Reason}
	}
	switch {
	case e.early:
		return wayBreak{atMachine, "clock", check.ClockUnset, ""}
	case e.near:
		return beyondLine(e)
	case !e.card:
		return wayBreak{atMachine, "card", check.ConnectUnreachable, ""}
	case !e.link:
		return wayBreak{atLAN, "link", check.ConnectUnreachable, ""}
	case !e.address:
		return wayBreak{atLAN, "address", check.ConnectUnreachable, ""}
	case e.captive != nil && e.captive.Reason == check.CaptivePortal:
		return wayBreak{atLine, "portal", check.CaptivePortal, ""}
	}
	switch {
	case e.page.Reason == check.EgressBlocked:
		return wayBreak{atLine, "egress", check.EgressBlocked, ""}
	case e.hijack != nil && (e.hijack.Reason == check.DNSMismatch || e.hijack.Reason == check.CaptivePortal) && misled(e.page.Reason):
		return wayBreak{atResolver, "hijack", check.DNSMismatch, ""}
	}
	if e.wayless && e.page.Reason == check.ConnectUnreachable && (e.gateway == nil || e.gateway.State != check.Down) {
		return wayBreak{atGateway, "noway", check.ConnectUnreachable, ""}
	}
	if answered(e.page.Reason) || e.outside > 0 || e.path != nil && e.path.State != check.Down {
		return beyondLine(e)
	}
	if e.page.Reason == check.DNSNXDomain && e.resolved || e.bogus {
		return beyondLine(e)
	}
	return insideLine(e)
}

// misled tells whether a failure is what is seen of a machine at a false address.
func misled(r check.Reason) bool {
	switch r {
	case check.TLSUntrusted, check.TLSName, check.TLSHandshake, check.HTTPRedirect, check.HTTPStatus, check.CaptivePortal, check.ContentMissing, check.ContentForbidden:
		return true
	}
	return false
}

// answered tells whether a failure shows that the server, or somebody in its place, was spoken to.
func answered(r check.Reason) bool {
	switch r {
	case check.ConnectTimeout, check.ConnectUnreachable, check.DNSTimeout, check.DNSServfail, check.DNSRefused, check.DNSEmpty, check.DNSNXDomain:
		return false
	}
	return r.State() == check.Down
}

// insideLine says where the way breaks when nothing outside answers.
func insideLine(e wayEvidence) wayBreak {
	hop, known := 0.0, false
	if e.path != nil {
		hop, known = e.path.Facts.Get("broken_after_count")
	}
	g := e.gateway
	switch {
	case hop >= 2:
		return wayBreak{atCarrier, "carrier", e.path.Reason, strconv.Itoa(int(hop))}
	case g != nil && g.State == check.Down && g.Reason == check.ConnectUnreachable && !e.route:
		return wayBreak{atGateway, "noroute", g.Reason, ""}
	case g != nil && g.State == check.Down && hop == 0:
		return wayBreak{atGateway, "gateway", g.Reason, ""}
	case known && e.tslcd:
		return wayBreak{atLine, "tslcd", e.path.Reason, ""}
	case known:
		return wayBreak{atLine, "line", e.path.Reason, ""}
	}
	return beyondLine(e)
}

// beyondLine says what is wrong when the line works, or when there is none on the way.
func beyondLine(e wayEvidence) wayBreak {
	r := e.page.Reason
	hole := false
	if e.path != nil {
		v, _ := e.path.Facts.Get("black_hole_code")
		hole = v == 1
	}
	switch r {
	case check.DNSNXDomain, check.DNSEmpty:
		return wayBreak{atResolver, "noname", r, ""}
	case check.DNSServfail, check.DNSTimeout:
		if e.bogus {
			return wayBreak{atResolver, "bogus", check.DNSBogus, ""}
		}
		return wayBreak{atResolver, "resolver", r, ""}
	case check.DNSBogus, check.DNSMismatch:
		return wayBreak{atResolver, "resolver", r, ""}
	case check.ConnectRefused:
		return wayBreak{atServer, "refused", r, ""}
	case check.ConnectTimeout, check.ConnectUnreachable:
		return wayBreak{atServer, "silent", r, ""}
	case check.TLSExpired:
		return wayBreak{atCertificate, "expired", r, ""}
	case check.TLSUntrusted, check.TLSRevoked:
		return wayBreak{atCertificate, "untrusted", r, ""}
	case check.TLSName, check.TLSNotYetValid, check.TLSProtocol, check.TLSHandshake:
		if !hole || r != check.TLSHandshake {
			return wayBreak{atCertificate, "certificate", r, ""}
		}
	}
	switch {
	case hole && (r == check.Timeout || r == check.TLSHandshake || r == check.Truncated):
		after, _ := e.path.Facts.Get("black_hole_after_count")
		return wayBreak{atCarrier, "hole", check.PathMTU, strconv.Itoa(int(after))}
	case r == check.CaptivePortal:
		return wayBreak{atLine, "portal", r, ""}
	case r == check.HTTPRedirect:
		return wayBreak{atPage, "redirect", r, ""}
	case !e.service && (r == check.Timeout || r == check.ConnectReset || r == check.Truncated):
		return wayBreak{atPage, "slow", r, ""}
	case r.State() == check.Unknown:
		return wayBreak{atPage, "unknown", r, ""}
	case e.service:
		return wayBreak{atPage, "service", r, ""}
	}
	return wayBreak{atPage, "page", r, ""}
}
