package board

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"egovmon/agent/check"
)

// TestWall: the worst first, every state in words, and what is left out is said.
func TestWall(t *testing.T) {
	f := troubled()
	code, page := fetched(acking(f, nil), "/wall")
	for _, want := range []string{`<body class="wall"`, "Huyện Tứ Kỳ", "Sự cố đang mở (2)", "Chưa có người nhận", "Đã nhận: Nguyễn Thị Hoa", `<li id="r-mail" class="down">`, "Gián đoạn, từ 00:01", `<script src=`, "http-equiv=\"refresh\""} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the wall lacks %q", code, want)
		}
	}
	if strings.Contains(page, "<form") || strings.Contains(page, "<button") {
		t.Error("a wall has no pointer for forms")
	}
	if tiles := regexp.MustCompile(`<li id="r-[a-z0-9_]+" class="([a-z]+)"`).FindAllStringSubmatch(page, -1); len(tiles) < 5 || tiles[0][1] != "down" || tiles[1][1] != "degraded" {
		t.Errorf("tiles in the order of %v", tiles)
	}
	if _, en := fetched(acking(f, nil), "/wall?lang=en"); !strings.Contains(en, "Open incidents (2)") || strings.Contains(en, "<wall.") {
		t.Error("no English")
	}
	part := get(acking(f, nil), "/wall?part=main").Body.String()
	if strings.Contains(part, "<html") || !strings.Contains(part, `id="r-mail"`) {
		t.Error("what changes cannot be asked for by itself")
	}
	open := slices.DeleteFunc(slices.Clone(f.view.Incidents), func(i Incident) bool { return !i.Closed.IsZero() })
	for k := range mostWalled + 3 {
		i := open[0]
		i.ID = fmt.Sprint("x", k)
		f.view.Incidents = append(f.view.Incidents, i)
		f.view.Counters = append(f.view.Counters, Counter{Unit: i.ID, State: CounterReady}, Counter{Unit: i.ID + "b", State: CounterStopped})
	}
	_, page = fetched(acking(f, nil), "/wall")
	if n := strings.Count(page, `<p class="why">`); n != mostWalled || !strings.Contains(page, "Sự cố đang mở (10) và 5 mục khác") {
		t.Errorf("%d incidents of 10 are shown", n)
	}
	if n := strings.Count(page, `<li id="counter-`); n != mostCounters || !strings.Contains(page, "và 4 mục khác") {
		t.Errorf("%d counters of 16 are shown", n)
	}
	f.view.Cells, f.view.Counters = nil, nil
	if _, page = fetched(acking(f, nil), "/wall"); strings.Contains(page, `class="up"><svg`) {
		t.Error("what is not measured is up")
	}
}

// TestWallFits: on the screens that it is made for, nobody has to scroll.
func TestWallFits(t *testing.T) {
	chromium(t)
	f := troubled()
	for k := range 5 {
		f.view.Services = append(f.view.Services, service(fmt.Sprint("more", k), "Hệ thống thông tin chuyên ngành", "A system more", "VP", "Office"))
		f.view.Cells = append(f.view.Cells, Cell{Service: fmt.Sprint("more", k), State: check.Up, Since: noon}, Cell{Service: fmt.Sprint("more", k), Unit: "xa-07", State: check.Up, Since: noon,
			Checks: []CheckRef{{"m", "x"}}})
	}
	srv := httptest.NewServer(inFrame(acking(f, nil)))
	defer srv.Close()
	for width, height := range map[int]int{1366: 768, 1920: 1080} {
		dom := browse(t, "--dump-dom", "--virtual-time-budget=2000", fmt.Sprintf("%s/frame/%d/wall", srv.URL, width))
		m := regexp.MustCompile(`<iframe id="f" width="\d+" height="(\d+)"`).FindStringSubmatch(dom)
		if m == nil {
			t.Fatalf("the frame did not load:\n%.500s", dom)
		}
		if n, err := strconv.Atoi(m[1]); err != nil || n > height || n <= 100 {
			t.Errorf("at %d px the wall is %d px high, want at most %d", width, n, height)
		}
	}
}
