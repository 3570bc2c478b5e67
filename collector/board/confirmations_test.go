package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/confirm"
	"egovmon/collector/profile"
)

// A clerk is Confirmations in memory.
type clerk struct {
	name, unit string
	list       []confirm.Word
	did        []string
	err        error
}

func (c *clerk) Confirms(context.Context) (string, string) { return c.name, c.unit }
func (c *clerk) Confirmations() ([]confirm.Word, error)    { return c.list, nil }
func (c *clerk) Confirm(_ context.Context, by, unit string, f confirm.Form, document []byte) error {
	c.did = append(c.did, fmt.Sprintf("%s@%s confirms %s %s %s until %s by %s, %d bytes", by, unit, f.Service, f.Unit, f.State, f.ValidTo, f.Number, len(document)))
	return c.err
}
func (c *clerk) TakeBack(_ context.Context, by, unit string, leaf int64, note string) error {
	c.did = append(c.did, fmt.Sprintf("%s@%s takes %d back: %s", by, unit, leaf, note))
	return c.err
}

func clerkHandler(c *clerk, sees string) http.Handler {
	f := troubled()
	f.view.Services[0].How, f.view.Services[0].Available = HowAttested, Name{"Dữ liệu trả lời <b>", "Data answers"}
	f.view.Services[1].How, f.view.Services[1].Rule = HowDerived, Name{"tất cả: A; B", "all of: A; B"}
	return NewHandler(f, Options{Now: func() time.Time { return noon }, Confirmations: c, Unit: func(context.Context) string { return sees }})
}

func TestConfirmationsPage(t *testing.T) {
	day := profile.DateOf(noon)
	word := func(leaf int64, unit string, to profile.Date, s check.State) confirm.Word {
		return confirm.Word{Service: troubled().view.Services[0].ID, Unit: unit, State: s, From: noon.Add(-time.Hour), ValidTo: to, Number: fmt.Sprintf("%d/XN", leaf), Issued: day, Issuer: "Cục <b>", Note: "<script>alert(1)</script>",
			EnteredBy: "an", EnteredAt: noon, Leaf: leaf}
	}
	gone := word(9, "", day+3, check.Down)
	gone.Withdrawn = true
	c := &clerk{name: "an", list: []confirm.Word{word(7, "", day+30, check.Up), word(8, "xa-07", day-1, check.Down), gone}}
	h := clerkHandler(c, "")
	code, page := fetched(h, "/confirmations")
	for _, want := range []string{"Xác nhận bằng văn bản", "(xác nhận)", "7/XN", "đang có hiệu lực", "hết hạn", "đã rút lại", "&lt;script&gt;", "Cục &lt;b&gt;", `name="leaf" value="7"`, "Nhập xác nhận"} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", code, want)
		}
	}
	if strings.Contains(page, "<script>alert") || strings.Contains(page, `name="leaf" value="9"`) {
		t.Error("a remark is script, or what was taken back can be taken back again")
	}
	if _, en := fetched(h, "/confirmations?lang=en"); !strings.Contains(en, "Confirmed by document") || strings.Contains(en, "<confirm.") {
		t.Error("no English")
	}
	_, page = fetched(h, "/service/"+troubled().view.Services[0].ID)
	if !strings.Contains(page, "(xác nhận)") || !strings.Contains(page, "Dữ liệu trả lời &lt;b&gt;") {
		t.Error("the service's page does not say that it is attested, or what working means")
	}
	_, page = fetched(h, "/service/"+troubled().view.Services[1].ID)
	if !strings.Contains(page, "(suy ra)") || !strings.Contains(page, "tất cả: A; B") {
		t.Error("the service's page does not say that it is derived, or from what")
	}
	if _, front := fetched(h, "/"); !strings.Contains(front, "(suy ra)") {
		t.Error("the first page does not say what is derived")
	}
	c.unit = "xa-07"
	if _, page = fetched(clerkHandler(c, "xa-03"), "/confirmations"); strings.Contains(page, "8/XN") || strings.Contains(page, `name="leaf" value="7"`) {
		t.Error("a unit's people see another's, or may take back what is the district's")
	}
	c.name = ""
	if _, page = fetched(h, "/confirmations"); strings.Contains(page, "<form method=\"post\" action=\"/confirmations\"") {
		t.Error("who may not confirm has a form")
	}
}

func TestConfirmationForms(t *testing.T) {
	add := []string{"do", "add", "service", "ndxp", "unit", "", "state", "up", "valid_to", "2026-12-31", "number", " 7/XN\n", "issued", "2026-11-20", "issuer", "Cục"}
	for _, tt := range []struct {
		name   string
		clerk  clerk
		fields []string
		status int
		did    string
	}{
		{"enters", clerk{name: "an", unit: "xa-07"}, add, http.StatusSeeOther, "an@xa-07 confirms ndxp  up until 2026-12-31 by 7/XN, 3 bytes"},
		{"takes back", clerk{name: "an"}, []string{"do", "withdraw", "leaf", "7", "note", "nhầm"}, http.StatusSeeOther, "an@ takes 7 back: nhầm"},
		{"is refused", clerk{name: "an", err: errors.New("valid_to: too far")}, add, http.StatusUnprocessableEntity, "an@ confirms"},
		{"may not", clerk{}, add, http.StatusForbidden, ""},
		{"no leaf", clerk{name: "an"}, []string{"do", "withdraw", "leaf", "x"}, http.StatusBadRequest, ""},
		{"nothing", clerk{name: "an"}, []string{"do", "what"}, http.StatusBadRequest, ""},
	} {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		for i := 0; i < len(tt.fields); i += 2 {
			_ = m.WriteField(tt.fields[i], tt.fields[i+1])
		}
		part, _ := m.CreateFormFile("document", "x.pdf")
		_, _ = part.Write([]byte("abc"))
		_ = m.Close()
		r := httptest.NewRequest(http.MethodPost, "/confirmations", &b)
		r.Header.Set("Content-Type", m.FormDataContentType())
		w := httptest.NewRecorder()
		clerkHandler(&tt.clerk, "").ServeHTTP(w, r)
		if got := strings.Join(tt.clerk.did, "; "); w.Code != tt.status || !strings.HasPrefix(got, tt.did) || tt.did == "" && got != "" {
			t.Errorf("%s: status %d, did %q; want %d and %q", tt.name, w.Code, got, tt.status, tt.did)
		}
		if tt.clerk.err != nil && !strings.Contains(w.Body.String(), "valid_to: too far") {
			t.Errorf("%s: the page does not say why", tt.name)
		}
	}
}

// confirming is what documents of each standing say.
func confirming() []confirm.Word {
	day := profile.DateOf(noon)
	word := func(leaf int64, unit string, to profile.Date, s check.State, note string) confirm.Word {
		return confirm.Word{Service: troubled().view.Services[0].ID, Unit: unit, State: s, From: noon.Add(-26 * time.Hour), ValidTo: to, Number: fmt.Sprintf("%d/XN-TTCNTT", leaf), Issued: day - 1,
			Issuer: "Trung tâm Công nghệ thông tin và Truyền thông tỉnh", Note: note, EnteredBy: "an.nv", EnteredAt: noon.Add(-20 * time.Hour), Leaf: leaf}
	}
	list := []confirm.Word{word(7, "", day+30, check.Up, ""), word(8, "xa-07", day-1, check.Down, "chờ đơn vị cung cấp khắc phục"), word(9, "xa-03", day+3, check.Degraded, ""), word(10, "", day+3, check.Down, "")}
	list[3].Withdrawn = true
	return list
}
