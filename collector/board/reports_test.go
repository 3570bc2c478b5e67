package board

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/report"
)

// A press is a Reports with one draft that waits for its review, one that waits to be issued, and one that was issued.
type press struct {
	name   string // who acts; "" only reads
	err    error  // of every deed
	making []Making
	done   []string
}

func (p *press) Acts(context.Context) (string, error) {
	if errors.Is(p.err, ErrForbidden) {
		return "", p.err
	}
	return p.name, nil
}

func (p *press) List(context.Context) (ReportList, error) {
	at := noon.Add(-time.Hour)
	sha := strings.Repeat("0123456789abcdef", 4)
	return ReportList{Making: p.making, Issuer: report.Issuer{Body: "Phòng Văn hóa và Thông tin", Symbol: "BC-VHTT"},
		Drafts: []report.Draft{{Scope: report.Scope{Period: "2026-Q3"}, Made: at, By: report.Program, SHA256: sha},
			{Scope: report.Scope{Period: "2026-9M", Unit: "xa-07"}, Made: at, By: report.Program, SHA256: sha, ReviewedBy: "binh", ReviewedAt: at},
			{Scope: report.Scope{Period: "2026-01-10..2026-02-20", Service: "mail"}, Made: at, By: "an", SHA256: sha, ReviewedBy: "chi", ReviewedAt: at}},
		Issued: []report.Issued{{Scope: report.Scope{Period: "2026-Q2"}, Number: 1, Leaf: 1234, At: at, By: "an", ReviewedBy: "binh", SHA256: sha, Supersedes: -1},
			{Scope: report.Scope{Period: "2026-9M", Unit: "xa-07"}, Number: 2, Leaf: 2345, At: at, By: "an", ReviewedBy: "binh", Why: "sửa theo biên bản 12", SHA256: sha, Supersedes: 7}},
		Deadline: func(s report.Scope) time.Time {
			switch s.Period {
			case "2026-Q3":
				return noon.Add(-time.Hour)
			case "2026-9M":
				return noon.Add(48 * time.Hour)
			}
			return time.Time{}
		}}, nil
}

func (p *press) deed(what string, s report.Scope) error {
	p.done = append(p.done, what+" "+s.ID())
	return p.err
}

func (p *press) Make(_ context.Context, s report.Scope, i report.Issuer) error {
	return p.deed("make "+i.Body, s)
}

func (p *press) Review(_ context.Context, s report.Scope, sha string) error {
	return p.deed("review "+sha, s)
}
func (p *press) Issue(_ context.Context, s report.Scope, why string) error {
	return p.deed("issue "+why, s)
}
func (p *press) Verify(_ context.Context, s report.Scope, _ int) error { return p.deed("verify", s) }

func (p *press) File(_ context.Context, s report.Scope, version int, format string, _ words.Lang) ([]byte, error) {
	return []byte(format + " " + s.ID()), p.err
}

func pressHandler(p *press) http.Handler {
	return NewHandler(troubled(), Options{Now: func() time.Time { return noon }, Reports: p})
}

func sent(h http.Handler, path string, form url.Values) (int, string) {
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestReportsPage(t *testing.T) {
	p := &press{name: "An"}
	code, page := fetched(pressHandler(p), "/reports")
	for _, want := range []string{"quý III năm 2026", "QUÁ HẠN: hạn ban hành hết ngày", "dự thảo, chờ kiểm tra", "tự lập lúc", "9 tháng đầu năm 2026 – ", "binh đã kiểm tra, chờ ban hành", "từ ngày 10/01/2026 đến hết ngày 20/02/2026",
		"Chờ người khác ban hành", `value="review"`, `value="issue"`, `name="why" required`, "Bản 1, an ban hành lúc", "sửa theo biên bản 12", "Mục 1.234 của nhật ký",
		"/reports/file?period=2026-Q3&amp;calendar=false&amp;service=&amp;unit=&amp;version=0&amp;format=pdf", `value="make"`, "<option>2026-Q4</option>", "Theo NĐ 09/2019", `value="Phòng Văn hóa và Thông tin"`, `href="/reports"`} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", code, want)
		}
	}
	if n := strings.Count(page, `value="issue"`); n != 1 {
		t.Errorf("%d reports can be issued by who made one of them, want 1", n)
	}
	if strings.Contains(page, "<progress") {
		t.Error("something is being made")
	}
	if _, page := fetched(pressHandler(p), "/reports?lang=en"); !strings.Contains(page, "OVERDUE: was to be issued by") || strings.Contains(page, "Dự thảo") {
		t.Error("the page is not in English")
	}
	p.name = ""
	if _, page = fetched(pressHandler(p), "/reports"); strings.Contains(page, `value="review"`) || strings.Contains(page, `value="make"`) || !strings.Contains(page, `value="verify"`) {
		t.Error("who only reads has other forms than the one that verifies")
	}
}

// While a draft is made the page shows how far it is, asks for itself again, and takes no form that it could lose.
func TestReportsProgress(t *testing.T) {
	p := &press{name: "an", making: []Making{{Scope: report.Scope{Period: "2026"}, Step: 3, Steps: 5}, {Scope: report.Scope{Period: "2025"}, Steps: 5}, {Scope: report.Scope{Period: "2024"}, Failed: "<no data>"}}}
	_, page := fetched(pressHandler(p), "/reports")
	for _, want := range []string{`<progress value="3" max="5"`, "đang lập, bước 3/5", "đang chờ", "không lập được: &lt;no data&gt;", "board.", ".js"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, `value="make"`) {
		t.Error("a form that the next look would empty")
	}
}

func TestReportsDeeds(t *testing.T) {
	for _, c := range []struct {
		name string
		form url.Values
		code int
		want string
	}{
		{"make", url.Values{"do": {"make"}, "period": {"2026-Q3"}, "calendar": {"true"}, "unit": {"xa-07"}, "body": {"Phòng A"}}, 303, "make Phòng A 2026-Q3+calendar+unit.xa-07"},
		{"make of days", url.Values{"do": {"make"}, "period": {"2026-Q3"}, "calendar": {"true"}, "from": {"2026-01-10"}, "to": {"2026-02-20"}}, 303, "make  2026-01-10..2026-02-20"},
		{"review", url.Values{"do": {"review"}, "period": {"2026-Q3"}, "sha256": {"abc"}}, 303, "review abc 2026-Q3"},
		{"issue", url.Values{"do": {"issue"}, "period": {"2026-Q3"}, "why": {"vì\nsửa"}}, 303, "issue vì sửa 2026-Q3"},
		{"verify", url.Values{"do": {"verify"}, "period": {"2026-Q2"}, "version": {"1"}}, 200, "verify 2026-Q2"},
		{"nothing", url.Values{"do": {"burn"}}, 400, ""},
	} {
		p := &press{name: "an"}
		code, page := sent(pressHandler(p), "/reports", c.form)
		if code != c.code || strings.Join(p.done, ",") != c.want {
			t.Errorf("%s: status %d and %q; want %d and %q", c.name, code, p.done, c.code, c.want)
		}
		if c.name == "verify" && !strings.Contains(page, "khớp với nhật ký") {
			t.Error("nobody is told that it fits")
		}
		for who, p := range map[string]*press{"who only reads": {}, "who may not see": {name: "x", err: ErrForbidden}} {
			code, _ := sent(pressHandler(p), "/reports", c.form)
			if want := 403; code != want && !(who == "who only reads" && c.name == "verify") {
				t.Errorf("%s, %s: status %d, want %d", who, c.name, code, want)
			}
			if len(p.done) > 0 && c.name != "verify" {
				t.Errorf("%s did %q", who, p.done)
			}
		}
	}
	code, page := sent(pressHandler(&press{name: "an", err: errors.New("hỏng <b>")}), "/reports", url.Values{"do": {"issue"}, "period": {"2026-Q3"}})
	if code != 422 || !strings.Contains(page, "hỏng &lt;b&gt;") {
		t.Errorf("status %d", code)
	}
}

func TestReportFiles(t *testing.T) {
	get := func(p *press, query string) (*http.Response, string) {
		w := httptest.NewRecorder()
		pressHandler(p).ServeHTTP(w, httptest.NewRequest("GET", "/reports/file?"+query, nil))
		return w.Result(), w.Body.String()
	}
	for _, f := range ReportFormats() {
		resp, body := get(&press{}, "period=2026-Q3&calendar=false&service=&unit=xa-07&version=2&format="+f)
		if resp.StatusCode != 200 || body != f+" 2026-Q3+unit.xa-07" || resp.Header.Get("Content-Type") != reportTypes[f] ||
			resp.Header.Get("Content-Disposition") != `attachment; filename="bao-cao-2026-q3-unit.xa-07-ban-2.`+f+`"` || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: status %d, %q, %v", f, resp.StatusCode, body, resp.Header)
		}
	}
	for query, want := range map[string]int{"period=2026-Q3&version=0&format=exe": 400, "period=../x&version=0&format=pdf": 400, "period=2026-Q3&version=-1&format=pdf": 400, "period=2026-Q3&format=pdf": 400} {
		if resp, _ := get(&press{}, query); resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", query, resp.StatusCode, want)
		}
	}
	for err, want := range map[error]int{ErrForbidden: 403, errors.New("none"): 404} {
		if resp, _ := get(&press{err: err}, "period=2026-Q3&version=0&format=pdf"); resp.StatusCode != want {
			t.Errorf("%v: status %d, want %d", err, resp.StatusCode, want)
		}
	}
	if !slices.Contains(recent(noon), "2026-Q4") || slices.Contains(recent(noon), "2027-Q1") {
		t.Errorf("the periods that are offered are %v", recent(noon))
	}
}
