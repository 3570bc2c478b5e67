package board

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/verdict"
)

// A helpPage is the words of the field and the chapters of the runbook.
type helpPage struct {
	Chapters []nameLink
	Terms    []Name
}

// A chapterPage says what to do about one kind of part, by reason.
type chapterPage struct {
	Name, Impact, First, Call string
	Reasons                   []chapterReason
}

type chapterReason struct {
	Reason              check.Reason
	Title, Impact, Then string
}

// A guide is the page of the runbook that an incident asks for.
type guide struct {
	verdict.Entry
	Link string // of its chapter, at its reason
}

func chapterLink(k verdict.Kind) string { return "/help/" + url.PathEscape(string(k)) }

// guideOf finds the page of the runbook for an incident: by what its cause shows to be broken, or else by its kind. A kind
// that this version does not know has none.
func guideOf(l words.Lang, i Incident) *guide {
	k := verdict.Kind(cmp.Or(i.Cause.Kind, i.Kind))
	if !slices.Contains(verdict.Kinds(), k) {
		return nil
	}
	g := &guide{verdict.Runbook(l, k, i.Reason), chapterLink(k)}
	if slices.Contains(k.Reasons(), i.Reason) {
		g.Link += "#" + url.PathEscape(string(i.Reason))
	}
	return g
}

func (h *handler) help(w http.ResponseWriter, r *http.Request) {
	l, p := language(w, r), helpPage{Terms: terms()}
	for _, k := range verdict.Kinds() {
		p.Chapters = append(p.Chapters, nameLink{verdict.PartName(l, k), chapterLink(k)})
	}
	h.write(w, r, http.StatusOK, frame{Title: words.Say(l, "help.title"), Name: "help", Lang: l, Still: true, Body: p})
}

func (h *handler) helpChapter(w http.ResponseWriter, r *http.Request) {
	k := verdict.Kind(r.PathValue("kind"))
	if !slices.Contains(verdict.Kinds(), k) {
		h.failed(w, r, http.StatusNotFound, nil)
		return
	}
	l := language(w, r)
	whole := verdict.Runbook(l, k, "")
	p := chapterPage{Name: verdict.PartName(l, k), Impact: whole.Impact, First: whole.First, Call: whole.Call}
	for _, x := range k.Reasons() {
		e := verdict.Runbook(l, k, x)
		p.Reasons = append(p.Reasons, chapterReason{x, words.Reason(l, x).Title, e.Impact, e.Then})
	}
	h.write(w, r, http.StatusOK, frame{Title: p.Name, Name: "chapter", Lang: l, Still: true, Body: p})
}
