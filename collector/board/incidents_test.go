package board

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/incident"
)

const (
	mailIncident = "20261123-000110-service-mail"
	lineIncident = "20261123-065510-line-xa-07"
)

// An acked is one call of Options.Ack.
type acked struct{ ID, User, Note string }

// acking is a board that lets Mai take note of incidents: what she notes is in the view at once, and in calls.
func acking(f *fake, calls *[]acked) http.Handler {
	return NewHandler(f, Options{
		Now:  func() time.Time { return noon },
		User: func(context.Context) string { return "Mai" },
		Ack: func(_ context.Context, id, user, note string) error {
			if calls != nil {
				*calls = append(*calls, acked{id, user, note})
			}
			err := fmt.Errorf("incident %q: %w", id, incident.ErrUnknown)
			f.edit(func(v *View) {
				v.Incidents = slices.Clone(v.Incidents) // who has an earlier view keeps it as it was
				for k := range v.Incidents {
					switch i := &v.Incidents[k]; {
					case i.ID == id && !i.Ack.At.IsZero():
						err = fmt.Errorf("incident %s: %w", id, incident.ErrAcknowledged)
					case i.ID == id:
						i.Ack, err = Ack{user, noon, note}, nil
					}
				}
			})
			return err
		},
	})
}

func post(h http.Handler, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// byID returns the element of an id, or nil.
func (p page) byID(id string) *html.Node {
	for d := range p.Descendants() {
		if attr(d, "id") == id {
			return d
		}
	}
	return nil
}

func TestIncidents(t *testing.T) {
	tests := []struct {
		lang string
		mail []string
		line []string
		past []string
	}{
		{"vi", []string{"Gián đoạn Thư điện tử công vụ", "Huyện Tứ Kỳ, Thị trấn Tứ Kỳ, Xã An Thanh, Xã Bình Lãng và 20 mục khác", "từ 00:01 (8 giờ 29 phút)",
			"23 trên 23 đơn vị", "Nghi nguyên nhân: " + words.Reason(words.VI, check.TLSExpired).Title, words.Reason(words.VI, check.TLSExpired).Impact,
			words.Reason(words.VI, check.TLSExpired).Action, "Phụ trách: " + vhtt, "Mã sự cố: " + mailIncident, "Chưa có người nhận."},
			[]string{"Mất đường truyền Xã Đại Hợp", "Đường truyền Internet", "nhà mạng: VNPT", "Đã nhận: Nguyễn Thị Hoa, lúc 07:10 – đã gọi VNPT"},
			[]string{"Sự cố đã kết thúc trong 24 giờ qua (2)", "khôi phục 16:29 ngày 22/11/2026 (kéo dài 59 phút)", "Đã nhận: Trần Văn Bình", "ngừng theo dõi"}},
		{"en", []string{"Down Official e-mail", "and 20 more", "since 00:01 (8 hours 29 minutes)", "23 of the 23 units", "Suspected cause:", "Answers for it: " + vhttEN, "Nobody has acknowledged it."},
			[]string{"Line down Đại Hợp Commune", "Internet line", "carrier: VNPT", "Acknowledged: Nguyễn Thị Hoa, at 07:10"},
			[]string{"Incidents that ended in the last 24 hours (2)", "restored 22/11/2026 16:29 (it lasted 59 minutes)", "no longer watched"}},
	}
	for _, tt := range tests {
		p := parse(t, get(acking(troubled(), nil), "/?lang="+tt.lang))
		for id, wants := range map[string][]string{"i-" + mailIncident: tt.mail, "i-" + lineIncident: tt.line, "closed": tt.past} {
			n := p.byID(id)
			if n == nil {
				t.Errorf("%s: nothing is %q", tt.lang, id)
				continue
			}
			for _, want := range wants {
				if got := textOf(n); !strings.Contains(strings.ReplaceAll(got, " ,", ","), want) {
					t.Errorf("%s: %s lacks %q: %s", tt.lang, id, want, got)
				}
			}
		}
		if strings.Contains(p.text, "20261120") {
			t.Errorf("%s: an incident that ended days ago is shown", tt.lang)
		}
	}
}

// One cause stands on the page once: what an open incident is about is no trouble beside it.
func TestOneCauseOnce(t *testing.T) {
	troubles := func(f *fake) []string {
		var got []string
		p := parse(t, get(handlerOf(f), "/"))
		if s := p.byID("trouble"); s != nil {
			for _, n := range (page{Node: s}).all("p", "what") {
				got = append(got, textOf(n))
			}
		}
		return got
	}
	has := func(got []string, start string) bool {
		return slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, start) })
	}
	const mail, line, silent, slow, token = "Gián đoạn Thư điện tử", "Gián đoạn Đường truyền", "Không xác định Xã Đại Hợp", "Suy giảm Cổng", "Không xác định Chữ ký số"
	district := func(v *View, service string) *Cell {
		return &v.Cells[slices.IndexFunc(v.Cells, func(c Cell) bool { return c.Service == service && c.Unit == "" })]
	}
	tests := []struct {
		name string
		edit func(*View)
		want []string
	}{
		{"down for the district by one line", func(v *View) {
			district(v, "inet").State = check.Down
			district(v, "tslcd").State, district(v, "tslcd").Reason = check.Down, check.Timeout // nobody's line says why
		}, []string{"Gián đoạn Mạng truyền", slow, token}},
		{"as it is", func(*View) {}, []string{slow, token}},
		{"no incidents", func(v *View) { v.Incidents = nil }, []string{mail, line, silent, slow, token}},
		{"the line's is closed", func(v *View) { v.Incidents[0].Closed = noon }, []string{line, silent, slow, token}},
		{"the service's is closed", func(v *View) { v.Incidents[1].Closed = noon }, []string{mail, slow, token}},
		{"most units are silent", func(v *View) { v.Incidents[0].Kind = KindFleet }, []string{line, slow, token}},
		{"of a service that nobody has", func(v *View) { v.Incidents[1].Service = "other" }, []string{mail, slow, token}},
	}
	for _, tt := range tests {
		f := troubled()
		f.edit(tt.edit)
		got := troubles(f)
		for _, s := range []string{mail, line, silent, slow, token, "Gián đoạn Mạng truyền"} {
			if want := slices.Contains(tt.want, s); has(got, s) != want {
				t.Errorf("%s: %q among the troubles: %t, want %t; %q", tt.name, s, !want, want, got)
			}
		}
	}
	f := newcomer()
	f.edit(func(v *View) {
		v.Cells = v.Cells[:4]
		v.Incidents = []Incident{{ID: "x", Kind: KindLine, Unit: "xa-01", State: check.Unknown, Reason: check.Silent, Since: noon, Opened: noon}}
	})
	if p := parse(t, get(handlerOf(f), "/")); strings.Contains(p.text, words.Say(words.VI, "board.fine")) || p.byID("trouble") != nil {
		t.Error("an incident is open, and the page says that all is well")
	}
}

func TestAcknowledge(t *testing.T) {
	var calls []acked
	h := acking(troubled(), &calls)
	const slowly = `http-equiv="refresh" content="120"` // without scripts, while somebody may be writing
	first := get(h, "/")
	if !strings.Contains(first.Body.String(), slowly) {
		t.Error("without scripts, a page with a form is loaded again too soon")
	}
	form := parse(t, first).byID("i-" + mailIncident + "-f")
	if form == nil || attr(form, "method") != "post" || attr(form, "action") != "/incident/"+mailIncident+"/ack" {
		t.Fatalf("the form: %+v", form)
	}
	w := post(h, attr(form, "action"), url.Values{"note": {"  gọi nhà cung cấp\r\n\x00 lúc 8h \xff"}}.Encode())
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/#i-"+mailIncident {
		t.Fatalf("status %d, location %q", w.Code, w.Header().Get("Location"))
	}
	if diff := cmp.Diff([]acked{{mailIncident, "Mai", "gọi nhà cung cấp lúc 8h \ufffd"}}, calls); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	then := get(h, "/") // at once, not a second later
	p := parse(t, then)
	if strings.Contains(then.Body.String(), slowly) {
		t.Error("without scripts, a page without a form is loaded again too late")
	}
	if got := textOf(p.byID("i-" + mailIncident)); !strings.Contains(got, "Đã nhận: Mai, lúc 08:30 – gọi nhà cung cấp") {
		t.Errorf("afterwards: %s", got)
	}
	if n := len(p.all("button", "")); n != 0 {
		t.Errorf("%d buttons although all is acknowledged", n)
	}
	w = post(h, "/incident/"+mailIncident+"/ack", "note=again")
	p = parse(t, w)
	if w.Code != http.StatusConflict || !strings.Contains(p.text, "Đã có người nhận sự cố này") || !strings.Contains(p.text, "Mai, lúc 08:30.") {
		t.Errorf("twice: status %d, %s", w.Code, p.text)
	}
	if n := len(p.all("script", "")) + len(p.all("meta", "")) - 3; n != 0 {
		t.Error("the answer to a form would load itself again")
	}
}

func TestAcknowledgeFromItsPage(t *testing.T) {
	h := acking(troubled(), nil)
	p := parse(t, get(h, "/incident/"+mailIncident))
	inputs := url.Values{}
	for _, n := range p.all("input", "") {
		inputs.Set(attr(n, "name"), attr(n, "value"))
	}
	w := post(h, attr(p.all("form", "")[0], "action"), inputs.Encode())
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/incident/"+mailIncident {
		t.Errorf("status %d, location %q", w.Code, w.Header().Get("Location"))
	}
	if p = parse(t, get(h, w.Header().Get("Location"))); !strings.Contains(p.text, "Đã nhận: Mai, lúc 08:30") || len(p.all("form", "")) != 0 {
		t.Errorf("afterwards: %.400s", p.text)
	}
}

func TestAcknowledgeGoneWrong(t *testing.T) {
	var calls []acked
	h := acking(troubled(), &calls)
	tests := []struct {
		name, path, body string
		status           int
		say              string
		called           bool
	}{
		{"unknown", "/incident/nothing/ack", "", 404, "Không có sự cố này", true},
		{"hostile id", "/incident/..%2f%3Cscript%3E/ack", "note=x", 404, "Không có sự cố này", true},
		{"long id", "/incident/" + strings.Repeat("x", 500) + "/ack", "", 404, "Không có sự cố này", false},
		{"long note", "/incident/" + mailIncident + "/ack", "note=" + strings.Repeat("x", 501), 413, "dài nhất 500 byte", false},
		{"endless form", "/incident/" + mailIncident + "/ack", "note=" + strings.Repeat("x", 100_000), 400, "dài nhất 500 byte", false},
		{"no form", "/incident/" + mailIncident + "/ack", "note=%zz", 400, "Ghi chú không đọc được", false},
	}
	for _, tt := range tests {
		calls = nil
		w := post(h, tt.path, tt.body)
		p := parse(t, w)
		if w.Code != tt.status || !strings.Contains(p.text, tt.say) || (len(calls) > 0) != tt.called {
			t.Errorf("%s: status %d, want %d; %d calls; %s", tt.name, w.Code, tt.status, len(calls), p.text)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "form-action 'self'") || len(p.all("h1", "")) != 1 {
			t.Errorf("%s: header %v", tt.name, w.Header())
		}
	}
	for n, want := range map[int]int{500: 303, 501: 413} {
		if got := post(acking(troubled(), nil), "/incident/"+mailIncident+"/ack", "note="+strings.Repeat("x", n)).Code; got != want {
			t.Errorf("a note of %d bytes: status %d, want %d", n, got, want)
		}
	}
	var log bytes.Buffer
	h = NewHandler(troubled(), Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), User: func(context.Context) string { return "Mai" },
		Ack: func(context.Context, string, string, string) error { return errors.New("disk /secret is full") }})
	w := post(h, "/incident/"+mailIncident+"/ack", "")
	if w.Code != 503 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(parse(t, w).text, "Chưa ghi được") || !strings.Contains(log.String(), "disk /secret is full") {
		t.Errorf("status %d, log %q", w.Code, log.String())
	}
}

// Only who may take note of an incident has a button for it.
func TestNoButtonForNobody(t *testing.T) {
	ack := func(context.Context, string, string, string) error { t.Error("called"); return nil }
	tests := []struct {
		name   string
		o      Options
		status int
	}{
		{"nobody takes it", Options{User: func(context.Context) string { return "Mai" }}, 405},
		{"nobody is named", Options{Ack: ack}, 403},
		{"no name", Options{Ack: ack, User: func(context.Context) string { return "" }}, 403},
	}
	for _, tt := range tests {
		tt.o.Now = func() time.Time { return noon }
		h := NewHandler(troubled(), tt.o)
		for _, path := range []string{"/", "/incident/" + mailIncident} {
			p := parse(t, get(h, path))
			if n := len(p.all("form", "")) + len(p.all("button", "")) + len(p.all("input", "")); n != 0 {
				t.Errorf("%s: %d parts of a form on %s", tt.name, n, path)
			}
			if !strings.Contains(p.text, "Chưa có người nhận.") {
				t.Errorf("%s: %s does not say that nobody has acknowledged", tt.name, path)
			}
		}
		if w := post(h, "/incident/"+mailIncident+"/ack", ""); w.Code != tt.status {
			t.Errorf("%s: status %d, want %d", tt.name, w.Code, tt.status)
		}
	}
}

func TestMethodsOfIncidents(t *testing.T) {
	h := acking(troubled(), nil)
	for _, tt := range []struct {
		method, path, location string
		status                 int
	}{
		{"GET", "/incident/" + mailIncident, "", 200},
		{"GET", "/incident/" + mailIncident + "/ack", "/incident/" + mailIncident, 303},
		{"GET", "/incident/%2F%2Fevil.example/ack", "/incident/%2F%2Fevil.example", 303},
		{"GET", "/incident/" + mailIncident + "/nothing", "", 404},
		{"GET", "/incident/", "", 404},
		{"PUT", "/incident/" + mailIncident + "/ack", "", 405},
		{"DELETE", "/incident/" + mailIncident + "/ack", "", 405},
		{"POST", "/incident/" + mailIncident, "", 405},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if w.Code != tt.status || w.Header().Get("Location") != tt.location {
			t.Errorf("%s %s: status %d, location %q", tt.method, tt.path, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestHostileIncidents(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}/../%2e`
	f := troubled()
	f.edit(func(v *View) {
		v.Incidents[0] = Incident{ID: evil, Kind: KindLine, Unit: evil, Through: evil, Carrier: evil, State: check.Down, Reason: check.Reason(evil),
			Owner: Name{evil, evil}, Services: []string{evil, "javascript:alert(3)"}, Units: []string{evil}, Ack: Ack{evil, noon, evil}}
		v.Incidents[1] = Incident{ID: "javascript:alert(4)", Kind: evil, Service: evil, Reason: check.Reason(evil), Units: []string{evil}}
		v.Incidents[2].Ack.Note = evil
		v.Layers[0].Unit, v.Layers[0].Layers[0].Measured = evil, Controls{evil: 7}
		v.Layers[1].Name = Name{evil, evil}
	})
	h := acking(f, nil)
	for _, path := range []string{"/", "/?lang=en", incidentPage(evil), incidentPage("javascript:alert(4)")} {
		w := get(h, path)
		p := parse(t, w)
		if w.Code != http.StatusOK || len(p.all("script", "")) != 1 || len(p.all("img", "")) != 0 {
			t.Errorf("%s: status %d, %d scripts, %d images", path, w.Code, len(p.all("script", "")), len(p.all("img", "")))
		}
		for d := range p.Descendants() {
			for _, a := range d.Attr {
				if strings.HasPrefix(a.Key, "on") || slices.Contains([]string{"href", "src", "action"}, a.Key) && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "?") {
					t.Errorf("%s: <%s %s=%q>", path, d.Data, a.Key, a.Val)
				}
			}
		}
		if !strings.Contains(p.text, "<script>alert(1)</script>") {
			t.Errorf("%s: the text itself is not shown", path)
		}
	}
}

func TestIncidentThatIsEnding(t *testing.T) {
	f := troubled()
	back := words.Say(words.VI, "incident.recovering")
	if p := parse(t, get(handlerOf(f), "/")); strings.Contains(p.text, back) {
		t.Error("all that is down works again")
	}
	f.edit(func(v *View) {
		for k := range v.Cells {
			if v.Cells[k].Service == "mail" {
				v.Cells[k].State, v.Cells[k].Reason = check.Up, check.OK
			}
		}
	})
	if p := parse(t, get(handlerOf(f), "/")); !strings.Contains(textOf(p.byID("i-"+mailIncident)), back) || strings.Contains(textOf(p.byID("i-"+lineIncident)), back) {
		t.Error("nothing says that only the mail works again")
	}
}

func TestClosedIncidentsAreFew(t *testing.T) {
	f := newcomer()
	f.edit(func(v *View) {
		for i := range 9 {
			v.Incidents = append(v.Incidents, Incident{ID: fmt.Sprint("x", i), Kind: KindService, Service: "pc", State: check.Down, Reason: check.Timeout,
				Since: noon.Add(-time.Duration(i+2) * time.Hour), Closed: noon.Add(-time.Duration(i) * time.Hour)})
		}
	})
	p := parse(t, get(handlerOf(f), "/"))
	var got []string
	for _, n := range (page{Node: p.byID("closed")}).all("li", "") {
		got = append(got, attr(n, "id"))
	}
	if diff := cmp.Diff([]string{"i-x0", "i-x1", "i-x2", "i-x3", "i-x4"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if p.byID("incidents") != nil || attr(p.byID("closed"), "open") != "" {
		t.Error("nothing is open, and the page says so")
	}
}

func TestLayers(t *testing.T) {
	p := parse(t, get(handlerOf(troubled()), "/"))
	s := p.byID("layers")
	if s == nil {
		t.Fatal("no section")
	}
	var sums []string
	for _, tr := range (page{Node: s}).all("tbody", "")[:1] {
		for _, td := range (page{Node: tr}).all("td", "") {
			sums = append(sums, textOf(td))
		}
	}
	want := []string{"24 Không đạt 48 Không đo được 96 Đạt", "36 Chưa có minh chứng 72 Đạt", "24 Không đo được", "12 Hết hạn 24 Đạt",
		"không có biện pháp nào", "48 Chưa có minh chứng 36 Không áp dụng", "24 Đạt một phần 24 Đạt", "24 Đạt"}
	if diff := cmp.Diff(want, sums); diff != "" {
		t.Errorf("of all units, measured and attested by layer; -want +got:\n%s", diff)
	}
	rows := (page{Node: p.byID("layers-matrix")}).all("tbody", "")[0]
	if n := len((page{Node: rows}).all("tr", "")); n != 24 {
		t.Errorf("%d units, want 24", n)
	}
	for _, td := range (page{Node: rows}).all("td", "") {
		if attr(td, "title") == "" || attr(td, "data-label") == "" || !strings.ContainsFunc(textOf(td), func(r rune) bool { return r > '9' }) {
			t.Errorf("a cell without words: %q", textOf(td))
		}
	}
	f := troubled()
	f.edit(func(v *View) { v.Layers = v.Layers[:2] })
	if p := parse(t, get(handlerOf(f), "/?lang=en")); p.byID("layers-units") != nil || !strings.Contains(p.text, "Layer 2: professional monitoring") || !strings.Contains(p.text, "Not measurable") {
		t.Error("few units are folded, or nothing is in English")
	}
	f.edit(func(v *View) {
		v.Layers = []UnitLayers{{Unit: "x", Layers: [Layers]Layer{{Controls{"new": 2, ControlPass: -1}, nil}}}}
	})
	if got := textOf(parse(t, get(handlerOf(f), "/")).byID("layers-matrix")); !strings.Contains(got, "2 Không đo được") || strings.Contains(got, "Đạt") {
		t.Errorf("a state that nobody knows: %s", got)
	}
	f.edit(func(v *View) { v.Layers = nil })
	if parse(t, get(handlerOf(f), "/")).byID("layers") != nil {
		t.Error("a section of nothing")
	}
}

func TestAPIOfIncidents(t *testing.T) {
	var v struct {
		Incidents []struct {
			ID, Kind, Service, State, Reason string
			Votes                            Votes
			Ack                              *Ack
			Closed                           *time.Time
		}
		Layers []UnitLayers
	}
	if err := json.Unmarshal(get(handlerOf(troubled()), "/api/board").Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Incidents) != 5 || len(v.Layers) != 24 {
		t.Fatalf("%d incidents and %d units", len(v.Incidents), len(v.Layers))
	}
	if i := v.Incidents[1]; i.ID != mailIncident || i.State != "down" || i.Reason != string(check.TLSExpired) || i.Votes.Down != 23 || i.Ack != nil || i.Closed != nil {
		t.Errorf("got %+v", i)
	}
	if i := v.Incidents[0]; i.Ack == nil || i.Ack.User != "Nguyễn Thị Hoa" {
		t.Errorf("got %+v", i)
	}
	if l := v.Layers[1].Layers[0]; l.Measured[ControlFail] != 1 || l.Attested[ControlPass] != 3 {
		t.Errorf("got %+v", l)
	}
}

func TestPageOfAClosedIncident(t *testing.T) {
	for lang, wants := range map[string][]string{
		"vi": {"Gián đoạn: Quản lý văn bản", "từ 15:30 ngày 22/11/2026, khôi phục 16:29 ngày 22/11/2026 (kéo dài 59 phút)", "Đã nhận: Trần Văn Bình", "Phụ trách: " + vp},
		"en": {"Down: Document management", "restored 22/11/2026 16:29", "Acknowledged: Trần Văn Bình"},
	} {
		p := parse(t, get(acking(troubled(), nil), "/incident/20261122-150000-service-qlvb?lang="+lang))
		for _, want := range wants {
			if !strings.Contains(strings.ReplaceAll(p.text, " ,", ","), want) {
				t.Errorf("%s: the page lacks %q: %s", lang, want, p.text)
			}
		}
		// What was so is not said as if it were still so.
		for _, key := range []string{"board.action", "incident.unacked"} {
			if not := words.Say(words.ParseLang(lang), key); strings.Contains(p.text, not) {
				t.Errorf("%s: the page says %q", lang, not)
			}
		}
		if len(p.all("form", "")) != 0 || len(p.all("p", "impact")) != 0 || len(p.all("li", "up"))+len(p.all("li", "down")) != 0 {
			t.Errorf("%s: the page is that of an open incident", lang)
		}
	}
}

// What is to be done, and whom to call, goes before what the reason alone says.
func TestIncidentAction(t *testing.T) {
	f := newcomer()
	f.edit(func(v *View) {
		v.Incidents = []Incident{{ID: "i-1", Kind: KindService, Service: "pc", State: check.Down, Reason: check.ConnectRefused, Since: noon.Add(-time.Hour), Opened: noon.Add(-time.Hour),
			Action: Name{"Gọi Sở TT&TT.", "Call the Department."}}}
	})
	for lang, want := range map[string]string{"vi": "Gọi Sở TT&TT.", "en": "Call the Department."} {
		if p := parse(t, get(handlerOf(f), "/?lang="+lang)); !strings.Contains(p.text, want) || strings.Contains(p.text, words.Reason(words.ParseLang(lang), check.ConnectRefused).Action) {
			t.Errorf("%s: the page does not say %q alone", lang, want)
		}
	}
}
