package access

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/mod/sumdb/note"

	"egovmon/collector/evidence"
)

const goodPassword = "mưa rào tháng Sáu"

// openLog is a real log.
func openLog(t *testing.T) *evidence.Store {
	t.Helper()
	key, pub, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), "egovmon/tu-ky/log/1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(pub)
	if err != nil {
		t.Fatal(err)
	}
	s, err := evidence.Open(evidence.Options{Dir: t.TempDir(), Origin: "egovmon/tu-ky/log/1", Signer: signer, Verifier: verifier, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A house is an Access with a log.
type house struct {
	*Access
	t   *testing.T
	dir string
	log *evidence.Store
	c   *clock
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, dir: t.TempDir(), log: openLog(t), c: newClock()}
	h.reopen()
	return h
}

func (h *house) reopen() {
	h.t.Helper()
	a, err := New(Options{Dir: h.dir, Now: h.c.now, Log: h.log})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Access = a
}

// add makes a user and returns the address of its link.
func (h *house) add(id string, r Role, unit string) string {
	h.t.Helper()
	path, err := h.AddUser(h.t.Context(), Operator, Account{ID: id, Name: "Nguyễn Thị " + id, Role: r, Unit: unit})
	if err != nil {
		h.t.Fatal(err)
	}
	return base + path
}

// post sends a form as a browser does.
func (h *house) post(target string, fields map[string]string, edit func(*http.Request)) *http.Response {
	v := url.Values{}
	for k, x := range fields {
		v.Set(k, x)
	}
	r := httptest.NewRequest("POST", target, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.Middleware(http.HandlerFunc(whoami)).ServeHTTP(w, r)
	return w.Result()
}

// code is what the phone of a user shows now.
func (h *house) code(id string) string {
	h.t.Helper()
	u, _ := h.people.get(id)
	key := u.Code
	if u.Setup != nil {
		key = u.Setup.Code
	}
	s, err := totp.GenerateCode(key, h.c.now())
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// setUp follows a link and returns the session's cookie.
func (h *house) setUp(link, id string, withCode bool) *http.Cookie {
	h.t.Helper()
	f := map[string]string{"password": goodPassword, "again": goodPassword}
	if withCode {
		f["code"] = h.code(id)
	}
	resp := h.post(link, f, nil)
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		h.t.Fatalf("setting a password: status %d, %d cookies; want 303 and one", resp.StatusCode, len(resp.Cookies()))
	}
	h.c.add(time.Minute) // to the next code
	return resp.Cookies()[0]
}

// login tries to enter.
func (h *house) login(id, password, code string) *http.Response {
	return h.post(base+"/login", map[string]string{"user": id, "password": password, "code": code}, nil)
}

// as is who a cookie stands for.
func (h *house) as(c *http.Cookie) string {
	resp := ask(h.Access, "GET", base+"/x", with(c))
	if resp.StatusCode != 200 {
		return fmt.Sprintf("status %d", resp.StatusCode)
	}
	return body(h.t, resp)
}

func TestSetUpAndEnter(t *testing.T) {
	h := newHouse(t)
	link := h.add("lan", RoleAdmin, "")
	page := body(t, ask(h.Access, "GET", link, nil))
	u, _ := h.people.get("lan")
	for _, want := range []string{"Đặt mật khẩu", "data:image/png;base64,", spaced(u.Setup.Code), `autocomplete="new-password"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if en := body(t, ask(h.Access, "GET", link+"?lang=en", nil)); !strings.Contains(en, "Set your password") {
		t.Error("no English page")
	}
	code := h.code("lan")
	bad := []struct{ name, password, again, code, want string }{
		{"short", "ngắn", "ngắn", code, "Mật khẩu quá ngắn: cần ít nhất 8 ký tự."},
		{"its name", "lan lan lan mưa", "lan lan lan mưa", code, "Mật khẩu chứa tên đăng nhập."},
		{"dull", "aaaaaaaabbbb", "aaaaaaaabbbb", code, "Mật khẩu quá dễ đoán."},
		{"twice otherwise", goodPassword, goodPassword + "x", code, "Hai lần nhập không giống nhau."},
		{"no code", goodPassword, goodPassword, "", "Mã xác thực không đúng"},
		{"wrong code", goodPassword, goodPassword, "000000", "Mã xác thực không đúng"},
		{"long", strings.Repeat("mưa rào ", 40), strings.Repeat("mưa rào ", 40), code, "dài quá 128"},
	}
	for _, tt := range bad {
		resp := h.post(link, map[string]string{"password": tt.password, "again": tt.again, "code": tt.code}, nil)
		if resp.StatusCode != http.StatusUnprocessableEntity || len(resp.Cookies()) != 0 || !strings.Contains(body(t, resp), tt.want) {
			t.Errorf("%s: status %d; want 422 and %q", tt.name, resp.StatusCode, tt.want)
		}
	}
	c := h.setUp(link, "lan", true)
	if got := h.as(c); got != "lan" {
		t.Errorf("the session is of %q", got)
	}
	if resp := ask(h.Access, "GET", link, nil); resp.StatusCode != http.StatusGone {
		t.Errorf("the link a second time: status %d, want 410", resp.StatusCode)
	}
	if resp := h.post(link, map[string]string{"password": goodPassword, "again": goodPassword}, nil); resp.StatusCode != http.StatusGone {
		t.Errorf("the form a second time: status %d, want 410", resp.StatusCode)
	}

	code = h.code("lan")
	if resp := h.login("lan", goodPassword, ""); resp.StatusCode != 401 {
		t.Errorf("without a code: status %d, want 401", resp.StatusCode)
	}
	// However the keyboard composes its letters, and however a phone groups its digits.
	resp := h.login(" LAN ", "mu\u031ba ra\u0300o tha\u0301ng Sa\u0301u", code[:3]+" "+code[3:])
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		t.Fatalf("status %d to %q, want 303 to /", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp := h.login("lan", goodPassword, code); resp.StatusCode != 401 {
		t.Errorf("the same code a second time: status %d, want 401", resp.StatusCode)
	}
	if resp := h.post(base+"/login?next=/service/mail", map[string]string{"user": "lan", "password": "x", "next": "/service/mail"}, nil); !strings.Contains(body(t, resp), `value="/service/mail"`) {
		t.Error("where to go on to is forgotten after a wrong try")
	}
	h.reopen()
	h.c.add(time.Minute)
	if resp := h.login("lan", goodPassword, h.code("lan")); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("after a start: status %d, want 303", resp.StatusCode)
	}
	if got := h.as(c); got != "lan" {
		t.Errorf("after a start the session is of %q", got)
	}
	h.c.add(SetupLife)
	if resp := ask(h.Access, "GET", h.addLate(), nil); resp.StatusCode != http.StatusGone {
		t.Errorf("a link after %v: status %d, want 410", SetupLife, resp.StatusCode)
	}
	data, err := os.ReadFile(filepath.Join(h.dir, peopleFile))
	if err != nil || bytes.Contains(data, []byte(goodPassword)) {
		t.Errorf("users.json holds a password, or cannot be read: %v", err)
	}
	for s, err := range h.log.Leaves(0) {
		if err != nil {
			t.Fatal(err)
		}
		if text := string(s.Leaf.Bytes()); strings.Contains(text, "Nguyễn") || strings.Contains(text, "argon2") {
			t.Errorf("a leaf holds what is not for it: %s", text)
		}
	}
}

// addLate makes a user and lets its link expire.
func (h *house) addLate() string {
	link := h.add("tre", RoleViewer, "")
	h.c.add(SetupLife)
	return link
}

func TestLockOut(t *testing.T) {
	h := newHouse(t)
	h.setUp(h.add("lan", RoleOfficer, ""), "lan", false)
	unknown := body(t, h.login("ai-do", goodPassword, ""))
	for i := range lockAfter {
		h.c.add(time.Minute)
		resp := h.login("lan", "sai rồi, thử lại", "")
		if got := strings.Replace(body(t, resp), `"lan"`, `"ai-do"`, 1); resp.StatusCode != 401 || got != unknown {
			t.Errorf("try %d: status %d, or it shows that the name is known", i, resp.StatusCode)
		}
	}
	if users := h.Users(); users[0].Locked.IsZero() {
		t.Error("nothing shows that the user is locked")
	}
	h.c.add(LockLife - time.Second)
	if resp := h.login("lan", goodPassword, ""); resp.StatusCode != 401 || strings.Replace(body(t, resp), `"lan"`, `"ai-do"`, 1) != unknown {
		t.Errorf("while locked: status %d, want 401 and the same words", resp.StatusCode)
	}
	h.c.add(time.Second)
	if resp := h.login("lan", goodPassword, ""); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("after the lock: status %d, want 303", resp.StatusCode)
	}
	for range lockAfter - 1 {
		h.c.add(lockWithin)
		h.login("lan", "sai rồi, thử lại", "")
	}
	h.c.add(time.Minute)
	if resp := h.login("lan", goodPassword, ""); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("after wrong tries far apart: status %d, want 303", resp.StatusCode)
	}
}

func TestSourcesAreSlowed(t *testing.T) {
	h := newHouse(t)
	h.setUp(h.add("lan", RoleOfficer, ""), "lan", false)
	from := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
	f := map[string]string{"user": "ai-do", "password": "x"}
	for i := range sourceTries {
		if resp := h.post(base+"/login", f, from(fmt.Sprintf("[2001:db8::%d]:5000", i+1))); resp.StatusCode != 401 {
			t.Fatalf("try %d: status %d, want 401", i, resp.StatusCode)
		}
	}
	if resp := h.post(base+"/login", f, from("[2001:db8::99]:6000")); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one try more from the same network: status %d, want 429", resp.StatusCode)
	}
	f = map[string]string{"user": "lan", "password": goodPassword}
	if resp := h.post(base+"/login", f, from("192.0.2.9:5000")); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("from elsewhere: status %d, want 303", resp.StatusCode)
	}
	var l locks
	for i := range maxSources + 50 {
		l.admit(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), h.c.now())
	}
	if len(l.sources) != maxSources || l.recent.Len() != maxSources {
		t.Errorf("%d addresses are kept, want %d", len(l.sources), maxSources)
	}
}

func TestRoles(t *testing.T) {
	h := newHouse(t)
	all := append(Scopes(), ScopeAck, ScopeUsers)
	may := func(c *http.Cookie) string {
		var got []string
		for _, s := range all {
			r := httptest.NewRequest("GET", base+"/x", nil)
			r.AddCookie(c)
			w := httptest.NewRecorder()
			h.Middleware(Need(s, http.HandlerFunc(whoami))).ServeHTTP(w, r)
			if w.Code == 200 {
				got = append(got, string(s))
			}
		}
		slices.Sort(got)
		return strings.Join(got, " ")
	}
	link := enter(t, h.Access)
	const everything = "ack attest board enrol figures log metrics series users"
	if got := may(link); got != everything {
		t.Errorf("the holder of a link while there are no users may %s", got)
	}
	tests := []struct {
		id   string
		role Role
		unit string
		want string
	}{
		{"quan-tri", RoleAdmin, "", everything},
		{"van-hanh", RoleOperator, "", "ack attest board enrol figures log metrics series"},
		{"thanh-tra", RoleAuditor, "", "board figures log metrics series"},
		{"can-bo", RoleOfficer, "", "ack attest board series"},
		{"can-bo-xa", RoleOfficer, "xa-tu-ky", "ack attest board series"},
		{"xem", RoleViewer, "", "board series"},
		{"xem-xa", RoleViewer, "xa-tu-ky", "board series"},
	}
	for _, tt := range tests {
		c := h.setUp(h.add(tt.id, tt.role, tt.unit), tt.id, tt.role.needsCode())
		if got := may(c); got != tt.want {
			t.Errorf("%s may %s; want %s", tt.id, got, tt.want)
		}
	}
	if got := may(link); got != "attest board enrol figures log metrics series users" {
		t.Errorf("the holder of a link once there are users may %s", got)
	}
	resp := ask(h.Access, "GET", base+"/x", header("Authorization", "Bearer "+h.LocalToken()))
	if got := body(t, resp); got != Program {
		t.Errorf("the local token is of %q", got)
	}
	if local().May(ScopeAck) || local().Person || newProgram("x", []Scope{ScopeAck}).May(ScopeAck) {
		t.Error("a program may take note of incidents")
	}
}

func TestChangesEndSessions(t *testing.T) {
	h := newHouse(t)
	h.setUp(h.add("quan-tri", RoleAdmin, ""), "quan-tri", true)
	yes := true
	role := RoleViewer
	unit := "xa-tu-ky"
	changes := map[string]func(id string) error{
		"disabled":     func(id string) error { return h.ChangeUser(t.Context(), "quan-tri", id, Change{Disabled: &yes}) },
		"another role": func(id string) error { return h.ChangeUser(t.Context(), "quan-tri", id, Change{Role: &role}) },
		"another unit": func(id string) error { return h.ChangeUser(t.Context(), "quan-tri", id, Change{Unit: &unit}) },
		"reset":        func(id string) error { _, err := h.ResetUser(t.Context(), "quan-tri", id); return err },
		"removed":      func(id string) error { return h.RemoveUser(t.Context(), "quan-tri", id) },
		"password": func(id string) error {
			why, _, err := h.ChangePassword(t.Context(), id, goodPassword, "một câu khác hẳn", "một câu khác hẳn")
			if why != "" {
				t.Error(why)
			}
			return err
		},
	}
	n := 0
	for name, change := range changes {
		n++
		id := fmt.Sprintf("can-bo-%d", n)
		c := h.setUp(h.add(id, RoleOfficer, ""), id, false)
		before := h.log.Size()
		if err := change(id); err != nil {
			t.Fatal(err)
		}
		if got := h.as(c); got != "status 401" {
			t.Errorf("%s: the session goes on as %q", name, got)
		}
		if l, err := h.log.Leaf(before); err != nil || l.Field("user") != id || l.Field("by") == "" || h.log.Size() != before+1 {
			t.Errorf("%s: no leaf says so: %v", name, err)
		}
		if name == "disabled" || name == "removed" || name == "reset" {
			if resp := h.login(id, goodPassword, ""); resp.StatusCode != 401 {
				t.Errorf("%s: enters with status %d", name, resp.StatusCode)
			}
		}
	}
}

func TestLastAdmin(t *testing.T) {
	h := newHouse(t)
	h.setUp(h.add("lan", RoleAdmin, ""), "lan", true)
	h.add("hoa", RoleAdmin, "") // has not set a password
	yes, role := true, RoleViewer
	for name, f := range map[string]func() error{
		"disable": func() error { return h.ChangeUser(t.Context(), "lan", "lan", Change{Disabled: &yes}) },
		"role":    func() error { return h.ChangeUser(t.Context(), "lan", "lan", Change{Role: &role}) },
		"remove":  func() error { return h.RemoveUser(t.Context(), "lan", "lan") },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), ErrLastAdmin.Error()) {
			t.Errorf("%s of the last administrator: %v", name, err)
		}
	}
	link, err := h.ResetUser(t.Context(), Program, "hoa")
	if err != nil {
		t.Fatal(err)
	}
	h.setUp(base+link, "hoa", true)
	if err := h.RemoveUser(t.Context(), "hoa", "lan"); err != nil {
		t.Errorf("with another one: %v", err)
	}
}

func TestUsersComeFromTheLog(t *testing.T) {
	h := newHouse(t)
	h.setUp(h.add("lan", RoleAdmin, ""), "lan", true)
	c := h.setUp(h.add("can-bo", RoleOfficer, "xa-tu-ky"), "can-bo", false)
	path := filepath.Join(h.dir, peopleFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tamper := func(old, fresh string) {
		t.Helper()
		bad := strings.Replace(string(good), old, fresh, 1)
		if bad == string(good) {
			t.Fatalf("%s is not in the file", old)
		}
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		h.reopen()
	}
	for _, x := range [][2]string{{`"role": "officer"`, `"role": "operator"`}, {`"unit": "xa-tu-ky"`, `"unit": ""`}, {`"id": "can-bo"`, `"id": "can-ba"`}} {
		tamper(x[0], x[1])
		if got := h.as(c); got != "status 401" {
			t.Errorf("with %s the session goes on as %q", x[1], got)
		}
		if resp := h.login("can-bo", goodPassword, ""); resp.StatusCode != 401 {
			t.Errorf("with %s: enters with status %d", x[1], resp.StatusCode)
		}
	}
	// Without the file the log says who there is, and nobody has a password.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	users := h.Users()
	if len(users) != 2 || users[0].ID != "can-bo" || users[0].Unit != "xa-tu-ky" || users[1].Role != RoleAdmin || users[0].Ready || users[1].Ready {
		t.Errorf("%+v", users)
	}
	if got := h.as(c); got != "status 401" {
		t.Errorf("without a password the session goes on as %q", got)
	}
	// A kill between the leaf and the file: the next start learns of the change.
	yes := true
	if err := h.ChangeUser(t.Context(), Program, "can-bo", Change{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	if u := h.Users()[0]; !u.Disabled || h.as(c) != "status 401" {
		t.Errorf("%+v: not disabled", u)
	}
	if err := h.RemoveUser(t.Context(), Program, "can-bo"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if h.reopen(); len(h.Users()) != 1 {
		t.Errorf("%+v: who was removed is there again", h.Users())
	}
	for _, text := range []string{"{", `{"version": 9}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Dir: h.dir, Now: h.c.now, Log: h.log}); err == nil || !strings.Contains(err.Error(), peopleFile) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTokens(t *testing.T) {
	h := newHouse(t)
	secret, err := h.AddToken(t.Context(), Operator, Token{Name: "prom", Scopes: []Scope{ScopeMetrics}, Ends: h.c.now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	try := func(s Scope) int {
		r := httptest.NewRequest("GET", base+"/x", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		w := httptest.NewRecorder()
		h.Middleware(Need(s, http.HandlerFunc(whoami))).ServeHTTP(w, r)
		return w.Code
	}
	if a, b := try(ScopeMetrics), try(ScopeSeries); a != 200 || b != 403 {
		t.Errorf("status %d and %d, want 200 and 403", a, b)
	}
	h.reopen()
	if got := try(ScopeMetrics); got != 200 {
		t.Errorf("after a start: status %d", got)
	}
	data, err := os.ReadFile(filepath.Join(h.dir, peopleFile))
	if err != nil || strings.Contains(string(data), secret) {
		t.Errorf("the file holds the token: %v", err)
	}
	more := strings.Replace(string(data), `"metrics"`, `"enrol"`, 1)
	if err := os.WriteFile(filepath.Join(h.dir, peopleFile), []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	if got := try(ScopeEnrol); got != 401 {
		t.Errorf("with scopes that nobody gave it: status %d, want 401", got)
	}
	if err := os.WriteFile(filepath.Join(h.dir, peopleFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	h.c.add(time.Hour)
	if got := try(ScopeMetrics); got != 401 {
		t.Errorf("after its end: status %d, want 401", got)
	}
	h.c.add(-time.Hour)
	if err := h.EndToken(t.Context(), Operator, "prom"); err != nil {
		t.Fatal(err)
	}
	if got := try(ScopeMetrics); got != 401 {
		t.Errorf("ended: status %d, want 401", got)
	}
}

func TestBadUsersAndTokens(t *testing.T) {
	h := newHouse(t)
	h.add("lan", RoleViewer, "")
	bad := []struct {
		want string
		u    Account
	}{
		{"an id has", Account{ID: "Lan", Role: RoleViewer}},
		{"an id has", Account{ID: "a@b", Role: RoleViewer}},
		{"an id has", Account{ID: "12", Role: RoleViewer}},
		{"an id has", Account{ID: strings.Repeat("a", 33), Role: RoleViewer}},
		{"taken", Account{ID: "lan", Role: RoleViewer}},
		{"write one of", Account{ID: "hoa", Role: "root"}},
		{"write one of", Account{ID: "hoa"}},
		{"whole district", Account{ID: "hoa", Role: RoleAdmin, Unit: "xa-tu-ky"}},
		{"write the id of a unit", Account{ID: "hoa", Role: RoleViewer, Unit: "../x"}},
		{"control characters", Account{ID: "hoa", Role: RoleViewer, Name: "a\u202eb"}},
		{"control characters", Account{ID: "hoa", Role: RoleViewer, Name: strings.Repeat("ế", 60)}},
	}
	size := h.log.Size()
	for _, tt := range bad {
		if _, err := h.AddUser(t.Context(), Operator, tt.u); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.u, err, tt.want)
		}
	}
	year := h.c.now().Add(TokenLife)
	for _, tk := range []Token{{Name: "X!", Scopes: Scopes(), Ends: year}, {Name: "x1", Ends: year}, {Name: "x1", Scopes: Scopes(), Ends: year.Add(time.Second)},
		{Name: "x1", Scopes: Scopes(), Ends: h.c.now()}, {Name: "x1", Scopes: []Scope{ScopeAck}, Ends: year}, {Name: "x1", Scopes: []Scope{ScopeUsers}, Ends: year}} {
		if _, err := h.AddToken(t.Context(), Operator, tk); err == nil {
			t.Errorf("%+v was made", tk)
		}
	}
	if err := h.ChangeUser(t.Context(), "", "lan", Change{}); err == nil {
		t.Error("nobody changed a user")
	}
	if err := h.RemoveUser(t.Context(), Operator, "ai-do"); err == nil {
		t.Error("removed who is not there")
	}
	if h.log.Size() != size {
		t.Error("what was refused is in the log")
	}
	a := open(t, t.TempDir(), newClock())
	if _, err := a.AddUser(t.Context(), Operator, Account{ID: "lan", Role: RoleViewer}); err == nil {
		t.Error("a user without a log")
	}
	if resp := ask(a, "GET", base+"/login", nil); resp.StatusCode != 401 {
		t.Errorf("the login page without a log: status %d, want 401", resp.StatusCode)
	}
}

func TestWhoIsNotInGoesToTheLogin(t *testing.T) {
	h := newHouse(t)
	h.setUp(h.add("lan", RoleOfficer, ""), "lan", false)
	html := header("Accept", "text/html,*/*")
	if resp := ask(h.Access, "GET", base+"/service/mail?x=1", html); resp.StatusCode != 303 || resp.Header.Get("Location") != "/login?next=%2Fservice%2Fmail%3Fx%3D1" {
		t.Errorf("status %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp := ask(h.Access, "GET", base+"/api/v1/query", nil); resp.StatusCode != 401 {
		t.Errorf("a program: status %d, want 401", resp.StatusCode)
	}
	for in, want := range map[string]string{"/a?b=c": "/a?b=c", "": "/", "//evil.example": "/", `/\evil.example`: "/", "https://evil.example": "/", "/login": "/", "/l/x": "/",
		"/s/x": "/", "/logout": "/", "/a\nb": "/"} {
		if got := localPath(in); got != want {
			t.Errorf("%q goes on to %q, want %q", in, got, want)
		}
	}
	cross := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	f := map[string]string{"user": "lan", "password": goodPassword}
	if resp := h.post(base+"/login", f, cross); resp.StatusCode != 403 {
		t.Errorf("a form from elsewhere: status %d, want 403", resp.StatusCode)
	}
	c := h.post(base+"/login", f, nil).Cookies()[0]
	if resp := h.post(base+"/logout", nil, func(r *http.Request) { cross(r); r.AddCookie(c) }); resp.StatusCode != 403 || h.as(c) != "lan" {
		t.Errorf("signed out from elsewhere: status %d", resp.StatusCode)
	}
	if resp := h.post(base+"/logout", nil, with(c)); resp.StatusCode != 303 || h.as(c) != "status 401" {
		t.Errorf("signing out: status %d; the session is of %q", resp.StatusCode, h.as(c))
	}
	if resp := h.post(base+"/login", map[string]string{"user": strings.Repeat("x", maxForm)}, nil); resp.StatusCode != 400 {
		t.Errorf("a form too large: status %d, want 400", resp.StatusCode)
	}
	if resp := ask(h.Access, "PUT", base+"/login", nil); resp.StatusCode != 405 {
		t.Errorf("PUT: status %d, want 405", resp.StatusCode)
	}
}

func TestPasswords(t *testing.T) {
	hash := hashPassword(goodPassword)
	if !regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$`).MatchString(hash) {
		t.Errorf("hash %.40s…", hash)
	}
	if ok, err := checkPassword(hash, goodPassword); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, _ := checkPassword(hash, goodPassword+" "); ok {
		t.Error("another password is taken")
	}
	if _, err := checkPassword(dummyHash, "x"); err != nil {
		t.Errorf("the hash for unknown names cannot be checked, so that they answer sooner: %v", err)
	}
	for _, bad := range []string{"", "x", "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA", "$argon2id$v=16$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=99999999,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=19456,t=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$AA$AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AA"} {
		if ok, err := checkPassword(bad, "x"); ok || err == nil {
			t.Errorf("hash %q: %v, %v", bad, ok, err)
		}
	}
	for _, tt := range []struct {
		password string
		code     bool
		want     string
	}{
		{goodPassword, false, ""}, {"tám chữ ", true, ""}, {"bảy chữ", true, "access.pw.short"}, {"mười ba chữ x", false, "access.pw.short"},
		{"12345678", true, "access.pw.dull"}, {"hgfedcba", true, "access.pw.dull"}, {"\xff\xfe12345678", true, "access.pw.long"}, {"xinchao-Lan-2026", false, "access.pw.name"},
	} {
		got := ""
		if w := weak(tt.password, "lan", tt.code); w != nil {
			got = w.phrase
		}
		if got != tt.want {
			t.Errorf("%q, with a code %v: %q, want %q", tt.password, tt.code, got, tt.want)
		}
	}
}

// TestCodes takes the vectors of RFC 6238, appendix B, cut to six digits.
func TestCodes(t *testing.T) {
	const key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1234567890: "005924", 2000000000: "279037"} {
		now := time.Unix(at, 0)
		step, ok := matchCode(key, code, 0, now)
		if !ok || step != at/30 {
			t.Errorf("at %d: step %d, %v", at, step, ok)
		}
		if _, ok := matchCode(key, code, step, now); ok {
			t.Errorf("at %d: good a second time", at)
		}
		for _, skew := range []time.Duration{-30 * time.Second, 30 * time.Second} {
			if _, ok := matchCode(key, code, 0, now.Add(skew)); !ok {
				t.Errorf("at %d%+v: not taken", at, skew)
			}
		}
		for _, skew := range []time.Duration{-61 * time.Second, 61 * time.Second} {
			if _, ok := matchCode(key, code, 0, now.Add(skew)); ok && at > 100 {
				t.Errorf("at %d%+v: taken", at, skew)
			}
		}
	}
}

func TestHashingIsBounded(t *testing.T) {
	h := newHouse(t)
	for range maxHashing {
		h.hashing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.enter(ctx, "lan", "x", ""); err != errBusy {
		t.Errorf("error %v, want %v", err, errBusy)
	}
}

// TestTokenOfAUnit: a program bound to a unit is so after a start, too; an older program does not take it for one that sees all.
func TestTokenOfAUnit(t *testing.T) {
	h := newHouse(t)
	end := h.c.now().Add(time.Hour)
	version := func() string {
		b, err := os.ReadFile(filepath.Join(h.dir, peopleFile))
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(b[bytes.IndexByte(b, '\n')+1:]), "\n")
		return strings.TrimSpace(line)
	}
	if _, err := h.AddToken(t.Context(), Operator, Token{Name: "prom", Scopes: []Scope{ScopeMetrics}, Ends: end}); err != nil || version() != `"version": 1,` {
		t.Fatalf("%v, %s: what has no such token is written as ever", err, version())
	}
	for _, bad := range []Token{{Name: "xa", Scopes: []Scope{ScopeSeries, ScopeMetrics}, Ends: end, Unit: "xa-a"}, {Name: "xa", Scopes: []Scope{ScopeSeries}, Ends: end, Unit: "Xã A"}} {
		if _, err := h.AddToken(t.Context(), Operator, bad); err == nil {
			t.Errorf("%+v was made", bad)
		}
	}
	secret, err := h.AddToken(t.Context(), Operator, Token{Name: "xa", Scopes: []Scope{ScopeSeries, ScopeBoard}, Ends: end, Unit: "xa-a"})
	if err != nil || version() != `"version": 2,` {
		t.Fatalf("%v, %s", err, version())
	}
	for range 2 {
		w, ok := h.people.program(secret)
		if !ok || w.Unit != "xa-a" || !w.May(ScopeSeries) || w.May(ScopeMetrics) || w.Person {
			t.Errorf("%+v, %t", w, ok)
		}
		h.reopen()
	}
	// A file from which somebody has taken the unit away.
	b, err := os.ReadFile(filepath.Join(h.dir, peopleFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(h.dir, peopleFile), bytes.Replace(b, []byte(`"unit": "xa-a"`), []byte(`"unit": ""`), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.reopen()
	if w, ok := h.people.program(secret); ok {
		t.Errorf("a token that was widened by hand opens: %+v", w)
	}
}
