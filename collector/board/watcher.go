package board

import (
	"context"
	"errors"
	"net/http"

	"egovmon/agent/words"
	"egovmon/collector/alert"
)

// A Watcher is the place outside that alarms somebody when it hears nothing of this collector, as the board shows and tests it.
type Watcher interface {
	// Rights tells what who asks may do: confirm that a test alarmed them (by is "" for who may not), and begin a test.
	Rights(ctx context.Context) (by string, tests bool)
	Status() alert.WatcherStatus
	// Test makes the watcher alarm. The person whom it alarms reads a code, which Confirm asks for.
	Test(ctx context.Context) error
	// Confirm records that by was alarmed and read the code; see [alert.Watcher.Confirm].
	Confirm(ctx context.Context, by, code string) error
}

func (h *handler) watcherPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /watcher", func(w http.ResponseWriter, r *http.Request) { h.writeWatcher(w, r, http.StatusOK, watcherPage{}) })
	mux.HandleFunc("POST /watcher", h.changeWatcher)
}

// A watcherPage says how it stands with the watcher outside.
type watcherPage struct {
	Sign  string
	State string
	Rows  []watcherRow
	Test  bool // who asks may begin a test
	Code  bool // … and confirm the one under way
	Wrong string
	Done  string
}

// A watcherRow is a line of a small table: what, and how it is.
type watcherRow struct{ Name, Value string }

func newWatcherPage(l words.Lang, s alert.WatcherStatus, by string, tests bool) watcherPage {
	p := watcherPage{Sign: "degraded", State: words.Say(l, "watcher.page."+s.State)}
	if s.State == alert.WatcherConfirmed {
		if p.Sign = "up"; s.Error != "" {
			p.Sign = "down"
		}
	}
	if s.State == alert.WatcherNone {
		p.Sign = "unknown"
		return p
	}
	row := func(key, value string) { p.Rows = append(p.Rows, watcherRow{words.Say(l, key), value}) }
	if !s.Confirmed.IsZero() {
		row("watcher.page.confirmed.at", words.DateTime(l, s.Confirmed)+" · "+oneLine(s.By))
	}
	if !s.Tested.IsZero() {
		row("watcher.page.tested", words.DateTime(l, s.Tested))
	}
	if !s.Last.IsZero() {
		row("watcher.page.last", words.DateTime(l, s.Last))
	}
	if s.Error != "" {
		row("watcher.page.error", oneLine(s.Error))
	}
	if s.Blind != "" {
		row("watcher.page.blind", words.Say(l, "watcher.blind"))
	}
	p.Test, p.Code = tests, by != "" && s.State == alert.WatcherTesting
	return p
}

func (h *handler) writeWatcher(w http.ResponseWriter, r *http.Request, status int, said watcherPage) {
	l := language(w, r)
	v, err := h.whole(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	by, tests := h.watcher.Rights(r.Context())
	p := newWatcherPage(l, h.watcher.Status(), by, tests)
	p.Wrong, p.Done = said.Wrong, said.Done
	w.Header().Set("Cache-Control", "no-store")
	h.write(w, r, status, frame{Title: words.Say(l, "watcher.title"), Name: "watcher", District: v.District.in(l), Lang: l, Still: p.Wrong != "" || p.Done != "", Form: p.Code, Body: p})
}

// changeWatcher begins a test, or records who was alarmed by it.
func (h *handler) changeWatcher(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	by, tests := h.watcher.Rights(r.Context())
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	var err error
	p := watcherPage{}
	switch do := r.PostForm.Get("do"); {
	case do == "test" && tests:
		p.Done, err = words.Say(l, "watcher.page.begun"), h.watcher.Test(r.Context())
	case do == "confirm" && by != "":
		p.Done, err = words.Say(l, "watcher.page.done"), h.watcher.Confirm(r.Context(), by, oneLine(r.PostForm.Get("code")))
	case do == "test", do == "confirm":
		h.say(w, r, http.StatusForbidden, true, "watcher.forbidden")
		return
	default:
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	h.forget()
	if err != nil {
		h.log.Warn("board: the watcher outside", "do", r.PostForm.Get("do"), "by", by, "err", err)
		h.writeWatcher(w, r, http.StatusUnprocessableEntity, watcherPage{Wrong: wrongWatcher(l, err)})
		return
	}
	h.writeWatcher(w, r, http.StatusOK, p)
}

// wrongWatcher says in words why a test was not begun, or not confirmed.
func wrongWatcher(l words.Lang, err error) string {
	switch {
	case errors.Is(err, alert.ErrNoWatcher):
		return words.Say(l, "watcher.page.none")
	case errors.Is(err, alert.ErrNoTest):
		return words.Say(l, "watcher.wrong.none")
	case errors.Is(err, alert.ErrWrongCode):
		return words.Say(l, "watcher.wrong.code")
	}
	return words.Say(l, "watcher.wrong", oneLine(err.Error()))
}
