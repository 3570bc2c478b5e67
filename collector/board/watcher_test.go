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

	"egovmon/collector/alert"
)

// A lookout is a Watcher in memory.
type lookout struct {
	by    string
	tests bool
	s     alert.WatcherStatus
	did   []string
	err   error
}

func (o *lookout) Rights(context.Context) (string, bool) { return o.by, o.tests }
func (o *lookout) Status() alert.WatcherStatus           { return o.s }
func (o *lookout) Test(context.Context) error {
	o.did = append(o.did, "test")
	return o.err
}
func (o *lookout) Confirm(_ context.Context, by, code string) error {
	o.did = append(o.did, "confirm "+by+" "+code)
	return o.err
}

func lookoutHandler(o *lookout) http.Handler {
	return NewHandler(troubled(), Options{Now: func() time.Time { return noon }, Watcher: o})
}

// watched is a watcher that is being tested anew.
func watched() *lookout {
	return &lookout{by: "lan.nt", tests: true, s: alert.WatcherStatus{State: alert.WatcherTesting, Tested: noon.Add(-time.Minute), Confirmed: noon.AddDate(-1, 0, -3), By: "Trần Thị Hoa", Last: noon.Add(-40 * time.Second)}}
}

func (o *lookout) send(fields url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/watcher", strings.NewReader(fields.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	lookoutHandler(o).ServeHTTP(w, r)
	return w
}

func TestWatcherPage(t *testing.T) {
	const test, confirm = `name="do" value="test"`, `name="do" value="confirm"`
	evil := alert.WatcherStatus{State: alert.WatcherConfirmed, Confirmed: noon.AddDate(0, 0, -3), By: "<b>Hoa</b>", Error: "answered <500>", Blind: "nothing comes in"}
	for _, tc := range []struct {
		name  string
		s     alert.WatcherStatus
		by    string
		tests bool
		has   []string
		not   []string
	}{
		{"none", alert.WatcherStatus{State: alert.WatcherNone}, "an", true, []string{"Chưa khai nơi nào", "alert.watcher.url"}, []string{test, confirm, "<table"}},
		{"never tested", alert.WatcherStatus{State: alert.WatcherUnconfirmed}, "an", true, []string{"chưa ai xác nhận", test}, []string{confirm}},
		{"being tested", watched().s, "an", true, []string{"chờ người nhận báo động nhập mã", test, confirm, "Trần Thị Hoa", "Lần gọi tới gần nhất"}, nil},
		{"being tested, who may not begin one", watched().s, "an", false, []string{confirm}, []string{test}},
		{"being tested, who may do nothing", watched().s, "", false, []string{"Đang thử"}, []string{test, confirm}},
		{"confirmed", evil, "an", true, []string{"Đã thử và có người xác nhận", "&lt;b&gt;Hoa", "answered &lt;500&gt;", "không nhìn thấy gì", test}, []string{confirm, "<b>Hoa", "<500>"}},
		{"stale", alert.WatcherStatus{State: alert.WatcherStale, Confirmed: noon.AddDate(-2, 0, 0), By: "Hoa"}, "an", true, []string{"đã quá một năm", test}, []string{confirm}},
	} {
		code, page := fetched(lookoutHandler(&lookout{by: tc.by, tests: tc.tests, s: tc.s}), "/watcher")
		for _, want := range tc.has {
			if code != 200 || !strings.Contains(page, want) {
				t.Errorf("%s: status %d; the page lacks %q", tc.name, code, want)
			}
		}
		for _, no := range tc.not {
			if strings.Contains(page, no) {
				t.Errorf("%s: the page has %q", tc.name, no)
			}
		}
	}
	if _, page := fetched(lookoutHandler(watched()), "/"); !strings.Contains(page, `href="/watcher"`) {
		t.Error("no way to the page")
	}
	if code, page := fetched(lookoutHandler(watched()), "/watcher?lang=en"); code != 200 || !strings.Contains(page, "Being tested: waiting for the code") {
		t.Errorf("status %d, and no English", code)
	}
}

func TestWatcherForms(t *testing.T) {
	for _, tc := range []struct {
		name   string
		by     string
		tests  bool
		fields url.Values
		err    error
		status int
		did    string
		said   string
	}{
		{"a test", "", true, url.Values{"do": {"test"}}, nil, 200, "test", "Đã gửi lệnh thử"},
		{"a test by who may not", "an", false, url.Values{"do": {"test"}}, nil, 403, "", "Quản trị bắt đầu"},
		{"a test that is not told", "", true, url.Values{"do": {"test"}}, errors.New("the watcher was not told of the test: <x>"), 422, "test", "was not told of the test: &lt;x&gt;"},
		{"the code", "an", false, url.Values{"do": {"confirm"}, "code": {" abcd1234\r\n"}}, nil, 200, "confirm an abcd1234", "Đã ghi vào nhật ký"},
		{"the code of who may not", "", true, url.Values{"do": {"confirm"}, "code": {"abcd1234"}}, nil, 403, "", "Không được"},
		{"a wrong code", "an", false, url.Values{"do": {"confirm"}, "code": {"x"}}, errors.Join(alert.ErrWrongCode), 422, "confirm an x", "Mã không đúng"},
		{"no test", "an", false, url.Values{"do": {"confirm"}, "code": {"x"}}, alert.ErrNoTest, 422, "confirm an x", "Không có lần thử nào"},
		{"no watcher", "an", true, url.Values{"do": {"test"}}, alert.ErrNoWatcher, 422, "test", "Chưa khai nơi nào"},
		{"nothing", "an", true, url.Values{}, nil, 400, "", ""},
		{"too much", "an", true, url.Values{"do": {"test"}, "code": {strings.Repeat("x", maxForm)}}, nil, 400, "", ""},
	} {
		o := watched()
		o.by, o.tests, o.err = tc.by, tc.tests, tc.err
		w := o.send(tc.fields)
		if got := strings.Join(o.did, ", "); w.Code != tc.status || got != tc.did || !strings.Contains(w.Body.String(), tc.said) {
			t.Errorf("%s: status %d, did %q; want %d, %q and %q", tc.name, w.Code, got, tc.status, tc.did, tc.said)
		}
	}
}
