package incident

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/verdict"
)

// Rule names the rules by which incidents are opened and closed, in their leaves.
const Rule = "incident/2"

// rules lists the rules whose leaves this program reads. Those of incident/1 know neither causes nor what people did but
// acknowledge.
func rules() []string { return []string{"incident/1", Rule} }

const (
	atFormat = "2006-01-02T15:04:05.000Z"
	// maxUser and maxNote bound what a person brings into a leaf.
	maxUser = 128
	maxNote = 512
)

// entry returns the leaf of an event.
func (e Event) entry() (evidence.Entry, error) {
	fields := map[string]string{"at": e.At.UTC().Format(atFormat)}
	put := func(key, value string) {
		if value != "" {
			fields[key] = value
		}
	}
	if e.What == Acknowledged {
		put("incident", e.Incident)
		put("user", e.User)
		put("note", e.Note)
		return evidence.NewEntry(evidence.Acknowledgement, fields, nil, nil)
	}
	put("id", e.Incident)
	put("event", string(e.What))
	put("rule", Rule)
	if e.What.byPerson() {
		put("user", e.User)
		put("note", e.Note)
		put("to", e.To)
		put("class", string(e.Class))
		put("measure", e.Measure)
		return evidence.NewEntry(evidence.Incident, fields, nil, nil)
	}
	put("kind", string(e.Kind))
	put("service", e.Service)
	put("unit", e.Unit)
	put("through", e.Through)
	put("state", e.State.String())
	put("reason", string(e.Reason))
	put("since", e.Since.UTC().Format(time.RFC3339))
	put("votes", fmt.Sprintf("up=%d down=%d unknown=%d", e.Votes.Up, e.Votes.Down, e.Votes.Unknown))
	put("services", strings.Join(e.Services, " "))
	put("units", strings.Join(e.Units, " "))
	put("why", e.Why)
	if c := e.Cause; c.Kind != "" {
		put("cause_kind", string(c.Kind))
		put("cause_service", c.Service)
		put("cause_unit", c.Unit)
		put("cause_name", said(c.Name, maxUser))
		put("cause_owner", c.Owner)
		put("confidence", fmt.Sprintf("%.2f", c.Confidence))
	}
	return evidence.NewEntry(evidence.Incident, fields, nil, nil)
}

// eventFrom reads the leaf of an event. ok is false for leaves of other types, and for acknowledgements of other things.
func eventFrom(l evidence.Leaf) (e Event, ok bool, err error) {
	switch l.Type() {
	case evidence.Acknowledgement:
		if l.Field("incident") == "" {
			return e, false, nil
		}
		e = Event{Incident: l.Field("incident"), What: Acknowledged, Why: Noticed, User: l.Field("user"), Note: l.Field("note")}
		e.At, err = time.Parse(atFormat, l.Field("at"))
		return e, true, err
	case evidence.Incident:
	default:
		return e, false, nil
	}
	if rule := l.Field("rule"); !slices.Contains(rules(), rule) {
		return e, false, fmt.Errorf("written by rule %q, and this program knows %s: use the newer program", rule, Rule)
	}
	e = Event{Incident: l.Field("id"), What: What(l.Field("event")), Why: l.Field("why"), Through: l.Field("through"), Reason: check.Reason(l.Field("reason")),
		Component: verdict.Component{Kind: verdict.Kind(l.Field("kind")), Service: l.Field("service"), Unit: l.Field("unit")},
		Services:  strings.Fields(l.Field("services")), Units: strings.Fields(l.Field("units"))}
	if !e.What.known() || e.Incident == "" {
		return e, false, fmt.Errorf("event %q of incident %q is unknown", e.What, e.Incident)
	}
	if e.What.byPerson() {
		e = Event{Incident: e.Incident, What: e.What, User: l.Field("user"), Note: l.Field("note"), To: l.Field("to"), Class: Class(l.Field("class")), Measure: l.Field("measure")}
		e.At, err = time.Parse(atFormat, l.Field("at"))
		return e, true, err
	}
	e.Cause = Cause{Component: verdict.Component{Kind: verdict.Kind(l.Field("cause_kind")), Service: l.Field("cause_service"), Unit: l.Field("cause_unit"),
		Name: l.Field("cause_name")}, Owner: l.Field("cause_owner")}
	if text := l.Field("confidence"); text != "" {
		if e.Cause.Confidence, err = strconv.ParseFloat(text, 64); err != nil {
			return e, false, err
		}
	}
	if e.State, err = check.ParseState(l.Field("state")); err != nil {
		return e, false, err
	}
	if e.At, err = time.Parse(atFormat, l.Field("at")); err != nil {
		return e, false, err
	}
	if e.Since, err = time.Parse(time.RFC3339, l.Field("since")); err != nil {
		return e, false, err
	}
	_, err = fmt.Sscanf(l.Field("votes"), "up=%d down=%d unknown=%d", &e.Votes.Up, &e.Votes.Down, &e.Votes.Unknown)
	return e, true, err
}

// said makes what a person wrote fit for a leaf: one line of at most limit bytes.
func said(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}
