package board

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/incident"
)

// Options say how to make the handler.
type Options struct {
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Logger takes what went wrong. Nil discards it.
	Logger *slog.Logger
	// Fresh is how long one View is shown to everybody before the source is asked again. Default 1 s; less than 0 asks
	// every time.
	Fresh time.Duration
	// Ack records that a user took note of an incident, with a note that may be empty; only one line comes, of at most 500
	// bytes. An error that wraps incident.ErrUnknown or incident.ErrAcknowledged is said to the user; of others, that
	// nothing was recorded. Nil: the board has no buttons.
	Ack func(ctx context.Context, id, user, note string) error
	// Act records what else a user does to an incident. nil for a board on which nobody does.
	Act func(ctx context.Context, id string, a incident.Act) error
	// User names who acts in a request. Who has no name, nobody has while it is nil, gets no buttons.
	User func(ctx context.Context) string
	// Unit is the only unit that who acts may see; "", and nil, is all.
	Unit func(ctx context.Context) string
	// People shows and changes who may enter. Nil: the board has no such page.
	People People
	// Suspensions shows and changes what was announced not to work. Nil: the board has no such page.
	Suspensions Suspensions
	// Confirmations shows and changes what documents say of services that nothing measures. Nil: the board has no such page.
	Confirmations Confirmations
	// Registry shows and changes the register of certificates. Nil: the board has no such page.
	Registry Registry
	// Watcher shows and tests the place outside that alarms somebody when this collector falls silent. Nil: the board has no such page.
	Watcher Watcher
	// Public are the services whose state anybody may see. None: the board has no such page; see [Public].
	Public []string
	// Reports shows reports and moves them on. Nil: the board has no such page.
	Reports Reports
	// History works out the figures of a period, as far as who asks may see them; the error wraps ErrForbidden for who may
	// not. Nil: the board has no such page.
	History func(ctx context.Context, q HistoryQuery) (History, error)
	// Prover shows how the log can be proven, and proves exports. Nil: the board has no such page.
	Prover Prover
	// Fleet shows the machines that measure, and lets new ones in. Nil: the board has no such page.
	Fleet Fleet
}

// Names of what a browser keeps or sends.
const (
	langCookie = "egovmon-lang"
	langParam  = "lang"
	partParam  = "part" // part=main asks for what changes, without the frame around it

	policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

type handler struct {
	src           Source
	now           func() time.Time
	log           *slog.Logger
	fresh         time.Duration
	ack           func(ctx context.Context, id, user, note string) error
	act           func(ctx context.Context, id string, a incident.Act) error
	user          func(ctx context.Context) string
	unit          func(ctx context.Context) string
	people        People
	suspensions   Suspensions
	confirmations Confirmations
	reports       Reports
	history       func(ctx context.Context, q HistoryQuery) (History, error)
	registry      Registry
	watcher       Watcher
	prover        Prover
	fleet         Fleet
	public        []string
	assets        *assets
	pages         *template.Template

	mu    sync.Mutex // held while the source is asked, so that many browsers cost one question
	view  View
	asked time.Time
}

// NewHandler answers the board's pages, its assets, and the same in JSON for programs:
//
//	/                               the first page
//	/service/{service}              one service in every unit
//	/check/{machine}/{check}        what one check saw last
//	/incident/{id}                  one incident
//	/incident/{id}/ack              takes note of it (POST, form value note)
//	/incident/{id}/act              assigns, comments, classifies or concludes it (POST, form values what, to, note, class, measure)
//	/status                         the public services, for everybody
//	/wall                           the first page for a screen on the wall, without a pointer
//	/help                           the words of the field, and the chapters of the runbook
//	/help/{kind}                    what to do about one kind of part, by reason
//	/account                        who one is, and one's password
//	/history                        the figures of a period
//	/reports                        drafts and issued reports; /reports/file is one of them
//	/suspensions                    what was announced not to work
//	/confirmations                  what documents say of services that nothing measures
//	/audit                          the log, who cosigns it, and the proof of an export
//	/fleet                          the machines that measure
//	/certs                          the certificates that people sign with
//	/watcher                        the place outside that notices when the collector falls silent
//	/users                          who may enter, and programs' tokens; for administrators
//	/api/board                      a View
//	/api/check/{machine}/{check}    a Detail
//	/assets/NAME                    style and script, named by their hash
func NewHandler(src Source, o Options) http.Handler {
	h := &handler{src: src, now: o.Now, log: o.Logger, fresh: o.Fresh, ack: o.Ack, act: o.Act, user: o.User, unit: o.Unit, people: o.People, suspensions: o.Suspensions, confirmations: o.Confirmations, registry: o.Registry, watcher: o.Watcher, public: o.Public, history: o.History, reports: o.Reports, prover: o.Prover, fleet: o.Fleet,
		assets: loadAssets(), pages: parsePages()}
	if h.now == nil {
		h.now = time.Now
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.fresh == 0 {
		h.fresh = time.Second
	}
	if h.user == nil {
		h.user = func(context.Context) string { return "" }
	}
	if h.unit == nil {
		h.unit = func(context.Context) string { return "" }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.front)
	mux.HandleFunc("GET /service/{service}", h.service)
	mux.HandleFunc("GET /check/{machine}/{check}", h.check)
	mux.HandleFunc("GET /incident/{id}", h.incident)
	if len(h.public) > 0 {
		mux.HandleFunc("GET "+statusPath, h.status)
	}
	mux.HandleFunc("GET /wall", h.wall)
	mux.HandleFunc("GET /help", h.help)
	mux.HandleFunc("GET /help/{kind}", h.helpChapter)
	if h.ack != nil {
		mux.HandleFunc("GET /incident/{id}/ack", h.ackAddress)
		mux.HandleFunc("POST /incident/{id}/ack", h.acknowledge)
	}
	if h.act != nil {
		mux.HandleFunc("GET /incident/{id}/act", h.ackAddress)
		mux.HandleFunc("POST /incident/{id}/act", h.doAct)
	}
	if h.people != nil {
		h.peoplePages(mux)
	}
	if h.fleet != nil {
		h.fleetPages(mux)
	}
	if h.prover != nil {
		h.auditPages(mux)
	}
	if h.registry != nil {
		h.certPages(mux)
	}
	if h.watcher != nil {
		h.watcherPages(mux)
	}
	if h.confirmations != nil {
		h.confirmationPages(mux)
	}
	if h.suspensions != nil {
		h.suspensionPages(mux)
	}
	if h.reports != nil {
		h.reportPages(mux)
	}
	if h.history != nil {
		mux.HandleFunc("GET /history", h.historyPage)
		mux.HandleFunc("GET /api/history", h.apiHistory)
	}
	mux.HandleFunc("GET /api/board", h.apiBoard)
	mux.HandleFunc("GET /api/check/{machine}/{check}", h.apiCheck)
	mux.HandleFunc("GET /assets/{name}", h.assets.serve)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { h.failed(w, r, http.StatusNotFound, nil) })
	return mux
}

// current returns the View, at most fresh old, as far as who asks may see it.
func (h *handler) current(ctx context.Context) (View, error) {
	v, err := h.whole(ctx)
	if unit := h.unit(ctx); err == nil && unit != "" {
		v = v.of(unit)
	}
	return v, err
}

// whole returns the View for who may see all.
func (h *handler) whole(ctx context.Context) (View, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if age := now.Sub(h.asked); !h.asked.IsZero() && age >= 0 && age < h.fresh {
		return h.view, nil
	}
	v, err := h.src.View(ctx)
	if err != nil {
		return View{}, err
	}
	if v.Now.IsZero() {
		v.Now = now
	}
	h.view, h.asked = v, now
	return v, nil
}

func (h *handler) front(w http.ResponseWriter, r *http.Request) {
	v, err := h.current(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	l := language(w, r)
	p := newFront(l, v, h.mayAck(r))
	form := slices.ContainsFunc(p.Open, func(i incidentItem) bool { return i.Form })
	h.write(w, r, http.StatusOK, frame{Title: v.District.in(l), Name: "front", District: v.District.in(l), Lang: l, Home: true, Form: form, Body: p})
}

func (h *handler) service(w http.ResponseWriter, r *http.Request) {
	v, err := h.current(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	l := language(w, r)
	p, ok := newServicePage(l, v, r.PathValue("service"))
	if !ok {
		h.failed(w, r, http.StatusNotFound, nil)
		return
	}
	h.write(w, r, http.StatusOK, frame{Title: p.Name, Name: "service", District: v.District.in(l), Lang: l, Body: p})
}

func (h *handler) check(w http.ResponseWriter, r *http.Request) {
	v, err := h.current(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	d, ok, err := h.detail(r)
	switch {
	case err != nil:
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	case !ok:
		h.failed(w, r, http.StatusNotFound, nil)
		return
	}
	l := language(w, r)
	p := newCheckPage(l, v, d)
	h.write(w, r, http.StatusOK, frame{Title: p.ServiceName + " – " + d.Check, Name: "check", District: v.District.in(l), Lang: l, Body: p})
}

// detail is the check of the address, if who asks may see it.
func (h *handler) detail(r *http.Request) (d Detail, ok bool, err error) {
	d, ok, err = h.src.Check(r.Context(), r.PathValue("machine"), r.PathValue("check"))
	if unit := h.unit(r.Context()); unit != "" && d.Unit != unit {
		return Detail{}, false, err
	}
	return d, ok, err
}

func (h *handler) apiBoard(w http.ResponseWriter, r *http.Request) {
	v, err := h.current(r.Context())
	if err != nil {
		h.log.Error("board: no view", "err", err)
		http.Error(w, "the board has nothing to show at the moment; the collector's log says why", http.StatusServiceUnavailable)
		return
	}
	h.json(w, v)
}

func (h *handler) apiCheck(w http.ResponseWriter, r *http.Request) {
	d, ok, err := h.detail(r)
	switch {
	case err != nil:
		h.log.Error("board: no check", "err", err)
		http.Error(w, "the check cannot be shown at the moment; the collector's log says why", http.StatusServiceUnavailable)
	case !ok:
		http.Error(w, "no result of this check of this machine is kept", http.StatusNotFound)
	default:
		h.json(w, d)
	}
}

func (h *handler) json(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		h.log.Error("board: not written", "err", err)
		http.Error(w, "internal error; the collector's log says more", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(data, '\n'))
}

// failed answers with a page that says what happened.
func (h *handler) failed(w http.ResponseWriter, r *http.Request, status int, err error) {
	if err != nil && r.Context().Err() == nil {
		h.log.Error("board: no page", "path", r.URL.Path, "err", err)
	}
	l, key := language(w, r), "board.failed"
	if status == http.StatusNotFound {
		key = "board.notfound"
	}
	h.write(w, r, status, frame{Title: words.Say(l, key), Name: "failed", Lang: l, Body: failedPage{words.Say(l, key), words.Say(l, key+".what")}})
}

type failedPage struct{ Title, What string }

// A frame is what stands around every page.
type frame struct {
	Title               string
	Name                string // of the template of Body
	District            string
	Lang                words.Lang
	Home                bool // the first page itself
	Body                any
	Form                bool // somebody may be writing: without scripts the page is not loaded again so soon
	Still               bool // it answers a form and is not to be asked for again
	Style, Script, Icon string
	OtherLang           string // address of this page in the other language
	Me                  string // who has signed in; "" while there are no users
	Admin               bool   // … and may change who may enter
	Suspensions         bool   // there is a page of what was announced
	Confirmations       bool   // … and one of what documents say
	History             bool   // … and one of figures
	Reports             bool   // … and one of reports
	Registry            bool   // there is a page of certificates
	Watcher             bool   // … and one of the watcher outside
	Audit               bool   // … and one of proofs
	Fleet               bool   // … and one of machines
}

// Say is words.Say in the frame's language, for templates.
func (f frame) Say(key string, args ...any) string { return words.Say(f.Lang, key, args...) }

// NoteChars is how much of a note a browser lets somebody write.
func (f frame) NoteChars() int { return noteChars }

// write renders a page, or with part=main only what changes of it, and answers 304 to who has it already.
func (h *handler) write(w http.ResponseWriter, r *http.Request, status int, f frame) {
	f.Style, f.Script, f.Icon = h.assets.path("board.css"), h.assets.path("board.js"), h.assets.path("icon.svg")
	f.History, f.Reports = h.history != nil, h.reports != nil
	f.Suspensions, f.Confirmations, f.Registry, f.Watcher = h.suspensions != nil, h.confirmations != nil, h.registry != nil, h.watcher != nil
	f.Audit, f.Fleet = h.prover != nil, h.fleet != nil
	if h.people != nil && f.Name != "status" {
		f.Me, f.Admin = h.people.Me(r.Context())
	}
	f.OtherLang = "?lang=en"
	if f.Lang == words.EN {
		f.OtherLang = "?lang=vi"
	}
	name := "page"
	if r.URL.Query().Get(partParam) == "main" {
		name = "main"
	}
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, name, f); err != nil {
		h.log.Error("board: not written", "path", r.URL.Path, "err", err)
		http.Error(w, "internal error; the collector's log says more", http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(b.Bytes())
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Language", string(f.Lang))
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Content-Type-Options", "nosniff")
	// With no-referrer a browser would send its forms with "Origin: null", which without TLS is all that shows whose they are.
	head.Set("Referrer-Policy", "same-origin")
	if head.Get("Cache-Control") == "" { // a page with names says itself that nobody is to keep it
		head.Set("Cache-Control", "private, no-cache")
	}
	head.Set("Vary", "Cookie")
	if status == http.StatusOK {
		head.Set("ETag", tag)
		if matches(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// matches reports whether an If-None-Match header names the tag (RFC 9110, section 13.1.2).
func matches(header, tag string) bool {
	for s := range strings.SplitSeq(header, ",") {
		if s = strings.TrimPrefix(strings.TrimSpace(s), "W/"); s == tag || s == "*" {
			return true
		}
	}
	return false
}

// language is that of the address, which is remembered, or the remembered one, or Vietnamese.
func language(w http.ResponseWriter, r *http.Request) words.Lang {
	if s := r.URL.Query().Get(langParam); s == string(words.VI) || s == string(words.EN) {
		http.SetCookie(w, &http.Cookie{Name: langCookie, Value: s, Path: "/", MaxAge: 365 * 24 * 3600,
			HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
		return words.ParseLang(s)
	}
	return languageOf(r)
}

// languageOf is the remembered language.
func languageOf(r *http.Request) words.Lang {
	if c, err := r.Cookie(langCookie); err == nil {
		return words.ParseLang(c.Value)
	}
	return words.VI
}
