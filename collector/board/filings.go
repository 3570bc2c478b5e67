package board

import (
	"io"
	"net/http"
	"strconv"

	"egovmon/agent/words"
)

// formRest is the most bytes of a form beside its document.
const formRest = 64 << 10

// A filingPage is a page on which people enter documents and take them back.
type filingPage struct {
	name      string // in the log
	forbidden string // phrase for who may enter nothing
	form      string // phrase for a form that cannot be read
	by        string // who enters; "" for who may not
	file      string // the form's field with the document
	most      int64  // bytes of the document
	memory    int64  // bytes of a form that are kept off the disk
	back      string // the deed that takes a document back
	add       func(get func(name string) string, document []byte) error
	withdraw  func(leaf int64, note string) error
	done      func()          // answers when it was entered or taken back
	wrong     func(err error) // answers when it was not
}

// change takes one of the page's forms.
func (h *handler) change(w http.ResponseWriter, r *http.Request, p filingPage) {
	if p.by == "" {
		h.say(w, r, http.StatusForbidden, true, p.forbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, p.most+formRest)
	if err := r.ParseMultipartForm(p.memory); err != nil {
		h.say(w, r, http.StatusBadRequest, true, p.form)
		return
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	get := func(name string) string { return oneLine(r.PostForm.Get(name)) }
	leaf, bad := strconv.ParseInt(get("leaf"), 10, 64)
	var err error
	switch do := get("do"); {
	case do == "add":
		var document []byte
		if document, err = uploaded(r, p.file, p.most); err == nil {
			err = p.add(get, document)
		}
	case do == p.back && bad == nil:
		err = p.withdraw(leaf, get("note"))
	default:
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	h.forget()
	if err != nil {
		h.log.Warn("board: "+p.name+" not changed", "do", get("do"), "by", p.by, "err", err)
		p.wrong(err)
		return
	}
	p.done()
}

// uploaded returns the file of a form, cut after the first byte that is too much; nil when none was chosen.
func uploaded(r *http.Request, name string, most int64) ([]byte, error) {
	f, _, err := r.FormFile(name)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// serviceOptions offer the services of a view.
func serviceOptions(l words.Lang, list []Service, chosen string) (out []option) {
	for _, s := range list {
		out = append(out, option{s.ID, s.Name.in(l), s.ID == chosen})
	}
	return out
}

// unitOptions offer the units of a view, and all of it; who is bound to one, that one alone.
func unitOptions(l words.Lang, v View, only, chosen string) (out []option) {
	if only == "" {
		out = []option{{"", words.Say(l, "users.everywhere"), chosen == ""}}
	}
	for _, u := range v.Units {
		if only == "" || only == u.ID {
			out = append(out, option{u.ID, u.Name.in(l), u.ID == chosen})
		}
	}
	return out
}
