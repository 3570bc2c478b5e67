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

	"egovmon/collector/profile"
	"egovmon/collector/suspend"
)

// A notary is Suspensions in memory.
type notary struct {
	name, unit string
	list       []Suspension
	did        []string
	err        error
}

func (n *notary) Enters(context.Context) (string, string) { return n.name, n.unit }
func (n *notary) Suspensions() ([]Suspension, error)      { return n.list, nil }
func (n *notary) Suspend(_ context.Context, by, unit string, f suspend.Form, document []byte) error {
	n.did = append(n.did, fmt.Sprintf("%s@%s enters %s %s %s %s %s %s %s, %d bytes", by, unit, f.Ground, f.Service, f.Unit, f.From, f.To, f.Number, f.Place, len(document)))
	return n.err
}
func (n *notary) Withdraw(_ context.Context, by, unit string, leaf int64, note string) error {
	n.did = append(n.did, fmt.Sprintf("%s@%s takes %d back: %s", by, unit, leaf, note))
	return n.err
}

func announced(leaf int64, service, unit string, from, to time.Time, s suspend.Standing) Suspension {
	return Suspension{Notice: suspend.Notice{Ground: suspend.Announced, Service: service, Unit: unit, From: from, To: to, Number: fmt.Sprintf("%d/TB", leaf), Announced: profile.DateOf(noon),
		Place: "Cổng <b>TTĐT</b>", Note: "<script>alert(1)</script>", EnteredBy: "an", EnteredAt: noon, Leaf: leaf}, Standing: s, Last: "2026-11-10"}
}

func notaryHandler(n *notary, sees string) http.Handler {
	f := troubled()
	f.view.Suspensions = n.list
	return NewHandler(f, Options{Now: func() time.Time { return noon }, Suspensions: n, Unit: func(context.Context) string { return sees }})
}

func sendParts(h http.Handler, document []byte, fields ...string) *httptest.ResponseRecorder {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = m.WriteField(fields[i], fields[i+1])
	}
	if document != nil {
		w, _ := m.CreateFormFile("document", "x.pdf")
		_, _ = w.Write(document)
	}
	_ = m.Close()
	r := httptest.NewRequest("POST", "/suspensions", &b)
	r.Header.Set("Content-Type", m.FormDataContentType())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func fetched(h http.Handler, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestSuspensionsPage(t *testing.T) {
	n := &notary{name: "an", list: []Suspension{
		announced(7, "mail", "", noon.Add(-time.Hour), noon.Add(2*time.Hour), suspend.InTime),
		announced(8, "", "xa-07", noon.Add(24*time.Hour), noon.Add(30*time.Hour), suspend.TooLate),
		announced(9, "qlvb", "xa-03", noon.Add(30*24*time.Hour), noon.Add(31*24*time.Hour), suspend.InTime),
	}}
	h := notaryHandler(n, "")
	code, page := fetched(h, "/suspensions")
	for _, want := range []string{"Tạm ngừng có thông báo", "Thư điện tử công vụ", "8/TB", "thông báo trễ hạn", "hạn thông báo: 10/11/2026", "an nhập lúc", "&lt;script&gt;", "Cổng &lt;b&gt;", "Nhập thông báo", `name="leaf" value="7"`} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", code, want)
		}
	}
	if strings.Contains(page, "<script>alert") {
		t.Error("a remark is script")
	}
	// The first page names what is on and what comes within a week, and nothing later.
	_, front := fetched(h, "/")
	for want, in := range map[string]bool{"Đang tạm ngừng": true, "Sắp tạm ngừng": true, "25/12": false} {
		if strings.Contains(front, want) != in {
			t.Errorf("the first page has %q: %t", want, !in)
		}
	}
	if _, en := fetched(h, "/suspensions?lang=en"); !strings.Contains(en, "announced too late") || strings.Contains(en, "<suspend.") {
		t.Error("no English")
	}
	// A unit's people see what concerns them, and take back their own.
	n.unit = "xa-07"
	_, page = fetched(notaryHandler(n, "xa-07"), "/suspensions")
	if strings.Contains(page, "9/TB") || !strings.Contains(page, "7/TB") || strings.Contains(page, `name="leaf" value="7"`) || !strings.Contains(page, `name="leaf" value="8"`) {
		t.Error("a unit's people see another's notices, or may take back what is the district's")
	}
	if n.unit = ""; strings.Contains(page, `value="xa-03"`) {
		t.Error("a unit's people may enter notices of another unit")
	}
}

func TestSuspensionForms(t *testing.T) {
	n := &notary{name: "an", unit: "xa-07", list: []Suspension{announced(7, "mail", "", noon, noon.Add(time.Hour), suspend.InTime)}}
	h := notaryHandler(n, "")
	form := []string{"do", "add", "ground", "announced", "service", "mail", "unit", "", "from", "2026-12-01T22:00", "to", "2026-12-02T02:00", "number", " 15/TB\n", "announced", "2026-11-19", "place", "Cổng"}
	for _, c := range []struct {
		name     string
		document []byte
		fields   []string
		status   int
		did      string
	}{
		{"with a document", []byte("12345"), form, 303, "an@xa-07 enters announced mail  2026-12-01T22:00 2026-12-02T02:00 15/TB Cổng, 5 bytes"},
		{"without", nil, form, 303, "an@xa-07 enters announced mail  2026-12-01T22:00 2026-12-02T02:00 15/TB Cổng, 0 bytes"},
		{"taken back", nil, []string{"do", "withdraw", "leaf", "7", "note", "hoãn"}, 303, "an@xa-07 takes 7 back: hoãn"},
		{"no leaf", nil, []string{"do", "withdraw", "leaf", "x"}, 400, ""},
		{"no deed", nil, []string{"do", "drop"}, 400, ""},
		{"a very large document", make([]byte, maxNotice), form, 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.did = nil
			if w := sendParts(h, c.document, c.fields...); w.Code != c.status || strings.Join(n.did, ";") != c.did {
				t.Errorf("status %d, did %q; want %d, %q", w.Code, n.did, c.status, c.did)
			}
		})
	}
	n.err = errors.New("service: <b>")
	if w := sendParts(h, nil, form...); w.Code != 422 || !strings.Contains(w.Body.String(), "Chưa ghi được: service: &lt;b&gt;") || !strings.Contains(w.Body.String(), `value="2026-12-01T22:00"`) {
		t.Errorf("refused: status %d; want 422, why, and the form as it was filled in", w.Code)
	}
	n.name, n.did = "", nil
	if w := sendParts(h, nil, form...); w.Code != 403 || len(n.did) > 0 {
		t.Errorf("nobody: status %d, did %v", w.Code, n.did)
	}
	if _, page := fetched(h, "/suspensions"); strings.Contains(page, "<form") {
		t.Error("who may enter nothing gets a form")
	}
	r := httptest.NewRequest("POST", "/suspensions", strings.NewReader("do=add"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	n.name = "an"
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 400 {
		t.Errorf("another encoding: status %d", w.Code)
	}
}

// suspending is a district with something announced of each standing.
func suspending() *fake {
	f := troubled()
	f.view.Suspensions = []Suspension{
		announced(7, "mail", "", noon.Add(-time.Hour), noon.Add(2*time.Hour), suspend.InTime),
		announced(8, "qlvb", "xa-07", noon.Add(24*time.Hour), noon.Add(30*time.Hour), suspend.TooLate),
		announced(9, "tthc", "", noon.Add(-48*time.Hour), noon.Add(-40*time.Hour), suspend.EnteredLate),
		announced(10, "cong_h", "", noon.Add(72*time.Hour), noon.Add(80*time.Hour), suspend.NothingLeft),
	}
	for i := range f.view.Suspensions {
		f.view.Suspensions[i].Note = "nâng cấp hệ thống lưu trữ"
		f.view.Suspensions[i].Place = "Cổng TTĐT tỉnh"
	}
	f.view.Suspensions[3].Withdrawn = f.view.Suspensions[3].From
	return f
}

// TestAcksOfOtherUnits: who sees one unit takes note of what concerns that unit, and of nothing else.
func TestAcksOfOtherUnits(t *testing.T) {
	for unit, want := range map[string]int{"": 303, "xa-07": 303, "xa-03": 404} {
		var acks []string
		h := NewHandler(troubled(), Options{Now: func() time.Time { return noon }, User: func(context.Context) string { return "Mai" }, Unit: func(context.Context) string { return unit },
			Ack: func(_ context.Context, id, _, _ string) error { acks = append(acks, id); return nil }})
		if w := post(h, "/incident/"+lineIncident+"/ack", "note=x"); w.Code != want || (len(acks) == 1) != (want == 303) {
			t.Errorf("unit %q: status %d, noted %v; want %d", unit, w.Code, acks, want)
		}
	}
}
