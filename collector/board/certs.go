package board

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check/certlist"
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
		item := certsItem{Sign: "none", Name: u.Name.in(l), Renewed: u.Renewed, Other: u.Other, Erased: u.Erased}
		for class := certlist.Classes - 1; class >= 0; class-- {
			if n := u.Classes[class]; n > 0 {
				item.Counts[class], item.Sign = strconv.Itoa(n), classSign(class)
			}
		}
		if !u.First.IsZero() {
			item.First = words.Date(u.First)
		}
		p.Units = append(p.Units, item)
		if names {
			p.People = append(p.People, holdersOf(l, u, v.Now)...)
		}
	}
	for _, u := range v.Units {
		if unit == "" || unit == u.ID {
			p.Choose = append(p.Choose, option{u.ID, u.Name.in(l), false})
		}
	}
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
		}
		out = append(out, i)
	}
	return out
}

// changeCerts takes one of the page's forms.
func (h *handler) changeCerts(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	by, _, _ := h.registry.Rights(r.Context())
	if by == "" {
		h.say(w, r, http.StatusForbidden, true, "certs.forbidden")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, certs.MaxUpload+64<<10)
	if err := r.ParseMultipartForm(certs.MaxUpload + 64<<10); err != nil {
		h.say(w, r, http.StatusBadRequest, true, "certs.form")
		return
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	var err error
	p := certsPage{}
	switch do := oneLine(r.PostForm.Get("do")); do {
	case "add":
		var text []byte
		if text, err = certsFile(r); err == nil {
			var a certs.Added
			if a, err = h.registry.Enter(r.Context(), oneLine(r.PostForm.Get("unit")), text); err == nil {
				p.Done = words.Say(l, "certs.added", a.New, a.Known, a.Skipped)
			}
		}
	case "remove":
		leaf, bad := strconv.ParseInt(r.PostForm.Get("leaf"), 10, 64)
		if bad != nil {
			h.say(w, r, http.StatusBadRequest, true, "users.form")
			return
		}
		if err = h.registry.Remove(r.Context(), leaf); err == nil {
			p.Done = words.Say(l, "certs.removed")
		}
	default:
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	status := http.StatusOK
	if err != nil {
		h.log.Warn("board: the register of certificates was not changed", "by", by, "err", err)
		status, p.Wrong = http.StatusUnprocessableEntity, wrongCerts(l, err)
	}
	h.writeCerts(w, r, status, p)
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

// certsFile returns the file of the form.
func certsFile(r *http.Request) ([]byte, error) {
	f, _, err := r.FormFile("file")
	if err != nil {
		return nil, errors.New("no file was chosen")
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, certs.MaxUpload+1))
}
