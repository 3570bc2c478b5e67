package board

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/fleet"
)

// certSoon is from when on a machine's own certificate is shown as about to end. Agents renew theirs at a third of 90 days.
const certSoon = 15 * 24 * time.Hour

// A Fleet shows the machines that measure, lets new ones in and ends identities. Its errors wrap ErrForbidden for who may not.
type Fleet interface {
	// Rights names who may let machines in; "" for who may only look.
	Rights(ctx context.Context) (by string, err error)
	Machines(ctx context.Context) ([]FleetMachine, error)
	// Invite makes a token for a machine of a unit; machine "" is the unit's next one without an identity.
	Invite(ctx context.Context, unit, machine string) (Invitation, error)
	// Revoke ends a machine's identity.
	Revoke(ctx context.Context, machine, why string) error
}

// A FleetMachine is a machine that is expected, deployed or reporting.
type FleetMachine struct {
	fleet.Machine
	Build    string    // the program's version
	Received time.Time // of its last results
	CertEnds time.Time // of its certificate for the collector; zero without an identity
}

// An Invitation is a token for one machine. It is shown once.
type Invitation struct {
	Token, Machine, Unit, Collector string
	Expires                         time.Time
}

// A fleetPage is the machines.
type fleetPage struct {
	Count  string
	List   []fleetItem
	Form   bool
	Choose []option // units
	New    *Invitation
	Until  string
	Wrong  string
	Done   string
}

type fleetItem struct {
	ID, Unit, Sign, State, Detail, Build, Heard, Received, Cert string
	Soon, Identity                                              bool
}

func (h *handler) fleetPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /fleet", func(w http.ResponseWriter, r *http.Request) { h.writeFleet(w, r, http.StatusOK, fleetPage{}) })
	mux.HandleFunc("POST /fleet", h.changeFleet)
}

// whatSign is the sign of what is the matter with a machine.
func whatSign(w fleet.What) string {
	switch w {
	case fleet.OK:
		return "up"
	case fleet.OutsideNomad, fleet.NomadLink:
		return "degraded"
	case fleet.NeverEnrolled:
		return "missing"
	case fleet.ShutDown, fleet.Stopped, fleet.AgentStarting, fleet.AgentDrained, fleet.Unknown:
		return "unknown"
	}
	return "down"
}

// writeFleet fills the page in and writes it.
func (h *handler) writeFleet(w http.ResponseWriter, r *http.Request, status int, p fleetPage) {
	l := language(w, r)
	by, err := h.fleet.Rights(r.Context())
	var list []FleetMachine
	if err == nil {
		list, err = h.fleet.Machines(r.Context())
	}
	if errors.Is(err, ErrForbidden) {
		h.say(w, r, http.StatusForbidden, true, "fleet.page.forbidden")
		return
	}
	v, err2 := h.whole(r.Context())
	if err := errors.Join(err, err2); err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	names := map[string]string{}
	for _, u := range v.Units {
		names[u.ID] = u.Name.in(l)
	}
	expected, present := 0, 0
	for _, m := range list {
		if m.Expected {
			expected++
			if m.Reporting == fleet.Reports {
				present++
			}
		}
		p.List = append(p.List, fleetItemOf(l, m, or(names[m.Unit], m.Unit), v.Now))
	}
	p.Count, p.Form = words.Say(l, "fleet.page.count", present, expected), by != ""
	if p.Form {
		p.Choose = unitOptions(l, v, "", "")[1:]
	}
	if p.New != nil {
		p.Until = words.DateTime(l, p.New.Expires)
	}
	w.Header().Set("Cache-Control", "no-store")
	h.write(w, r, status, frame{Title: words.Say(l, "fleet.page.title"), Name: "fleet", District: v.District.in(l), Lang: l, Still: true, Body: p})
}

func fleetItemOf(l words.Lang, m FleetMachine, unit string, now time.Time) fleetItem {
	i := fleetItem{ID: m.ID, Unit: unit, Sign: whatSign(m.What), State: words.Say(l, "fleet."+string(m.What)), Detail: oneLine(m.Detail), Build: oneLine(m.Build), Identity: !m.CertEnds.IsZero()}
	if !m.Heard.IsZero() {
		i.Heard = words.At(l, m.Heard, now)
	}
	if !m.Received.IsZero() {
		i.Received = words.At(l, m.Received, now)
	}
	if left := m.CertEnds.Sub(now); i.Identity {
		i.Soon = left < certSoon
		if i.Cert = words.Say(l, "certs.left", int(math.Floor(left.Hours()/24))); left < 0 {
			i.Cert = words.Say(l, "certs.ended")
		}
	}
	return i
}

// changeFleet takes one of the page's forms.
func (h *handler) changeFleet(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	if by, err := h.fleet.Rights(r.Context()); err != nil || by == "" {
		h.say(w, r, http.StatusForbidden, true, "fleet.page.forbidden")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	get := func(name string) string { return oneLine(r.PostForm.Get(name)) }
	p, err := fleetPage{}, error(nil)
	switch get("do") {
	case "invite":
		var in Invitation
		if in, err = h.fleet.Invite(r.Context(), get("unit"), strings.TrimSpace(get("machine"))); err == nil {
			p.New = &in
		}
	case "revoke":
		if err = h.fleet.Revoke(r.Context(), get("machine"), get("why")); err == nil {
			p.Done = words.Say(l, "fleet.page.revoked", get("machine"))
		}
	default:
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	h.forget()
	if err != nil {
		h.log.Warn("board: machines not changed", "do", get("do"), "err", err)
		h.writeFleet(w, r, http.StatusUnprocessableEntity, fleetPage{Wrong: words.Say(l, "users.wrong", err.Error())})
		return
	}
	h.writeFleet(w, r, http.StatusOK, p)
}
