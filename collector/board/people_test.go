package board

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/access"
)

// A club is People in memory.
type club struct {
	me    string
	admin bool
	did   []string
	err   error
	list  []access.Account
}

func (c *club) Me(context.Context) (string, bool) { return c.me, c.admin }
func (c *club) Users() []access.Account           { return c.list }
func (c *club) Tokens() []access.Token {
	return []access.Token{{Name: "prom", Scopes: []access.Scope{access.ScopeMetrics}, Ends: noon.Add(time.Hour)}}
}
func (c *club) say(words ...string) error {
	c.did = append(c.did, strings.Join(words, " "))
	return c.err
}
func (c *club) AddUser(_ context.Context, by string, u access.Account) (string, error) {
	return "/s/SECRET", c.say("add", by, u.ID, string(u.Role), u.Unit, u.Name)
}
func (c *club) ChangeUser(_ context.Context, by, id string, x access.Change) error {
	if x.Disabled != nil {
		return c.say("disabled", by, id, map[bool]string{true: "yes", false: "no"}[*x.Disabled])
	}
	return c.say("change", by, id, string(*x.Role), *x.Unit)
}
func (c *club) ResetUser(_ context.Context, by, id string) (string, error) {
	return "/s/SECRET", c.say("reset", by, id)
}
func (c *club) RemoveUser(_ context.Context, by, id string) error { return c.say("remove", by, id) }
func (c *club) EndToken(_ context.Context, by, name string) error { return c.say("end", by, name) }
func (c *club) ChangePassword(_ context.Context, id, old, fresh, again string) (string, []any, error) {
	if old != "đúng" {
		return "access.pw.old", nil, nil
	}
	return "", nil, c.say("password", id, fresh, again)
}

func clubHandler(c *club, unit string) http.Handler {
	return NewHandler(troubled(), Options{Now: func() time.Time { return noon }, People: c, Unit: func(context.Context) string { return unit }})
}

func sendForm(h http.Handler, path string, fields ...string) *httptest.ResponseRecorder {
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestUsersPage(t *testing.T) {
	c := &club{me: "lan", admin: true, list: []access.Account{
		{ID: "lan", Name: "<script>alert(1)</script>", Role: access.RoleAdmin, Ready: true, Code: true, Entered: noon.Add(-time.Hour)},
		{ID: "hoa", Role: access.RoleOfficer, Unit: "xa-an-thanh", Ready: true},
		{ID: "tre", Role: access.RoleViewer, Invited: noon.Add(time.Hour)},
		{ID: "sai", Role: access.RoleViewer, Ready: true, Locked: noon.Add(time.Minute)},
		{ID: "nghi", Role: access.RoleViewer, Disabled: true},
	}}
	h := clubHandler(c, "")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/users", nil))
	page := w.Body.String()
	for _, want := range []string{"Người dùng và quyền", "Hoạt động, không có mã xác thực", "Chờ đặt mật khẩu", "Tạm khóa", "Đã khóa", "&lt;script&gt;", `href="/account">lan<`, "prom"} {
		if w.Code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", w.Code, want)
		}
	}
	if strings.Contains(page, "<script>alert") {
		t.Error("a name is script")
	}
	acts := []struct {
		fields []string
		status int
		did    string
	}{
		{[]string{"do", "add", "id", " Minh ", "role", "officer", "unit", "xa-an-thanh", "name", "Minh\nA"}, 200, "add lan minh officer xa-an-thanh Minh A"},
		{[]string{"do", "change", "id", "hoa", "role", "viewer", "unit", ""}, 303, "change lan hoa viewer "},
		{[]string{"do", "disable", "id", "hoa"}, 303, "disabled lan hoa yes"},
		{[]string{"do", "enable", "id", "hoa"}, 303, "disabled lan hoa no"},
		{[]string{"do", "reset", "id", "hoa"}, 200, "reset lan hoa"},
		{[]string{"do", "remove", "id", "hoa"}, 303, "remove lan hoa"},
		{[]string{"do", "end-token", "id", "prom"}, 303, "end lan prom"},
		{[]string{"do", "drop"}, 400, ""},
		{[]string{"do", "add", "id", strings.Repeat("x", maxForm)}, 400, ""},
	}
	for _, tt := range acts {
		c.did = nil
		w := sendForm(h, "/users", tt.fields...)
		if got := strings.Join(c.did, ";"); w.Code != tt.status || got != tt.did {
			t.Errorf("%.40v: status %d, did %q; want %d, %q", tt.fields, w.Code, got, tt.status, tt.did)
		}
		if tt.status == 200 && !strings.Contains(w.Body.String(), "http://example.com/s/SECRET") {
			t.Errorf("%v: the link is not shown", tt.fields)
		}
	}
	for err, want := range map[error]string{access.ErrTaken: "đã có người dùng", access.ErrLastAdmin: "quản trị viên cuối cùng", errors.New("<b>"): "&lt;b&gt;"} {
		c.err = err
		if w := sendForm(h, "/users", "do", "remove", "id", "hoa"); w.Code != 422 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%v: status %d; want 422 and %q", err, w.Code, want)
		}
	}
	c.admin, c.did = false, nil
	if w := sendForm(h, "/users", "do", "remove", "id", "lan"); w.Code != 403 || len(c.did) > 0 {
		t.Errorf("no administrator: status %d, did %v", w.Code, c.did)
	}
	w = httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/users", nil)); w.Code != 403 || strings.Contains(w.Body.String(), "hoa") {
		t.Errorf("no administrator: status %d", w.Code)
	}
}

func TestAccountPage(t *testing.T) {
	c := &club{me: "lan", list: []access.Account{{ID: "lan", Role: access.RoleOfficer, Unit: "xa-an-thanh", Ready: true}}}
	h := clubHandler(c, "")
	if w := sendForm(h, "/account", "old", "sai", "password", "mới", "again", "mới"); w.Code != 422 || !strings.Contains(w.Body.String(), "Mật khẩu hiện tại không đúng") {
		t.Errorf("status %d", w.Code)
	}
	if w := sendForm(h, "/account", "old", "đúng", "password", "mới", "again", "mới"); w.Code != 303 || strings.Join(c.did, ";") != "password lan mới mới" {
		t.Errorf("status %d, did %v", w.Code, c.did)
	}
	c.me = access.Operator
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/account", nil)); w.Code != 200 || strings.Contains(w.Body.String(), `type="password"`) {
		t.Errorf("the holder of a link is asked for a password; status %d", w.Code)
	}
}

func TestOfUnit(t *testing.T) {
	v := View{
		Services: []Service{{ID: "mail"}}, Units: []Unit{{ID: "a"}, {ID: "b"}}, Counters: []Counter{{Unit: "a"}, {Unit: "b"}},
		Layers: []UnitLayers{{Unit: "b"}}, NotConfigured: []NotConfigured{{Service: "mail"}}, Notices: []Name{{VI: "x"}},
		Agents: []Agent{{Machine: "pc-a", Unit: "a"}, {Machine: "pc-b", Unit: "b"}},
		Cells: []Cell{{Service: "mail", State: check.Down, Checks: []CheckRef{{"pc-a", "x"}, {"pc-b", "x"}}},
			{Service: "mail", Unit: "a"}, {Service: "mail", Unit: "b"}},
		Incidents: []Incident{{ID: "1", Kind: KindService, Units: []string{"a", "b"}}, {ID: "2", Kind: KindLine, Unit: "b"}, {ID: "3", Kind: KindLine, Unit: "a"},
			{ID: "4", Kind: KindService, Units: []string{"b"}}, {ID: "5", Kind: KindFleet}},
	}
	got := v.of("a")
	want := View{
		Services: []Service{{ID: "mail"}}, Units: []Unit{{ID: "a"}}, Counters: []Counter{{Unit: "a"}}, Agents: []Agent{{Machine: "pc-a", Unit: "a"}},
		Cells:     []Cell{{Service: "mail", State: check.Down, Checks: []CheckRef{{"pc-a", "x"}}}, {Service: "mail", Unit: "a"}},
		Incidents: []Incident{{ID: "1", Kind: KindService, Units: []string{"a"}}, {ID: "3", Kind: KindLine, Unit: "a"}, {ID: "5", Kind: KindFleet}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(v.Cells[0].Checks) != 2 || len(v.Incidents[0].Units) != 2 {
		t.Error("what others see has changed, too")
	}
}

func TestAUnitSeesItself(t *testing.T) {
	const unit = "tt-tu-ky"
	f := troubled()
	f.details[CheckRef{"pc-tt-tu-ky-01", "mail.check"}] = Detail{Machine: "pc-tt-tu-ky-01", Unit: unit, Check: "mail.check", Service: "mail"}
	h := NewHandler(f, Options{Now: func() time.Time { return noon }, Unit: func(context.Context) string { return unit }})
	for path, want := range map[string]int{"/check/pc-tt-tu-ky-01/mail.check": 200, "/check/" + me + "/pc.check": 404, "/api/check/" + me + "/pc.check": 404,
		"/incident/20261123-065510-line-xa-07": 404, "/incident/20261123-000110-service-mail": 200} {
		if got := get(h, path).Code; got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	page := get(h, "/").Body.String() + get(h, "/service/mail").Body.String() + get(h, "/api/board").Body.String()
	if !strings.Contains(page, "pc-tt-tu-ky-01") {
		t.Error("its own machine is not shown")
	}
	for _, other := range []string{me, "pc-xa-07-01", "xa-07", "Chí Minh"} {
		if strings.Contains(page, other) {
			t.Errorf("%s of another unit is shown", other)
		}
	}
}
