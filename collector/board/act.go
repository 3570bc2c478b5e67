package board

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/incident"
)

// mayAct reports whether who asks may do more to incidents than look.
func (h *handler) mayAct(r *http.Request) bool { return h.act != nil && h.user(r.Context()) != "" }

// A lifeItem is what people made of an incident, and the forms for more, as the template reads it.
type lifeItem struct {
	Class    string // in words; "" while nobody has classified it
	Assignee string
	Entries  []lifeLine // the latest first
	Address  string     // of the forms; "" for who may not
	Conclude bool       // it is over, and nobody has concluded it
	Classes  []option
}

// A lifeLine is one thing that somebody did.
type lifeLine struct{ When, Who, What, Text string }

// newLife words what people made of an incident.
func newLife(l words.Lang, v View, i Incident, may bool) lifeItem {
	t := lifeItem{Assignee: i.Life.Assignee}
	if i.Life.Class != "" {
		t.Class = words.Say(l, "form.class."+i.Life.Class)
	}
	for _, e := range slices.Backward(i.Life.Entries) {
		who := e.User
		if who == access.Program { // no program acts but the collector itself, which takes incidents a step further
			who = words.Say(l, "life.program")
		}
		t.Entries = append(t.Entries, lifeLine{words.At(l, e.At, v.Now), who, words.Say(l, "act."+e.What), strings.TrimSpace(e.To + " " + e.Note)})
	}
	if !may {
		return t
	}
	t.Address, t.Conclude = incidentPage(i.ID)+"/act", !i.Closed.IsZero() && !i.Life.Concluded
	for _, c := range incident.Classes() {
		t.Classes = append(t.Classes, option{Value: string(c), Name: words.Say(l, "form.class."+string(c)), Chosen: string(c) == i.Life.Class})
	}
	return t
}

// doAct takes one of the forms, and leads back to the incident. Who sees no incident cannot do anything to it.
func (h *handler) doAct(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	user, ok := h.incidentForm(w, r)
	if !ok {
		return
	}
	a := incident.Act{User: user, What: incident.What(r.PostForm.Get("what")), Class: incident.Class(r.PostForm.Get("class"))}
	for name, to := range map[string]*string{noteParam: &a.Note, "to": &a.To, "measure": &a.Measure} {
		if *to = oneLine(r.PostForm.Get(name)); len(*to) > maxNote {
			h.say(w, r, http.StatusRequestEntityTooLarge, true, "incident.form")
			return
		}
	}
	if !h.seesIncident(w, r, id) {
		return
	}
	err := h.act(r.Context(), id, a)
	h.forget()
	switch {
	case errors.Is(err, incident.ErrUnknown):
		h.say(w, r, http.StatusNotFound, true, "incident.unknown")
	case errors.Is(err, incident.ErrConcluded):
		h.say(w, r, http.StatusConflict, true, "incident.concluded")
	case errors.Is(err, incident.ErrAct):
		h.say(w, r, http.StatusBadRequest, true, "incident.act")
	case err != nil:
		h.log.Error("board: not recorded", "incident", id, "act", a.What, "err", err)
		h.say(w, r, http.StatusServiceUnavailable, true, "incident.unsaved")
	default:
		http.Redirect(w, r, incidentPage(id), http.StatusSeeOther)
	}
}
