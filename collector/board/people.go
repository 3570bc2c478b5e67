package board

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/access"
)

// People shows and changes who may enter.
type People interface {
	// Me names who acts, "" while there are no users, and reports whether it may change users.
	Me(ctx context.Context) (name string, admin bool)
	Users() []access.Account
	Tokens() []access.Token
	AddUser(ctx context.Context, by string, u access.Account) (path string, err error)
	ChangeUser(ctx context.Context, by, id string, c access.Change) error
	ResetUser(ctx context.Context, by, id string) (path string, err error)
	RemoveUser(ctx context.Context, by, id string) error
	EndToken(ctx context.Context, by, name string) error
	ChangePassword(ctx context.Context, id, old, fresh, again string) (why string, args []any, err error)
}

// peoplePages answers the pages of people.
func (h *handler) peoplePages(mux *http.ServeMux) {
	mux.HandleFunc("GET /account", h.account)
	mux.HandleFunc("POST /account", h.account)
	mux.HandleFunc("GET /users", h.admin(h.users))
	mux.HandleFunc("POST /users", h.admin(h.changeUsers))
}

// admin lets administrators through.
func (h *handler) admin(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := h.people.Me(r.Context()); !ok {
			h.say(w, r, http.StatusForbidden, true, "users.forbidden")
			return
		}
		next(w, r)
	}
}

// An accountPage is who one is.
type accountPage struct {
	Name, Role, Unit string
	Code             bool
	Local            bool // holder of a link, who has no password
	Wrong, Done      string
	Least            int
}

func (h *handler) account(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	me, _ := h.people.Me(r.Context())
	list := h.people.Users()
	k := slices.IndexFunc(list, func(a access.Account) bool { return a.ID == me })
	p := accountPage{Name: me, Local: k < 0, Least: access.MinAlone}
	if k >= 0 {
		p.Role, p.Unit, p.Code = words.Say(l, "role."+string(list[k].Role)), list[k].Unit, list[k].Code
		if p.Code {
			p.Least = access.MinWithCode
		}
	}
	status := http.StatusOK
	if r.Method == http.MethodPost && k >= 0 {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			h.say(w, r, http.StatusBadRequest, true, "users.form")
			return
		}
		why, args, err := h.people.ChangePassword(r.Context(), me, r.PostForm.Get("old"), r.PostForm.Get("password"), r.PostForm.Get("again"))
		switch {
		case err != nil:
			h.log.Error("board: the password could not be changed", "user", me, "err", err)
			status, p.Wrong = http.StatusServiceUnavailable, words.Say(l, "access.busy")
		case why != "":
			status, p.Wrong = http.StatusUnprocessableEntity, words.Say(l, why, args...)
		default:
			// Every session has ended, this one too.
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
	}
	h.write(w, r, status, frame{Title: words.Say(l, "account.title"), Name: "account", Lang: l, Still: true, Body: p})
}

// A usersPage is who may enter.
type usersPage struct {
	Users       []userItem
	Tokens      []tokenItem
	Roles       []option
	Units       []option
	Link        string // of the user that was made or set back just now, to be handed over
	For         string
	Ends        string
	Wrong       string
	First       bool // there are none yet
	Add         access.Account
	ShortLives  int // hours that a link is good
	TokenScopes string
}

type option struct {
	Value, Name string
	Chosen      bool
}

type userItem struct {
	access.Account
	State, Sign, Entered string
	Roles, Units         []option
}

type tokenItem struct{ Name, Scopes, Ends string }

func (h *handler) users(w http.ResponseWriter, r *http.Request) {
	h.writeUsers(w, r, http.StatusOK, usersPage{})
}

// writeUsers fills the page in and writes it.
func (h *handler) writeUsers(w http.ResponseWriter, r *http.Request, status int, p usersPage) {
	l := language(w, r)
	v, err := h.whole(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	roles := func(of access.Role) (out []option) {
		for _, x := range access.Roles() {
			out = append(out, option{string(x), words.Say(l, "role."+string(x)), x == of})
		}
		return out
	}
	for _, u := range h.people.Users() {
		i := userItem{Account: u, Roles: roles(u.Role), Units: unitOptions(l, v, "", u.Unit)}
		switch {
		case u.Disabled:
			i.State, i.Sign = words.Say(l, "users.disabled"), "none"
		case !u.Locked.IsZero():
			i.State, i.Sign = words.Say(l, "users.locked", words.At(l, u.Locked, v.Now)), "down"
		case !u.Ready && !u.Invited.IsZero():
			i.State, i.Sign = words.Say(l, "users.invited", words.At(l, u.Invited, v.Now)), "unknown"
		case !u.Ready:
			i.State, i.Sign = words.Say(l, "users.unready"), "missing"
		case !u.Code:
			i.State, i.Sign = words.Say(l, "users.nocode"), "degraded"
		default:
			i.State, i.Sign = words.Say(l, "users.ready"), "up"
		}
		if !u.Entered.IsZero() {
			i.Entered = words.At(l, u.Entered, v.Now)
		}
		p.Users = append(p.Users, i)
	}
	for _, t := range h.people.Tokens() {
		var scopes []string
		for _, s := range t.Scopes {
			scopes = append(scopes, string(s))
		}
		p.Tokens = append(p.Tokens, tokenItem{t.Name, strings.Join(scopes, ", "), words.At(l, t.Ends, v.Now)})
	}
	p.First = len(p.Users) == 0
	if p.Add.Role == "" {
		p.Add.Role = access.RoleOfficer
		if p.First {
			p.Add.Role = access.RoleAdmin
		}
	}
	p.Roles, p.Units = roles(p.Add.Role), unitOptions(l, v, "", p.Add.Unit)
	p.ShortLives = int(access.SetupLife / time.Hour)
	h.write(w, r, status, frame{Title: words.Say(l, "users.title"), Name: "users", District: v.District.in(l), Lang: l, Still: true, Body: p})
}

// changeUsers takes one of the page's forms.
func (h *handler) changeUsers(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	by, _ := h.people.Me(r.Context())
	if by == "" {
		by = access.Operator
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	get := r.PostForm.Get
	p := usersPage{}
	id, path, err := strings.ToLower(strings.TrimSpace(get("id"))), "", error(nil)
	switch get("do") {
	case "add":
		p.Add = access.Account{ID: id, Name: oneLine(get("name")), Role: access.Role(get("role")), Unit: get("unit")}
		if path, err = h.people.AddUser(r.Context(), by, p.Add); err == nil {
			p.Add = access.Account{}
		}
	case "change":
		role, unit := access.Role(get("role")), get("unit")
		err = h.people.ChangeUser(r.Context(), by, id, access.Change{Role: &role, Unit: &unit})
	case "disable", "enable":
		off := get("do") == "disable"
		err = h.people.ChangeUser(r.Context(), by, id, access.Change{Disabled: &off})
	case "reset":
		path, err = h.people.ResetUser(r.Context(), by, id)
	case "remove":
		err = h.people.RemoveUser(r.Context(), by, id)
	case "end-token":
		err = h.people.EndToken(r.Context(), by, id)
	default:
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	switch {
	case err != nil:
		h.log.Warn("board: users not changed", "do", get("do"), "by", by, "err", err)
		p.Wrong = wrongOf(l, err)
		h.writeUsers(w, r, http.StatusUnprocessableEntity, p)
	case path != "":
		p.Link, p.For = linkTo(r, path), id
		h.writeUsers(w, r, http.StatusOK, p)
	default:
		http.Redirect(w, r, "/users#u-"+url.PathEscape(id), http.StatusSeeOther)
	}
}

// wrongOf says in words why a change was not made.
func wrongOf(l words.Lang, err error) string {
	for e, key := range map[error]string{access.ErrTaken: "users.wrong.taken", access.ErrLastAdmin: "users.wrong.last", access.ErrNoUser: "users.wrong.gone", access.ErrNoToken: "users.wrong.gone"} {
		if errors.Is(err, e) {
			return words.Say(l, key)
		}
	}
	return words.Say(l, "users.wrong", err.Error())
}

// linkTo is an address on this board as who asks sees it.
func linkTo(r *http.Request, path string) string {
	if r.TLS != nil {
		return "https://" + r.Host + path
	}
	return "http://" + r.Host + path
}
