package board

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/collector/fleet"
)

// A yard is a Fleet in memory.
type yard struct {
	by   string
	err  error
	list []FleetMachine
	did  string
	bad  error
}

func (y *yard) Rights(context.Context) (string, error)           { return y.by, y.err }
func (y *yard) Machines(context.Context) ([]FleetMachine, error) { return y.list, nil }
func (y *yard) Revoke(_ context.Context, machine, why string) error {
	y.did = "revoke " + machine + " " + why
	return y.bad
}
func (y *yard) Invite(_ context.Context, unit, machine string) (Invitation, error) {
	y.did = "invite " + unit + " " + machine
	return Invitation{"egov1.SECRET", machine, unit, "https://10.1.2.3:19443", noon.Add(72 * time.Hour)}, y.bad
}

func parked() *yard {
	m := func(id, unit string, what fleet.What, r fleet.Reporting, days int) FleetMachine {
		x := FleetMachine{Machine: fleet.Machine{ID: id, Unit: unit, Expected: true, Reporting: r, What: what, Heard: noon.Add(-time.Minute)}, Build: "0.1.0", Received: noon.Add(-time.Minute)}
		if days != 0 {
			x.CertEnds = noon.Add(time.Duration(days)*24*time.Hour + time.Hour)
		}
		return x
	}
	list := []FleetMachine{m(me, "huyen-tu-ky", fleet.OK, fleet.Reports, 80), m("pc-xa-01-01", "xa-01", fleet.Quiet, fleet.Silent, 9), m("pc-xa-02-01", "xa-02", fleet.NeverEnrolled, fleet.NotEnrolled, 0)}
	list[1].Detail = "last heard 26h0m0s ago; <b>x"
	return &yard{by: "lan", list: list}
}

func yardHandler(y *yard) http.Handler {
	return NewHandler(district(), Options{Now: func() time.Time { return noon }, Fleet: y})
}

func TestFleetPage(t *testing.T) {
	y := parked()
	show := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		yardHandler(y).ServeHTTP(w, httptest.NewRequest("GET", "/fleet", nil))
		return w
	}
	page := show().Body.String()
	for _, want := range []string{"1 trên 3 máy", "còn 80 ngày", "còn 9 ngày", "Chưa ghi danh", "0.1.0", "&lt;b&gt;x", "Xã An Thanh", `value="revoke"`, `value="invite"`, `href="/fleet"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(page, `value="revoke"`); n != 2 {
		t.Errorf("%d of 2 identities can be ended", n)
	}
	for _, tt := range []struct {
		fields []string
		bad    error
		status int
		did    string
		want   string
	}{
		{[]string{"do", "invite", "unit", "xa-02", "machine", "pc-2"}, nil, 200, "invite xa-02 pc-2", "--token egov1.SECRET"},
		{[]string{"do", "revoke", "machine", me, "why", "mất\nmáy"}, nil, 200, "revoke " + me + " mất máy", me},
		{[]string{"do", "revoke", "machine", me, "why", "x"}, errors.New("no <b>"), 422, "revoke " + me + " x", "no &lt;b&gt;"},
		{[]string{"do", "invite", "unit", "xa-02"}, errors.New("full"), 422, "invite xa-02 ", "full"},
		{[]string{"do", "drop"}, nil, 400, "", ""},
		{[]string{"do", "invite", "unit", strings.Repeat("x", maxForm)}, nil, 400, "", ""},
	} {
		y.did, y.bad = "", tt.bad
		w := sendForm(yardHandler(y), "/fleet", tt.fields...)
		if w.Code != tt.status || y.did != tt.did || !strings.Contains(w.Body.String(), tt.want) || tt.bad != nil && strings.Contains(w.Body.String(), "SECRET") {
			t.Errorf("%.60q: status %d, want %d; did %q, want %q; the page lacks %q", tt.fields, w.Code, tt.status, y.did, tt.did, tt.want)
		}
	}
	y.by, y.did = "", ""
	if page := show().Body.String(); strings.Contains(page, `value="revoke"`) || strings.Contains(page, `value="invite"`) {
		t.Error("who may only look has forms")
	}
	if w := sendForm(yardHandler(y), "/fleet", "do", "revoke", "machine", me, "why", "x"); w.Code != 403 || y.did != "" {
		t.Errorf("who may only look did %q: status %d", y.did, w.Code)
	}
	if y.err = ErrForbidden; show().Code != 403 {
		t.Error("who may not sees the machines")
	}
}
