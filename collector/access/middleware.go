package access

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// linkPath begins the path of a one-time link.
const linkPath = "/l/"

// Middleware lets requests through to next that name a host on the list and come with a session or a token. It answers
// one-time links itself.
func (a *Access) Middleware(next http.Handler) http.Handler {
	csrf := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.addressed(w, r) {
			return
		}
		if secret, ok := strings.CutPrefix(r.URL.Path, linkPath); ok {
			a.openLink(w, r, secret)
			return
		}
		if a.people.log != nil && (r.URL.Path == loginPath || strings.HasPrefix(r.URL.Path, setupPath)) {
			if err := csrf.Check(r); err != nil {
				a.refused(r, "cross-origin")
				http.Error(w, "This request came from another site's page.", http.StatusForbidden)
				return
			}
			a.entrance(w, r)
			return
		}
		who, bearer := a.who(r)
		if who.Name == "" {
			a.unknown(w, r)
			return
		}
		// A browser adds a cookie or a remembered password to what any page makes it send; a bearer token it does not.
		if err := csrf.Check(r); err != nil && !bearer {
			a.refused(r, "cross-origin")
			http.Error(w, "This request came from another site's page.", http.StatusForbidden)
			return
		}
		if r.URL.Path == logoutPath && r.Method == http.MethodPost {
			a.leave(w, r)
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), who)))
	})
}

// Anybody lets requests through to next that name a host on the list, whoever sends them, as nobody.
func (a *Access) Anybody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.addressed(w, r) {
			next.ServeHTTP(w, r.WithContext(With(r.Context(), Who{})))
		}
	})
}

// addressed reports whether a request names a host on the list; else it is answered.
func (a *Access) addressed(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if a.hostAllowed(r.Host) {
		return true
	}
	a.refused(r, "host")
	http.Error(w, "This server does not answer to that name; add it to names in collector.yaml.", http.StatusMisdirectedRequest)
	return false
}

// Need lets through to next who has a right. Others are told that they lack it.
func Need(s Scope, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Of(r.Context()).May(s) {
			http.Error(w, "You have no right to this: it needs the scope "+string(s)+".", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// who returns who sent a request, nobody for who is not known, and whether a bearer token said so.
func (a *Access) who(r *http.Request) (w Who, bearer bool) {
	if w := Of(r.Context()); w.Name != "" {
		return w, false
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		w, _ := a.holderOf(strings.TrimSpace(token))
		return w, w.Name != ""
	}
	if _, password, ok := r.BasicAuth(); ok {
		if w, ok := a.holderOf(password); ok {
			return w, false
		}
	}
	for _, c := range r.CookiesNamed(cookieName(r)) {
		if w, ok := a.holder(c.Value); ok {
			return w, false
		}
	}
	return Who{}, false
}

// holderOf returns the program that a token is of.
func (a *Access) holderOf(token string) (Who, bool) {
	if a.isToken(token) {
		return local(), true
	}
	return a.people.program(token)
}

// unknown answers who has no session and no token: people with a page that says how to get in, programs in one line.
func (a *Access) unknown(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="egovmon"`)
	if (r.Header.Get("Authorization") != "" || len(r.CookiesNamed(cookieName(r))) > 0) && !a.refused(r, "secret") {
		tooMany(w)
		return
	}
	looks := r.Method == http.MethodGet || r.Method == http.MethodHead
	if looks && a.Any() && strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, loginPath+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	if r.URL.Path == "/" && looks {
		a.page(w, http.StatusUnauthorized, pageEnter)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "No session and no token: open the link that collector link prints, or send the token of local.token as Authorization: Bearer TOKEN.",
		http.StatusUnauthorized)
}

// openLink turns a link into a session. Asking about it (HEAD) or loading it ahead of a click leaves it as it was.
func (a *Access) openLink(w http.ResponseWriter, r *http.Request, link string) {
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.Method == http.MethodHead:
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "A link is opened with GET.", http.StatusMethodNotAllowed)
		return
	case ahead(r.Header):
		http.Error(w, "A link is not loaded ahead of a click.", http.StatusServiceUnavailable)
		return
	}
	secret, ok, err := a.redeem(link)
	switch {
	case err != nil:
		// The session is good until this program ends; only the next start will not know it.
		a.log.Error("a session could not be written down; it ends with the program", "err", err)
	case !ok && User(r.Context()) == "":
		if who, _ := a.who(r); who.Name == "" {
			if !a.refused(r, "link") {
				tooMany(w)
				return
			}
			a.page(w, http.StatusGone, pageGone)
			return
		}
	}
	if ok {
		a.log.Info("a session began", "user", Operator, "remote", r.RemoteAddr)
		setSession(w, r, secret)
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// setSession gives a browser the secret of its session.
func setSession(w http.ResponseWriter, r *http.Request, secret string) {
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: secret, Path: "/", MaxAge: int(SessionLife / time.Second),
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
}

// ahead reports whether a browser or proxy loads something that nobody has asked for yet.
func ahead(h http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		v := strings.ToLower(h.Get(name))
		if strings.Contains(v, "prefetch") || strings.Contains(v, "prerender") || strings.Contains(v, "preview") {
			return true
		}
	}
	return false
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "5")
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "Too many failures; wait a little.", http.StatusTooManyRequests)
}

// refused notes a failure in the log, at a bounded rate, and reports whether there were not too many of late.
func (a *Access) refused(r *http.Request, why string) bool {
	if !a.failures.AllowN(a.now(), 1) {
		return false
	}
	path := r.URL.Path
	for _, p := range []string{linkPath, setupPath} { // what follows is a secret
		if strings.HasPrefix(path, p) {
			path = p
		}
	}
	a.log.LogAttrs(r.Context(), slog.LevelWarn, "request refused", slog.String("reason", why), slog.String("remote", r.RemoteAddr),
		slog.String("path", cut(path, 80)), slog.String("host", cut(r.Host, 80)))
	return true
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// cookieName has the port in it, because cookies of one host are shared by all its ports.
func cookieName(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		return "egovmon-" + port
	}
	return "egovmon"
}

// hostAllowed reports whether a Host header names this server: loopback or one of the configured names, with any port.
func (a *Access) hostAllowed(host string) bool {
	h := plainHost(host)
	if h == "localhost" || a.hosts[h] {
		return true
	}
	ip, err := netip.ParseAddr(h)
	return err == nil && ip.IsLoopback()
}

// plainHost is a Host header or a name without port, brackets, final dot and capitals.
func plainHost(s string) string {
	if h, _, err := net.SplitHostPort(s); err == nil {
		s = h
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	return strings.ToLower(strings.TrimSuffix(s, "."))
}
