package board

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
)

// TestStatus: everybody sees the public services and what was announced of them, and nothing else.
func TestStatus(t *testing.T) {
	f := suspending()
	o := Options{Now: func() time.Time { return noon }, People: &club{me: "lan.nt", admin: true}, Suspensions: &notary{}, Confirmations: &clerk{}, Registry: &cabinet{}, Watcher: watched()}
	if code, page := fetched(NewHandler(f, o), "/status"); code != 404 || strings.Contains(page, "Thư điện tử") {
		t.Errorf("a page that nobody asked for: status %d", code)
	}
	o.Public = []string{"mail", "qlvb", "no-such"}
	h := NewHandler(f, o)
	code, page := fetched(h, "/status")
	for _, want := range []string{"Thư điện tử công vụ", "Gián đoạn", "Quản lý văn bản", "tạm ngừng có thông báo (bảo trì): 07:30:20", "Huyện Tứ Kỳ", "Số liệu nhận lần cuối"} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", code, want)
		}
	}
	for _, no := range []string{"Xã ", "xa-", "Cổng TTĐT", "Nguyễn Thị Hoa", "/incident/", "/service/", "/check/", "hết hạn", "VNPT", "lan.nt", "/users", "/suspensions", "/certs", "/watcher", "/history", "no-such", "8/TB", "24/11/2026", "<form"} {
		if strings.Contains(page, no) {
			t.Errorf("everybody sees %q", no)
		}
	}
	if strings.Count(page, "<li class=") != 2 {
		t.Error("another number of services than the two that are public")
	}
	if _, en := fetched(h, "/status?lang=en"); !strings.Contains(en, "State of public services") || strings.Contains(en, "<status.") {
		t.Error("no English")
	}
	for k := range f.view.Cells {
		f.view.Cells[k].State = check.Unknown
	}
	if _, page := fetched(NewHandler(f, o), "/status"); strings.Contains(page, `class="up"`) || strings.Count(page, `<li class="unknown">`) != 2 || strings.Count(page, "Không xác định") != 2 {
		t.Error("what is not known is not said to be so")
	}
}

// TestPublic: of the board, the page for everybody and the style of pages pass; nothing else does.
func TestPublic(t *testing.T) {
	say := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) })
	}
	h := Public(say("pages"), say("others"))
	for request, want := range map[string]string{"GET /status": "pages", "HEAD /status": "pages", "GET /assets/board.css": "pages", "POST /status": "others", "GET /": "others", "GET /status/": "others", "GET /statusx": "others",
		"GET /api/board": "others", "GET /assets": "others", "GET /wall": "others", "GET /users": "others", "POST /users": "others"} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(method, path, nil)); w.Body.String() != want {
			t.Errorf("%s goes to %s, want %s", request, w.Body, want)
		}
	}
}
