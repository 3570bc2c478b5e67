package board

import (
	"net/http"
	"slices"
	"strings"

	"egovmon/agent/words"
)

// statusPath is the page for everybody.
const statusPath = "/status"

// A statusPage says to everybody how the public services are: their names, their states and what was announced. Units,
// machines, causes, incidents and people are nobody's outside.
type statusPage struct {
	District string
	Received string
	Services []statusItem
}

type statusItem struct {
	Sign      string
	Name      string
	Word      string
	Announced []string // suspensions, now or soon
}

func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	v, err := h.whole(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	l := language(w, r)
	h.write(w, r, http.StatusOK, frame{Title: words.Say(l, "status.title"), Name: "status", District: v.District.in(l), Lang: l, Home: true, Body: newStatus(l, v, h.public)})
}

func newStatus(l words.Lang, v View, public []string) statusPage {
	g, p := newGrid(l, v), statusPage{District: v.District.in(l)}
	if !v.Received.IsZero() {
		p.Received = words.DateTime(l, v.Received)
	}
	for _, s := range v.Services {
		if !slices.Contains(public, s.ID) {
			continue
		}
		i := statusItem{Name: or(s.Name.in(l), s.ID), Sign: "none", Word: words.Say(l, "board.notmeasured")}
		if c, ok := g.cells[cellKey{s.ID, ""}]; ok {
			i.Sign, i.Word = c.State.String(), stateWord(l, c.State)
		}
		for _, x := range v.Suspensions {
			if n := &x.Notice; n.Service == s.ID && n.Unit == "" && n.End().After(v.Now) && n.From.Before(n.End()) && n.From.Sub(v.Now) <= soon {
				i.Announced = append(i.Announced, words.Say(l, "suspend.ground."+string(n.Ground))+": "+g.stretch(n))
			}
		}
		p.Services = append(p.Services, i)
	}
	return p
}

// Public keeps of a board's pages those that everybody may see: the page of public services, and the style and script of
// pages. others answers all else. pages serves nobody in particular there: a right that came with the request is not asked for.
func Public(pages, others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if looks := r.Method == http.MethodGet || r.Method == http.MethodHead; looks && (r.URL.Path == statusPath || strings.HasPrefix(r.URL.Path, "/assets/")) {
			pages.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}
