package incident

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/verdict"
)

// Rule names the rules by which incidents are opened and closed, in their leaves.
const Rule = "incident/1"

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
	put("rule", Rule)
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
	if rule := l.Field("rule"); rule != Rule {
		return e, false, fmt.Errorf("written by rule %q, and this program knows %s: use the newer program", rule, Rule)
	}
	e = Event{Incident: l.Field("id"), What: What(l.Field("event")), Why: l.Field("why"), Through: l.Field("through"), Reason: check.Reason(l.Field("reason")),
		Component: verdict.Component{Kind: verdict.Kind(l.Field("kind")), Service: l.Field("service"), Unit: l.Field("unit")},
		Services:  strings.Fields(l.Field("services")), Units: strings.Fields(l.Field("units"))}
	if e.What.place() < 0 || e.Incident == "" {
		return e, false, fmt.Errorf("event %q of incident %q is unknown", e.What, e.Incident)
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
