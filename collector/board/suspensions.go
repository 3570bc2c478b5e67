package board

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/filing"
	"egovmon/collector/suspend"
)

// Suspensions shows, enters and takes back what was announced not to work.
type Suspensions interface {
	// Enters names who may enter notices, "" for who may not, and the only unit for which, "" for every one.
	Enters(ctx context.Context) (name, unit string)
	Suspensions() ([]Suspension, error)
	Suspend(ctx context.Context, by, unit string, f suspend.Form, document []byte) error
	Withdraw(ctx context.Context, by, unit string, leaf int64, note string) error
}

// A Suspension is one notice as pages show it.
type Suspension struct {
	suspend.Notice
	Standing suspend.Standing
	Last     string // the last day on which it would have been announced in time, YYYY-MM-DD; "" where no rule says one
}

const maxNotice = filing.MaxDocument + formRest // bytes of a form with its document

// soon is how long before its beginning a suspension stands on the first page.
const soon = 7 * 24 * time.Hour

func (h *handler) suspensionPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /suspensions", func(w http.ResponseWriter, r *http.Request) {
		h.writeSuspensions(w, r, http.StatusOK, suspensionsPage{})
	})
	mux.HandleFunc("POST /suspensions", h.changeSuspensions)
}

// A suspensionsPage is what was announced.
type suspensionsPage struct {
	Items    []suspensionItem
	Form     bool // who asks may enter notices
	Wrong    string
	Add      suspend.Form
	Grounds  []option
	Services []option
	Units    []option
}

type suspensionItem struct {
	Sign     string
	Leaf     int64
	Ground   string
	What     string
	When     string
	Document string // number, day and place of the announcement
	Standing string
	Note     string
	By       string
	Back     bool // who asks may take it back
}

// scope names what a notice is about.
func (g grid) scope(v View, n *suspend.Notice) string {
	var service, unit string
	for _, s := range v.Services {
		if s.ID == n.Service {
			service = s.Name.in(g.l)
		}
	}
	for _, u := range v.Units {
		if u.ID == n.Unit {
			unit = u.Name.in(g.l)
		}
	}
	switch service, unit = or(service, n.Service), or(unit, n.Unit); {
	case unit == "":
		return service
	case service == "":
		return unit
	}
	return service + " – " + unit
}

// stretch words when a notice holds; of one that was taken back before it began, when it would have.
func (g grid) stretch(n *suspend.Notice) string {
	end := n.End()
	if !n.From.Before(end) {
		end = n.To
	}
	return words.DateTime(g.l, n.From) + " – " + words.DateTime(g.l, end)
}

// suspended words what does not work as announced, now or soon, for the first page.
func (g grid) suspended(v View) []string {
	var out []string
	for i := range v.Suspensions {
		n := &v.Suspensions[i].Notice
		if n.End().After(g.now) && n.From.Before(n.End()) && n.From.Sub(g.now) <= soon {
			key := "suspend.soon"
			if n.Covers(g.now) {
				key = "suspend.now"
			}
			out = append(out, words.Say(g.l, key, words.Say(g.l, "suspend.ground."+string(n.Ground)), g.scope(v, n), g.stretch(n)))
		}
	}
	return out
}

func (h *handler) writeSuspensions(w http.ResponseWriter, r *http.Request, status int, p suspensionsPage) {
	l := language(w, r)
	v, err := h.whole(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	list, err := h.suspensions.Suspensions()
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	by, unit := h.suspensions.Enters(r.Context())
	sees := h.unit(r.Context())
	g := newGrid(l, v)
	for i := range list {
		n := &list[i].Notice
		if sees != "" && n.Unit != "" && n.Unit != sees {
			continue
		}
		item := suspensionItem{Sign: "none", Leaf: n.Leaf, Ground: words.Say(l, "suspend.ground."+string(n.Ground)), What: g.scope(v, n), When: g.stretch(n), Note: n.Note,
			Document: words.Say(l, "suspend.document", n.Number, words.Date(n.Announced.Start()), n.Place), Standing: words.Say(l, "suspend."+string(list[i].Standing)),
			By: words.Say(l, "suspend.by", n.EnteredBy, words.DateTime(l, n.EnteredAt))}
		if list[i].Standing == suspend.TooLate {
			if d, err := time.Parse(time.DateOnly, list[i].Last); err == nil {
				item.Standing += " (" + words.Say(l, "suspend.last", words.Date(d)) + ")"
			}
		}
		if n.Covers(v.Now) {
			item.Sign = "degraded"
		}
		item.Back = by != "" && n.Withdrawn.IsZero() && v.Now.Before(n.To) && (unit == "" || unit == n.Unit)
		p.Items = append(p.Items, item)
	}
	p.Form = by != ""
	for _, x := range suspend.Grounds() {
		p.Grounds = append(p.Grounds, option{string(x), words.Say(l, "suspend.ground."+string(x)), string(x) == p.Add.Ground})
	}
	p.Services = append([]option{{"", words.Say(l, "suspend.all"), p.Add.Service == ""}}, serviceOptions(l, v.Services, p.Add.Service)...)
	p.Units = unitOptions(l, v, unit, p.Add.Unit)
	h.write(w, r, status, frame{Title: words.Say(l, "suspend.title"), Name: "suspensions", District: v.District.in(l), Lang: l, Still: true, Body: p})
}

// changeSuspensions takes one of the page's forms.
func (h *handler) changeSuspensions(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	by, unit := h.suspensions.Enters(r.Context())
	p := suspensionsPage{}
	h.change(w, r, filingPage{name: "suspensions", forbidden: "suspend.forbidden", form: "users.form", by: by, file: "document", most: filing.MaxDocument, memory: 1 << 20, back: "withdraw",
		add: func(get func(string) string, document []byte) error {
			p.Add = suspend.Form{Ground: get("ground"), Service: get("service"), Unit: get("unit"), From: get("from"), To: get("to"), Number: get("number"),
				Announced: get("announced"), Place: get("place"), Note: get("note")}
			return h.suspensions.Suspend(r.Context(), by, unit, p.Add, document)
		},
		withdraw: func(leaf int64, note string) error { return h.suspensions.Withdraw(r.Context(), by, unit, leaf, note) },
		done:     func() { http.Redirect(w, r, "/suspensions"+language2(r), http.StatusSeeOther) },
		wrong: func(err error) {
			p.Wrong = words.Say(l, "suspend.wrong", err.Error())
			h.writeSuspensions(w, r, http.StatusUnprocessableEntity, p)
		}})
}

// language2 keeps the language that was asked for in an address.
func language2(r *http.Request) string {
	if l := r.URL.Query().Get(langParam); l != "" {
		return "?" + url.Values{langParam: {string(words.ParseLang(l))}}.Encode()
	}
	return ""
}
