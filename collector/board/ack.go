package board

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"egovmon/agent/words"
	"egovmon/collector/incident"
)

const (
	maxNote   = 500 // bytes of a note
	noteChars = 160 // that a browser lets somebody write: none takes more than three bytes of UTF-8 for one unit of UTF-16
	maxForm   = 8 << 10
	maxID     = 200

	noteParam = "note"
	backParam = "back" // where the form stood: backIncident, or the first page

	backIncident = "incident"
)

// mayAck reports whether who asks may take note of incidents.
func (h *handler) mayAck(r *http.Request) bool { return h.ack != nil && h.user(r.Context()) != "" }

// An incidentDetail is the page of one incident.
type incidentDetail struct {
	Item  incidentItem
	Guide *guide // nil once it is over
	Life  lifeItem
}

func (h *handler) incident(w http.ResponseWriter, r *http.Request) {
	v, err := h.current(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	l, id := language(w, r), r.PathValue("id")
	k := slices.IndexFunc(v.Incidents, func(i Incident) bool { return i.ID == id })
	if k < 0 {
		h.say(w, r, http.StatusNotFound, false, "incident.unknown")
		return
	}
	item := newGrid(l, v).incident(v, v.Incidents[k], h.mayAck(r))
	page := incidentDetail{Item: item, Life: newLife(l, v, v.Incidents[k], h.mayAct(r))}
	if !item.IsClosed {
		page.Guide = guideOf(l, v.Incidents[k])
	}
	h.write(w, r, http.StatusOK, frame{Title: item.Name, Name: "incident", District: v.District.in(l), Lang: l, Form: item.Form || h.mayAct(r), Body: page})
}

// ackAddress answers who comes to the address of the form by itself, by loading again or by changing the language.
func (h *handler) ackAddress(w http.ResponseWriter, r *http.Request) {
	language(w, r)
	http.Redirect(w, r, incidentPage(r.PathValue("id")), http.StatusSeeOther)
}

// acknowledge takes a form, and leads back to where it stood.
func (h *handler) acknowledge(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	user, ok := h.incidentForm(w, r)
	if !ok {
		return
	}
	note := oneLine(r.PostForm.Get(noteParam))
	if len(note) > maxNote {
		h.say(w, r, http.StatusRequestEntityTooLarge, true, "incident.form")
		return
	}
	if len(id) > maxID {
		h.say(w, r, http.StatusNotFound, true, "incident.unknown")
		return
	}
	// Who sees one unit takes note of what concerns that unit.
	if h.unit(r.Context()) != "" && !h.seesIncident(w, r, id) {
		return
	}
	err := h.ack(r.Context(), id, user, note)
	h.forget()
	switch {
	case errors.Is(err, incident.ErrUnknown):
		h.say(w, r, http.StatusNotFound, true, "incident.unknown")
	case errors.Is(err, incident.ErrAcknowledged):
		h.say(w, r, http.StatusConflict, true, "incident.twice", h.ackOf(r, id))
	case err != nil:
		h.log.Error("board: not acknowledged", "incident", id, "err", err)
		h.say(w, r, http.StatusServiceUnavailable, true, "incident.unsaved")
	case r.PostForm.Get(backParam) == backIncident:
		http.Redirect(w, r, incidentPage(id), http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/#i-"+url.PathEscape(id), http.StatusSeeOther)
	}
}

// incidentForm reads a form about an incident, and names who sent it; else it is answered.
func (h *handler) incidentForm(w http.ResponseWriter, r *http.Request) (user string, ok bool) {
	if user = h.user(r.Context()); user == "" {
		h.say(w, r, http.StatusForbidden, true, "incident.nouser")
		return "", false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		h.say(w, r, http.StatusBadRequest, true, "incident.form")
		return "", false
	}
	return user, true
}

// seesIncident reports whether who asks may see an incident; else it is answered.
func (h *handler) seesIncident(w http.ResponseWriter, r *http.Request, id string) bool {
	v, err := h.current(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return false
	}
	if !slices.ContainsFunc(v.Incidents, func(i Incident) bool { return i.ID == id }) {
		h.say(w, r, http.StatusNotFound, true, "incident.unknown")
		return false
	}
	return true
}

// ackOf says who acknowledged an incident, as far as the board knows.
func (h *handler) ackOf(r *http.Request, id string) string {
	v, err := h.current(r.Context())
	if err != nil {
		return ""
	}
	l := languageOf(r)
	for _, i := range v.Incidents {
		if i.ID == id && !i.Ack.At.IsZero() {
			return words.Say(l, "incident.by", i.Ack.User, words.At(l, i.Ack.At, v.Now))
		}
	}
	return ""
}

// say answers with a page of a few words: the phrases key and key.what. more, when it says anything, goes before them.
func (h *handler) say(w http.ResponseWriter, r *http.Request, status int, still bool, key string, more ...string) {
	l := language(w, r)
	what := words.Say(l, key+".what")
	if s := strings.Join(more, ""); s != "" {
		what = s + ". " + what
	}
	h.write(w, r, status, frame{Title: words.Say(l, key), Name: "failed", Lang: l, Still: still, Body: failedPage{words.Say(l, key), what}})
}

// forget lets the next page ask the source again.
func (h *handler) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.view, h.asked = View{}, time.Time{}
}

// oneLine makes what a person wrote one line of text.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
}
