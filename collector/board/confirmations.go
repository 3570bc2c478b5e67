package board

import (
	"context"
	"net/http"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/confirm"
	"egovmon/collector/filing"
)

// Confirmations shows, enters and takes back what documents say of services that nothing can measure.
type Confirmations interface {
	// Confirms names who may enter confirmations, "" for who may not, and the only unit for which, "" for every one.
	Confirms(ctx context.Context) (name, unit string)
	Confirmations() ([]confirm.Word, error)
	Confirm(ctx context.Context, by, unit string, f confirm.Form, document []byte) error
	TakeBack(ctx context.Context, by, unit string, leaf int64, note string) error
}

func (h *handler) confirmationPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /confirmations", func(w http.ResponseWriter, r *http.Request) {
		h.writeConfirmations(w, r, http.StatusOK, confirmationsPage{})
	})
	mux.HandleFunc("POST /confirmations", h.changeConfirmations)
}

// A confirmationsPage is what documents say.
type confirmationsPage struct {
	Items    []confirmationItem
	Form     bool // who asks may enter confirmations
	Wrong    string
	Add      confirm.Form
	Services []option
	Units    []option
	States   []option
}

type confirmationItem struct {
	Sign     string
	Leaf     int64
	What     string
	State    string
	When     string
	Document string // number, day and issuer
	Standing string
	Note     string
	By       string
	Back     bool // who asks may take it back
}

func (h *handler) writeConfirmations(w http.ResponseWriter, r *http.Request, status int, p confirmationsPage) {
	l := language(w, r)
	v, err := h.whole(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	list, err := h.confirmations.Confirmations()
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	by, unit := h.confirmations.Confirms(r.Context())
	sees := h.unit(r.Context())
	name := map[string]string{}
	for _, s := range v.Services {
		name[s.ID] = s.title(l)
	}
	unitName := map[string]string{}
	for _, u := range v.Units {
		unitName[u.ID] = u.Name.in(l)
	}
	for i := len(list) - 1; i >= 0; i-- {
		c := &list[i]
		if sees != "" && c.Unit != "" && c.Unit != sees {
			continue
		}
		item := confirmationItem{Sign: "none", Leaf: c.Leaf, What: or(name[c.Service], c.Service), State: words.State(l, c.State), Note: c.Note, Standing: words.Say(l, "confirm.counts"),
			When:     words.Say(l, "confirm.when", words.DateTime(l, c.From), words.Date(c.ValidTo.Start())),
			Document: words.Say(l, "suspend.document", c.Number, words.Date(c.Issued.Start()), c.Issuer), By: words.Say(l, "suspend.by", c.EnteredBy, words.DateTime(l, c.EnteredAt))}
		if c.Unit != "" {
			item.What += " – " + or(unitName[c.Unit], c.Unit)
		}
		switch {
		case c.Withdrawn:
			item.Standing = words.Say(l, "confirm.withdrawn")
		case !v.Now.Before(c.End()):
			item.Standing = words.Say(l, "confirm.expired")
		default:
			item.Sign = signOf(l, c.State).Class()
		}
		item.Back = by != "" && !c.Withdrawn && (unit == "" || unit == c.Unit)
		p.Items = append(p.Items, item)
	}
	for _, s := range v.Services {
		if s.How == HowAttested {
			p.Services = append(p.Services, option{s.ID, s.Name.in(l), s.ID == p.Add.Service})
		}
	}
	p.Form = by != "" && len(p.Services) > 0
	for _, s := range []check.State{check.Up, check.Degraded, check.Down} {
		p.States = append(p.States, option{s.String(), words.State(l, s), s.String() == p.Add.State})
	}
	p.Units = unitOptions(l, v, unit, p.Add.Unit)
	h.write(w, r, status, frame{Title: words.Say(l, "confirm.title"), Name: "confirmations", District: v.District.in(l), Lang: l, Still: true, Body: p})
}

// changeConfirmations takes one of the page's forms.
func (h *handler) changeConfirmations(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	by, unit := h.confirmations.Confirms(r.Context())
	p := confirmationsPage{}
	h.change(w, r, filingPage{name: "confirmations", forbidden: "confirm.forbidden", form: "users.form", by: by, file: "document", most: filing.MaxDocument, memory: 1 << 20, back: "withdraw",
		add: func(get func(string) string, document []byte) error {
			p.Add = confirm.Form{Service: get("service"), Unit: get("unit"), State: get("state"), From: get("from"), ValidTo: get("valid_to"), Number: get("number"), Issued: get("issued"),
				Issuer: get("issuer"), Note: get("note")}
			return h.confirmations.Confirm(r.Context(), by, unit, p.Add, document)
		},
		withdraw: func(leaf int64, note string) error {
			return h.confirmations.TakeBack(r.Context(), by, unit, leaf, note)
		},
		done: func() { http.Redirect(w, r, "/confirmations"+language2(r), http.StatusSeeOther) },
		wrong: func(err error) {
			p.Wrong = words.Say(l, "suspend.wrong", err.Error())
			h.writeConfirmations(w, r, http.StatusUnprocessableEntity, p)
		}})
}
