package board

import (
	"cmp"
	"net/url"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

const (
	closedFor  = 24 * time.Hour // a closed incident is shown
	mostClosed = 5
)

// An incidentItem is one incident as its template reads it.
type incidentItem struct {
	Sign
	ID, Key  string
	Page     string // its address
	What     string // what happened to Name; "" when Name says it all
	Name     string
	Link     string // of Name; "" without a page
	Where    []nameLink
	More     string // how many of those are left out, in words
	Scope    string // of an open one
	Since    string
	Cause    string
	Text     words.Text // the Impact and Action of an open one
	Owner    string
	Back     bool // it works again, not yet for long enough
	Over     string
	Ack      string // who took note and when; "" for nobody
	Note     string
	Form     bool // somebody may take note of it here
	IsClosed bool
}

// incidents lists the open incidents, the worst and then the oldest first, and the latest of those that were closed.
func (g grid) incidents(v View, mayAck bool) (open, closed []incidentItem) {
	var is, was []Incident
	for _, i := range v.Incidents {
		switch {
		case i.Closed.IsZero():
			is = append(is, i)
		case g.now.Sub(i.Closed) < closedFor:
			was = append(was, i)
		}
	}
	slices.SortStableFunc(is, func(a, b Incident) int {
		return cmp.Or(cmp.Compare(weight(a.State), weight(b.State)), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(was, func(a, b Incident) int { return cmp.Or(b.Closed.Compare(a.Closed), cmp.Compare(a.ID, b.ID)) })
	was = was[:min(len(was), mostClosed)]
	for _, i := range is {
		open = append(open, g.incident(v, i, mayAck))
	}
	for _, i := range was {
		closed = append(closed, g.incident(v, i, mayAck))
	}
	return open, closed
}

// incident words one incident.
func (g grid) incident(v View, i Incident, mayAck bool) incidentItem {
	t := incidentItem{Sign: signOf(g.l, i.State), ID: i.ID, Key: "i-" + i.ID, Page: incidentPage(i.ID), IsClosed: !i.Closed.IsZero()}
	t.Owner = i.Owner.in(g.l)
	g.subject(&t, v, i)
	t.Since = words.Say(g.l, "board.since", words.At(g.l, i.Since, g.now))
	if d := g.now.Sub(i.Since); !t.IsClosed && d >= time.Minute {
		t.Since += " (" + words.Duration(g.l, d.Truncate(time.Minute)) + ")"
	}
	if !i.Ack.At.IsZero() {
		t.Ack, t.Note = words.Say(g.l, "incident.by", i.Ack.User, words.At(g.l, i.Ack.At, g.now)), i.Ack.Note
	}
	if t.IsClosed {
		t.Scope, t.Text = "", words.Text{}
		t.over(g, i)
		return t
	}
	t.Back = g.works(i)
	t.Form = mayAck && t.Ack == ""
	return t
}

func incidentPage(id string) string { return "/incident/" + url.PathEscape(id) }

// subject says what it is about, where, how far it goes, and what is to be done.
func (g grid) subject(t *incidentItem, v View, i Incident) {
	reason := words.Reason(g.l, i.Reason)
	carrier := or(i.Carrier, words.Say(g.l, "alert.carrier"))
	t.Cause, t.Text = reason.Title, reason
	switch {
	case i.Kind == KindFleet:
		t.Name = words.Say(g.l, "alert.fleet")
		t.Cause, t.Text = words.Say(g.l, "alert.cause.fleet"), words.Text{Action: words.Say(g.l, "alert.action.fleet")}
		t.names(g, i.Units, func(id string) nameLink { return nameLink{g.unitName(id), ""} })
	case i.Kind == KindLine:
		t.What, t.Name = words.Say(g.l, "incident.line"), g.unitName(i.Unit)
		if i.State == check.Down {
			if i.Through != "" {
				t.Cause = words.Say(g.l, "alert.cause.line", serviceName(g.l, v, i.Through), lower(reason.Title), carrier)
			}
		} else {
			t.What = words.Say(g.l, "incident.silent")
			t.Cause, t.Text = words.Say(g.l, "alert.cause.silent", carrier), words.Text{Action: words.Say(g.l, "alert.action.silent")}
		}
		t.names(g, i.Services, func(id string) nameLink {
			return nameLink{serviceName(g.l, v, id), g.linkTo(v, id, i.Unit)}
		})
	default:
		t.What, t.Name = t.Word, serviceName(g.l, v, i.Service)
		if k := slices.IndexFunc(v.Services, func(s Service) bool { return s.ID == i.Service }); k >= 0 {
			t.Link = serviceLink(i.Service)
			t.Owner = or(t.Owner, v.Services[k].Owner.in(g.l))
		}
		if i.Votes.Up+i.Votes.Down > 0 {
			t.Scope = words.Say(g.l, "alert.scope.votes", i.Votes.Down, i.Votes.Up+i.Votes.Down)
		}
		if i.Kind == KindSite {
			t.Name, t.Link = words.Say(g.l, "verdict.site", t.Name, g.unitName(i.Unit)), g.linkTo(v, i.Service, i.Unit)
		}
		t.names(g, i.Units, func(id string) nameLink { return nameLink{g.unitName(id), g.linkTo(v, i.Service, id)} })
	}
	if c := i.Suspect.in(g.l); c != "" {
		t.Cause = c
	}
	if a := i.Action.in(g.l); a != "" {
		t.Text.Action = a
	}
}

// names lists the first of what it is about.
func (t *incidentItem) names(g grid, ids []string, name func(id string) nameLink) {
	n := len(ids)
	if n > mostNames+1 {
		n = mostNames
		t.More = words.Say(g.l, "board.more", len(ids)-n)
	}
	for _, id := range ids[:n] {
		t.Where = append(t.Where, name(id))
	}
}

// over says until when a closed one lasted.
func (t *incidentItem) over(g grid, i Incident) {
	if i.Withdrawn {
		t.Sign = signOf(g.l, check.Unknown)
		t.Over = words.Say(g.l, "incident.withdrawn", words.At(g.l, i.Closed, g.now))
		return
	}
	end := i.Restored
	if end.IsZero() {
		end = i.Closed
	}
	t.Over = words.Say(g.l, "incident.restored", words.At(g.l, end, g.now), words.Duration(g.l, end.Sub(i.Since)))
	t.Sign = signOf(g.l, check.Up)
}

// works reports whether what an open incident is about serves again.
func (g grid) works(i Incident) bool {
	c, ok := g.cells[cellKey{or(i.Service, i.Through), i.Unit}]
	return ok && (c.State == check.Up || c.State == check.Degraded) && !c.Held
}

// linkTo leads to the check behind a cell; "" when the board has no such service.
func (g grid) linkTo(v View, service, unit string) string {
	if c, ok := g.cells[cellKey{service, unit}]; ok {
		return linkOf(c)
	}
	if slices.ContainsFunc(v.Services, func(s Service) bool { return s.ID == service }) {
		return serviceLink(service)
	}
	return ""
}

func (g grid) unitName(id string) string { return or(g.unit[id], id) }

func serviceName(l words.Lang, v View, id string) string {
	for _, s := range v.Services {
		if s.ID == id {
			return or(s.Name.in(l), id)
		}
	}
	return id
}

// lower begins a text in a small letter, to stand within a sentence; what begins with two capitals stays.
func lower(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	second, _ := utf8.DecodeRuneInString(s[n:])
	if n == 0 || unicode.IsUpper(second) {
		return s
	}
	return string(unicode.ToLower(first)) + s[n:]
}
