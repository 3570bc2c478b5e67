package servers

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"sync"
)

// A SiteKind is what a site is for.
type SiteKind string

// The kinds of site.
const (
	// PortalSite is a page with news: the portal of a district or a commune. Its page "/" holds the site's title.
	PortalSite SiteKind = "portal"
	// ServiceSite is a portal of public services: a page, and at /dang-nhap a login form (taikhoan, matkhau, captcha) with the image
	// /captcha.png, which needs the session's cookie.
	ServiceSite SiteKind = "service"
	// OneStopSite is the web system of a one-stop shop: at /dang-nhap a form (taikhoan, matkhau and the anti-forgery token
	// __RequestVerificationToken, bound to the session's cookie), behind it /ho-so with the number of the newest dossier ("Hồ sơ mới
	// nhất: …"), and /tra-cuu?ma=… with the state of a dossier ("Trạng thái: Đang xử lý").
	OneStopSite SiteKind = "onestop"
	// PaymentSite is a page of payment of fees at /thanh-toan, which leads to banks.
	PaymentSite SiteKind = "payment"
)

// SiteConfig describes a site.
type SiteConfig struct {
	Name    string   // of its host; the certificate is for it
	Aliases []string // other names of its host
	Kind    SiteKind
	Title   string // stands on every page
	Backend string // sites with the same one share the program behind nginx; "" is one of its own
}

// Texts that a site shows when all is well, or when it is broken, for checks to look for.
const (
	TextMaintenance = "Hệ thống đang bảo trì, vui lòng quay lại sau"
	TextDefaced     = "HACKED BY LAB TEAM"
	TextDossier     = "Trạng thái: Đang xử lý"
	TextFailure     = "Lỗi hệ thống: không tra cứu được hồ sơ"
)

// maxSessions is how many sessions a site keeps before it forgets all of them.
const maxSessions = 10_000

// A Site is one site of a server of portals.
type Site struct {
	c     SiteConfig
	users map[string]string // name to password
	tls   *ServerIdentity
	file  string // of the certificates that nginx sends
	url   string

	mu       sync.Mutex
	sessions map[string]*session
	closed   bool // for maintenance
	defaced  bool
	noLookup bool
}

// A session is what a site knows of a browser.
type session struct {
	token string // of the form
	user  string // "" until it has logged in
}

// Name is the name of the site's host.
func (s *Site) Name() string { return s.c.Name }

// URL is the site's address, with its name and without a slash at its end.
func (s *Site) URL() string { return s.url }

// Maintenance lets every page say, with status 200, that the system is being worked on.
func (s *Site) Maintenance(on bool) error { return s.set(&s.closed, on) }

// Deface puts somebody else's page in the place of every page.
func (s *Site) Deface(on bool) error { return s.set(&s.defaced, on) }

// LookupFails lets every look-up of a dossier fail, while people still get in.
func (s *Site) LookupFails(on bool) error { return s.set(&s.noLookup, on) }

// UseCertificate sends certificates of this state from the next handshake on.
func (s *Site) UseCertificate(c Certificate) error { return s.tls.install(c, s.file) }

func (s *Site) set(fault *bool, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	*fault = on
	return nil
}

// ServeHTTP is the program behind nginx.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	switch {
	case s.defaced:
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>"+TextDefaced+"</title><h1>"+TextDefaced+"</h1>")
	case s.closed:
		s.page(w, "<h1>"+TextMaintenance+"</h1>")
	case r.URL.Path == "/":
		s.page(w, `<h2>Tin tức</h2><p>Lịch tiếp công dân</p><a href="/dang-nhap">Đăng nhập</a>`)
	case r.URL.Path == "/dang-nhap" && (s.c.Kind == ServiceSite || s.c.Kind == OneStopSite):
		s.login(w, r)
	case r.URL.Path == "/captcha.png" && s.c.Kind == ServiceSite:
		s.captcha(w, r)
	case r.URL.Path == "/ho-so" && s.c.Kind == OneStopSite:
		if s.known(w, r) {
			s.page(w, "<p>Xin chào cán bộ một cửa</p><p>Hồ sơ mới nhất: H23.298-261123-0001</p>")
		}
	case r.URL.Path == "/tra-cuu" && s.c.Kind == OneStopSite:
		s.lookup(w, r)
	case r.URL.Path == "/thanh-toan" && s.c.Kind == PaymentSite:
		s.page(w, `<form method="get" action="/thanh-toan/ngan-hang"><label>Mã hồ sơ <input name="ma"></label><button>Thanh toán phí, lệ phí</button></form>`)
	default:
		w.WriteHeader(http.StatusNotFound)
		s.page(w, "<p>Không tìm thấy trang</p>")
	}
}

// page writes a whole page.
func (s *Site) page(w io.Writer, body string) {
	title := html.EscapeString(s.c.Title)
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html><html lang=\"vi\"><head><meta charset=\"utf-8\"><title>%s</title></head><body><h1>%s</h1>%s</body></html>", title, title, body)
}

// session finds the browser's session; nil when it has none.
func (s *Site) session(r *http.Request) *session {
	c, err := r.Cookie("ASP.NET_SessionId")
	if err != nil {
		return nil
	}
	return s.sessions[c.Value]
}

func (s *Site) login(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		s.form(w, r)
	case http.MethodPost:
		if s.c.Kind != OneStopSite {
			w.WriteHeader(http.StatusForbidden)
			s.page(w, "<p>Mã xác nhận không đúng</p>")
			return
		}
		s.enter(w, r)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// form shows the login form, and begins a session.
func (s *Site) form(w http.ResponseWriter, r *http.Request) {
	in := s.session(r)
	if in == nil {
		if len(s.sessions) >= maxSessions {
			clear(s.sessions)
		}
		id := rand.Text()
		in = &session{token: rand.Text()}
		s.sessions[id] = in
		http.SetCookie(w, &http.Cookie{Name: "ASP.NET_SessionId", Value: id, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	}
	captcha := ""
	if s.c.Kind == ServiceSite {
		captcha = `<img id="captcha" src="/captcha.png" alt="Mã xác nhận"><input name="captcha">`
	}
	s.page(w, `<form method="post" action="/dang-nhap"><input type="hidden" name="__RequestVerificationToken" value="`+in.token+
		`"><input name="taikhoan"><input type="password" name="matkhau">`+captcha+`<button>Đăng nhập</button></form>`)
}

// enter lets a browser in that sent the form it was given.
func (s *Site) enter(w http.ResponseWriter, r *http.Request) {
	in, user := s.session(r), r.PostFormValue("taikhoan")
	password, known := s.users[user]
	switch {
	case in == nil || r.PostFormValue("__RequestVerificationToken") != in.token:
		w.WriteHeader(http.StatusBadRequest)
		s.page(w, "<p>Phiên làm việc không hợp lệ</p>")
	case !known || subtle.ConstantTimeCompare([]byte(password), []byte(r.PostFormValue("matkhau"))) != 1:
		w.WriteHeader(http.StatusUnauthorized)
		s.page(w, "<p>Sai tài khoản hoặc mật khẩu</p>")
	default:
		in.user = user
		http.Redirect(w, r, "/ho-so", http.StatusSeeOther)
	}
}

// known sends a browser to the form that has not logged in.
func (s *Site) known(w http.ResponseWriter, r *http.Request) bool {
	if in := s.session(r); in != nil && in.user != "" {
		return true
	}
	http.Redirect(w, r, "/dang-nhap", http.StatusFound)
	return false
}

func (s *Site) lookup(w http.ResponseWriter, r *http.Request) {
	if !s.known(w, r) {
		return
	}
	if s.noLookup {
		w.WriteHeader(http.StatusInternalServerError)
		s.page(w, "<p>"+TextFailure+"</p>")
		return
	}
	s.page(w, "<p>Hồ sơ "+html.EscapeString(r.URL.Query().Get("ma"))+"</p><p>"+TextDossier+"</p>")
}

// captcha draws noise for a browser that has the form's cookie.
func (s *Site) captcha(w http.ResponseWriter, r *http.Request) {
	if s.session(r) == nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	noise := make([]byte, 120*40)
	_, _ = rand.Read(noise)
	img := image.NewGray(image.Rect(0, 0, 120, 40))
	for i, v := range noise {
		img.SetGray(i%120, i/120, color.Gray{Y: v})
	}
	var text bytes.Buffer
	_ = png.Encode(&text, img)
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(text.Bytes())
}
