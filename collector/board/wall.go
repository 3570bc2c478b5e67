package board

import (
	"cmp"
	"net/http"
	"slices"

	"egovmon/agent/words"
)

const (
	mostWalled   = 5  // incidents on the wall; there is no pointer to scroll with
	mostCounters = 12 // likewise
)

// A wallPage is the first page for a screen on the wall: what is wrong, from afar.
type wallPage struct {
	frontPage
	Opened       int    // open incidents, shown or not
	MoreOpen     string // how many of those are left out, in words
	MoreCounters string // likewise of counters
}

func (h *handler) wall(w http.ResponseWriter, r *http.Request) {
	v, err := h.current(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	l := language(w, r)
	h.write(w, r, http.StatusOK, frame{Title: words.Say(l, "wall.title"), Name: "wall", District: v.District.in(l), Lang: l, Body: newWall(l, v)})
}

// newWall makes the page: the worst first, and no more of it than a screen shows.
func newWall(l words.Lang, v View) wallPage {
	p := wallPage{frontPage: newFront(l, v, false)}
	p.Opened = len(p.Open)
	slices.SortStableFunc(p.Rows, func(a, b row) int { return cmp.Compare(weight(a.Whole.State), weight(b.Whole.State)) })
	if n := len(p.Open) - mostWalled; n > 0 {
		p.Open, p.MoreOpen = p.Open[:mostWalled], words.Say(l, "board.more", n)
	}
	if n := len(p.Counters) - mostCounters; n > 0 {
		p.Counters, p.MoreCounters = p.Counters[:mostCounters], words.Say(l, "board.more", n)
	}
	return p
}
