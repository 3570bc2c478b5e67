package board

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check/certlist"
	"egovmon/agent/check/signature"
	"egovmon/agent/words"
	"egovmon/collector/certs"
)

// A Registry shows and changes the register of the certificates that people sign with.
type Registry interface {
	// Rights tells what who asks may do: enter certificates (by is "" for who may not), for one unit or, with "", for
	// all; and see whose there are.
	Rights(ctx context.Context) (by, unit string, names bool)
	// Certificates lists the register by unit, as far as who asks may see it.
	Certificates(ctx context.Context) ([]Certificates, error)
	Enter(ctx context.Context, unit string, text []byte) (certs.Added, error)
	Remove(ctx context.Context, leaf int64) error
}

// Certificates are those of one unit.
type Certificates struct {
	certs.Tally
	Name Name
	List []certs.Entry // for who may see names, else nil
}

func (h *handler) certPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /certs", func(w http.ResponseWriter, r *http.Request) { h.writeCerts(w, r, http.StatusOK, certsPage{}) })
	mux.HandleFunc("POST /certs", h.changeCerts)
}

// A certsPage is the register.
type certsPage struct {
	Units  []certsItem
	People []holderItem // for who may see names
	Names  bool
	Form   bool
	Choose []option // units for which who asks may enter certificates
	Wrong  string
	Done   string
}

type certsItem struct {
	Sign    string
	Name    string
	Counts  [certlist.Classes]string
	Renewed int
	Other   int
	Erased  int
	Revoked int
	Stray   int
	First   string
}

type holderItem struct {
	Leaf   int64
	Sign   string
	Holder string
	Of     string
	Unit   string
	Ends   string
	Left   string
}

// classSign is the sign of a class.
func classSign(c certlist.Class) string {
	switch c {
	case certlist.Ended, certlist.In15:
		return "down"
	case certlist.In30, certlist.In60:
		return "degraded"
	}
	return "up"
}

func (h *handler) writeCerts(w http.ResponseWriter, r *http.Request, status int, p certsPage) {
	l := language(w, r)
	v, err := h.whole(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	list, err := h.registry.Certificates(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	by, unit, names := h.registry.Rights(r.Context())
	p.Form, p.Names = by != "", names
	for _, u := range list {
		item := certsItem{Sign: "none", Name: u.Name.in(l), Renewed: u.Renewed, Other: u.Other, Erased: u.Erased, Revoked: u.Revoked, Stray: u.Stray}
		for class := certlist.Classes - 1; class >= 0; class-- {
			if n := u.Classes[class]; n > 0 {
				item.Counts[class], item.Sign = strconv.Itoa(n), classSign(class)
			}
		}
		if u.Revoked > 0 {
			item.Sign = "down"
		}
		if !u.First.IsZero() {
			item.First = words.Date(u.First)
		}
		p.Units = append(p.Units, item)
		if names {
			p.People = append(p.People, holdersOf(l, u, v.Now)...)
		}
	}
	p.Choose = slices.DeleteFunc(unitOptions(l, v, unit, ""), func(o option) bool { return o.Value == "" }) // a certificate is of one unit
	w.Header().Set("Cache-Control", "no-store")
	h.write(w, r, status, frame{Title: words.Say(l, "certs.title"), Name: "certs", District: v.District.in(l), Lang: l, Still: true, Body: p})
}

// holdersOf lists the certificates of a unit by name.
func holdersOf(l words.Lang, u Certificates, now time.Time) []holderItem {
	var out []holderItem
	for _, e := range u.List {
		i := holderItem{Leaf: e.Leaf, Sign: "none", Unit: u.Name.in(l), Holder: words.Say(l, "certs.erased")}
		if c := e.Cert; c != nil {
			i.Sign, i.Holder, i.Of, i.Ends = classSign(certlist.Of(c, now)), oneLine(c.Subject.CommonName), oneLine(strings.Join(certlist.Units(c), ", ")), words.Date(c.NotAfter)
			days := int(math.Floor(c.NotAfter.Sub(now).Hours() / 24))
			if i.Left = words.Say(l, "certs.left", days); days < 0 {
				i.Left = words.Say(l, "certs.ended")
			}
			switch e.Standing {
			case signature.Revoked:
				i.Sign, i.Left = "down", words.Say(l, "certs.revoked")
			case signature.Stray:
				i.Left += " · " + words.Say(l, "certs.stray")
			}
		}
		out = append(out, i)
	}
	return out
}

// changeCerts takes one of the page's forms.
func (h *handler) changeCerts(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	by, _, _ := h.registry.Rights(r.Context())
	p := certsPage{}
	// A private key that somebody chose by mistake must not reach the disk: all of the form is kept in memory.
	h.change(w, r, filingPage{name: "certificates", forbidden: "certs.forbidden", form: "certs.form", by: by, file: "file", most: certs.MaxUpload, memory: certs.MaxUpload + formRest, back: "remove",
		add: func(get func(string) string, text []byte) error {
			if text == nil {
				return errors.New("no file was chosen")
			}
			a, err := h.registry.Enter(r.Context(), get("unit"), text)
			p.Done = words.Say(l, "certs.added", a.New, a.Known, a.Skipped)
			return err
		},
		withdraw: func(leaf int64, _ string) error {
			p.Done = words.Say(l, "certs.removed")
			return h.registry.Remove(r.Context(), leaf)
		},
		done: func() { h.writeCerts(w, r, http.StatusOK, p) },
		wrong: func(err error) {
			p.Done, p.Wrong = "", wrongCerts(l, err)
			h.writeCerts(w, r, http.StatusUnprocessableEntity, p)
		}})
}

// wrongCerts says in words why the register was not changed.
func wrongCerts(l words.Lang, err error) string {
	switch {
	case errors.Is(err, certlist.ErrPrivateKey), errors.Is(err, certlist.ErrPKCS12):
		return words.Say(l, "certs.wrong.key")
	case errors.Is(err, certs.ErrNobody):
		return words.Say(l, "certs.wrong.nobody")
	}
	return words.Say(l, "certs.wrong", err.Error())
}
