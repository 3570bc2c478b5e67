package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"egovmon/agent/words"
)

// Paths of who is not in yet, and of who leaves.
const (
	loginPath  = "/login"
	logoutPath = "/logout"
	setupPath  = "/s/"

	maxForm    = 8 << 10
	langCookie = "egovmon-lang" // as the board has it
)

// A form is what the pages show.
type form struct {
	Lang    words.Lang
	Other   string // address of the page in the other language
	Wrong   string // why the last try was not taken
	Next    string // where to go then
	User    string
	Setup   bool // to set a password, not to enter
	Must    bool // a code must be set up
	Least   int  // characters of a password with a code, …
	Alone   int  // … and without
	Picture template.URL
	Key     string
}

// Say is words.Say in the page's language.
func (f form) Say(key string, args ...any) string { return words.Say(f.Lang, key, args...) }

// entrance answers the pages for entering and for setting a password.
func (a *Access) entrance(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if !a.locks.admit(r.RemoteAddr, a.now()) {
			a.refused(r, "tries")
			tooMany(w)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "The form cannot be read.", http.StatusBadRequest)
			return
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "A form is read with GET and sent with POST.", http.StatusMethodNotAllowed)
		return
	}
	f := form{Lang: language(w, r), Least: MinWithCode, Alone: MinAlone}
	f.Other = "?lang=en"
	if f.Lang == words.EN {
		f.Other = "?lang=vi"
	}
	if link, ok := strings.CutPrefix(r.URL.Path, setupPath); ok {
		a.setUpPage(w, r, f, link)
		return
	}
	a.loginPage(w, r, f)
}

// loginPage asks for name, password and code, or takes them.
func (a *Access) loginPage(w http.ResponseWriter, r *http.Request, f form) {
	f.Next = localPath(r.FormValue("next"))
	if f.Next != "/" {
		f.Other += "&next=" + template.URLQueryEscaper(f.Next)
	}
	if r.Method != http.MethodPost {
		a.form(w, r, http.StatusOK, f)
		return
	}
	f.User = strings.ToLower(strings.TrimSpace(r.PostForm.Get("user")))
	secret, err := a.enter(r.Context(), f.User, r.PostForm.Get("password"), r.PostForm.Get("code"))
	switch {
	case errors.Is(err, errRefused):
		a.refused(r, "password")
		f.Wrong = f.Say("access.wrong")
		a.form(w, r, http.StatusUnauthorized, f)
	case err != nil:
		a.log.Error("nobody can enter", "err", err)
		f.Wrong = f.Say("access.busy")
		a.form(w, r, http.StatusServiceUnavailable, f)
	default:
		setSession(w, r, secret)
		http.Redirect(w, r, f.Next, http.StatusSeeOther)
	}
}

// setUpPage shows who holds a link the form for its password, or takes it.
func (a *Access) setUpPage(w http.ResponseWriter, r *http.Request, f form, link string) {
	u, ok := a.people.invited(link)
	if !ok {
		a.refused(r, "link")
		f.Wrong, f.Next = f.Say("access.expired"), "/"
		a.form(w, r, http.StatusGone, f)
		return
	}
	f.Setup, f.User, f.Must, f.Key = true, u.ID, u.Role.needsCode(), spaced(u.Setup.Code)
	if r.Method == http.MethodPost {
		secret, why, err := a.setUp(r.Context(), link, r.PostForm.Get("password"), r.PostForm.Get("again"), r.PostForm.Get("code"))
		switch {
		case err != nil:
			a.log.Error("a password could not be set", "user", u.ID, "err", err)
			f.Wrong = f.Say("access.busy")
			a.form(w, r, http.StatusServiceUnavailable, f)
			return
		case why == nil:
			setSession(w, r, secret)
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		f.Wrong = f.Say(why.phrase, why.args...)
	}
	var err error
	if f.Picture, err = codePicture(u.ID, u.Setup.Code); err != nil {
		a.log.Error("no QR code", "err", err) // its text is there
	}
	status := http.StatusOK
	if f.Wrong != "" {
		status = http.StatusUnprocessableEntity
	}
	a.form(w, r, status, f)
}

// leave ends the session of a request.
func (a *Access) leave(w http.ResponseWriter, r *http.Request) {
	for _, c := range r.CookiesNamed(cookieName(r)) {
		a.end(c.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Path: "/", MaxAge: -1, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// form writes the page.
func (a *Access) form(w http.ResponseWriter, r *http.Request, status int, f form) {
	var b bytes.Buffer
	if err := a.pages.ExecuteTemplate(&b, "form", f); err != nil {
		a.log.Error("page not written", "err", err)
		http.Error(w, "Internal error; the log says more.", http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256([]byte(pageStyle))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", string(f.Lang))
	h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	// With no-referrer a browser sends its form with "Origin: null"; the link for a password stays within this host.
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes())
	}
}

// localPath is a path of this host to go on to, "/" for anything else.
func localPath(s string) string {
	if len(s) > 1000 || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") ||
		strings.HasPrefix(s, loginPath) || strings.HasPrefix(s, setupPath) || strings.HasPrefix(s, linkPath) || strings.HasPrefix(s, logoutPath) {
		return "/"
	}
	return s
}

// language is that of the address, which is remembered, or the remembered one, or Vietnamese.
func language(w http.ResponseWriter, r *http.Request) words.Lang {
	if s := r.URL.Query().Get("lang"); s == string(words.VI) || s == string(words.EN) {
		http.SetCookie(w, &http.Cookie{Name: langCookie, Value: s, Path: "/", MaxAge: 365 * 24 * 3600,
			HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
		return words.ParseLang(s)
	}
	if c, err := r.Cookie(langCookie); err == nil {
		return words.ParseLang(c.Value)
	}
	return words.VI
}
