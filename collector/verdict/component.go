package verdict

import (
	"egovmon/agent/check"
)

// A Kind says what sort of thing a component is.
type Kind string

// The kinds of component. Findings are of the first three and of OfSite; a cause is of any kind but OfFleet.
const (
	OfService     Kind = "service"     // a service as a whole, and what depends on it: the upstream of others
	OfLine        Kind = "line"        // a unit's own line or network
	OfFleet       Kind = "fleet"       // most units at once: it is us, or what all of them share, not each of them
	OfMachine     Kind = "machine"     // the measuring machine of a unit
	OfLAN         Kind = "lan"         // a unit's own network
	OfAccess      Kind = "access"      // what stands between a unit and the web: a wall, a proxy, large packets that vanish
	OfSite        Kind = "site"        // what a service is for one unit alone
	OfCarrier     Kind = "carrier"     // who runs the lines of several units
	OfResolver    Kind = "resolver"    // what turns names into addresses
	OfZone        Kind = "zone"        // the names below one name
	OfCertificate Kind = "certificate" // what a host shows of itself
	OfAuthority   Kind = "authority"   // who issues certificates, or says what became of them
	OfPlatform    Kind = "platform"    // a host that serves several services
	OfBackend     Kind = "backend"     // an address behind the names of several services
	OfNetwork     Kind = "network"     // a network on the way to several services
)

// Kinds lists the kinds of component.
func Kinds() []Kind {
	return []Kind{OfService, OfLine, OfFleet, OfMachine, OfLAN, OfAccess, OfSite, OfCarrier, OfResolver, OfZone, OfCertificate, OfAuthority, OfPlatform,
		OfBackend, OfNetwork}
}

// A Component is what can be broken. It is comparable.
type Component struct {
	Kind    Kind
	Service string // of a service, certificate, site or resolver; of a line or carrier as a cause: the service that judges such lines
	Unit    string // of a line, LAN, access, site or machine
	Name    string // of the others: the carrier, host, zone, address, issuer, machine
}

// A layer groups reasons by where they can come from.
type layer uint8

const (
	noLayer   layer = iota
	reach           // no answer
	refuse          // an answer that there is nothing
	dnsAnswer       // a wrong answer about a name
	dnsSilent       // no answer about a name
	ended           // a certificate's dates
	name            // a certificate of another name
	chain           // a certificate of an unknown issuer
	handshake       // no agreement on encryption
	revoked         // a certificate was taken back, or nobody can tell
	content         // the service answers, and not well
	wall            // somebody else answers
	letters         // mail
	signing         // signatures and time stamps
	own             // the machine itself
	cut             // nothing can be said of the service: the unit's own line is out, by its anchors
	layers
)

// layerOf says where a failure with this reason can come from.
func layerOf(r check.Reason) layer {
	switch r {
	case check.NoUplink:
		return cut
	case check.ConnectTimeout, check.ConnectUnreachable, check.Timeout:
		return reach
	case check.ConnectRefused, check.ConnectReset:
		return refuse
	case check.DNSTimeout:
		return dnsSilent
	case check.DNSNXDomain, check.DNSServfail, check.DNSRefused, check.DNSEmpty, check.DNSMismatch, check.DNSBogus:
		return dnsAnswer
	case check.TLSExpired, check.TLSNotYetValid:
		return ended
	case check.TLSName:
		return name
	case check.TLSUntrusted:
		return chain
	case check.TLSHandshake, check.TLSProtocol:
		return handshake
	case check.TLSRevoked, check.Revoked, check.RevocationInvalid:
		return revoked
	case check.CaptivePortal:
		return wall
	case check.MailRejected, check.MailLost, check.MailAltered:
		return letters
	case check.TSAInvalid, check.SignatureInvalid:
		return signing
	case check.PINRefused, check.ControlFail:
		return own
	}
	return content
}

// noise is what a failure of a layer costs that nothing blamed explains. That an agent cannot tell is weaker evidence than
// that it saw a failure.
func (l layer) noise() float64 {
	if l == cut {
		return 1
	}
	return noiseCost
}

// A trait is how a kind of component fails: prior is the cost of blaming it at all, in nats; weight the share of its
// failures that show a reason of the layer. What it never shows has weight 0.
type trait struct {
	prior  float64
	weight [layers]float64
}

// traits are the priors by reason layer. They say which of two explanations for the same failures is the likelier one, and
// stand here in one table so that they can be argued about; the figures of the simulation and of `lab score` rest on them.
func traits() map[Kind]trait {
	return map[Kind]trait{
		OfMachine: {5, [layers]float64{own: .9, ended: .02, chain: .02}},
		OfLAN:     {3.5, [layers]float64{cut: .6, reach: .6, refuse: .02, dnsSilent: .2, wall: .1}},
		OfLine:    {3, [layers]float64{cut: .6, reach: .6, refuse: .02, dnsSilent: .2}},
		OfAccess: {3.6, [layers]float64{reach: .3, refuse: .1, dnsAnswer: .02, dnsSilent: .02, ended: .02, name: .2, chain: .25, handshake: .15,
			content: .15, wall: .9}},
		OfCarrier: {5.8, [layers]float64{cut: .6, reach: .6, refuse: .02, dnsSilent: .2}},
		OfNetwork: {6.5, [layers]float64{reach: .6, refuse: .05, dnsSilent: .1}},
		OfSite:    {4, [layers]float64{reach: .35, refuse: .5, handshake: .3, content: .7}},
		OfService: {4, [layers]float64{reach: .35, refuse: .6, dnsAnswer: .05, dnsSilent: .05, ended: .03, name: .03, chain: .03, handshake: .4,
			revoked: .4, content: .7, wall: .02, letters: .9, signing: .8, own: .05}},
		OfCertificate: {4, [layers]float64{ended: .9, name: .7, chain: .6, handshake: .2, revoked: .5}},
		OfAuthority:   {5.5, [layers]float64{reach: .2, refuse: .2, ended: .2, chain: .3, revoked: .6, signing: .5, content: .1}},
		OfResolver: {4.5, [layers]float64{reach: .1, refuse: .1, dnsAnswer: .5, dnsSilent: .8, ended: .02, name: .2, chain: .2, handshake: .1,
			content: .1}},
		OfZone:     {5, [layers]float64{dnsAnswer: .7, dnsSilent: .2}},
		OfPlatform: {5.5, [layers]float64{reach: .3, refuse: .5, ended: .1, name: .05, chain: .05, handshake: .3, content: .6, letters: .3}},
		OfBackend:  {5.5, [layers]float64{reach: .4, refuse: .6, ended: .1, name: .05, chain: .05, handshake: .4, content: .65, letters: .3}},
	}
}
