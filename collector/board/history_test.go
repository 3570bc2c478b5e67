package board

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

func figuresOf(up, down, unknown, excluded int64) history.Counted {
	known, all := float64(up+down), float64(up+down+unknown)
	return history.Counted{Calendar: history.Hours24x7, Account: history.Account{Up: up, Down: down, Unknown: unknown, Excluded: excluded},
		Figures: history.Figures{Lower: new(float64(up) / all), Upper: new(float64(up+unknown) / all), Coverage: new(known / all)}}
}

// chronicled is a History with everything a page shows.
func chronicled() History {
	mail := figuresOf(9000, 900, 100, 600)
	hours := mail
	hours.Calendar = history.ServiceHours
	hours.Afterwards = &history.Recount{Account: history.Account{Excluded: 1200}, Figures: history.Figures{Lower: new(0.95), Upper: new(0.96), Coverage: new(1.0)}}
	gone := []history.Outage{{From: noon.Add(-3 * time.Hour), To: noon.Add(-2 * time.Hour), Down: 3600, Reason: check.ConnectRefused},
		{From: noon.Add(-time.Hour), To: noon, Down: 3600, Reason: check.TLSExpired, Ongoing: true}}
	none := history.Counted{Calendar: history.Hours24x7, Account: history.Account{Unknown: 10000}}
	return History{Counted: noon, Leaves: 1234, Root: "abcdef0123456789", Missing: []int{2026}, Rows: []history.Row{
		{Service: "mail", Calendars: []history.Counted{mail, hours}, Outages: gone}, {Service: "mail", Unit: "xa-07", Calendars: []history.Counted{figuresOf(10000, 0, 0, 0)}},
		{Service: "qlvb", Calendars: []history.Counted{none}}}}
}

func historyHandler(asked *[]HistoryQuery, a History, err error) http.Handler {
	return NewHandler(troubled(), Options{Now: func() time.Time { return noon }, History: func(_ context.Context, q HistoryQuery) (History, error) {
		if asked != nil {
			*asked = append(*asked, q)
		}
		return a, err
	}})
}

func TestHistoryPage(t *testing.T) {
	var asked []HistoryQuery
	h := historyHandler(&asked, chronicled(), nil)
	code, page := fetched(h, "/history")
	for _, want := range []string{"Số liệu theo kỳ", "Thư điện tử công vụ", "90,00\u00a0% – 91,00\u00a0%", "99,00\u00a0%", "0:15:00", "không tính: 0:10:00", "95,00\u00a0% – 96,00\u00a0% nếu trừ", "giờ phục vụ", "Không đo được", "Quản lý văn bản",
		"chưa chấm dứt", "1234 mục", "abcdef0123456789", "năm 2026", "Tính đến", `href="/history?from=`, "Kỳ quý 4/2026", "/api/history?"} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", code, want)
		}
	}
	if later, earlier := strings.Index(page, "07:30:20 ngày 23/11/2026"), strings.Index(page, "05:30:20 ngày 23/11/2026"); later < 0 || earlier < later {
		t.Error("the latest outage does not come first")
	}
	month := HistoryQuery{From: time.Date(2026, 10, 31, 17, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)}
	if len(asked) != 1 || asked[0] != month {
		t.Errorf("asked for %+v, want this month until today: %+v", asked, month)
	}
	// One service: its units, and nothing links to itself.
	_, page = fetched(h, "/history?from=2026-01-01&to=2026-01-31&service=mail")
	if !strings.Contains(page, ">Xã Đại Hợp</th>") || strings.Contains(page, "service=mail&amp;to") {
		t.Error("a service's page lacks its units, or links to itself")
	}
	if got := asked[1]; got.Service != "mail" || !got.From.Equal(time.Date(2025, 12, 31, 17, 0, 0, 0, time.UTC)) || !got.To.Equal(time.Date(2026, 1, 31, 17, 0, 0, 0, time.UTC)) {
		t.Errorf("asked for %+v", got)
	}
	if _, en := fetched(h, "/history?lang=en"); !strings.Contains(en, "Figures by period") || strings.Contains(en, "<history.") {
		t.Error("no English")
	}
	for _, bad := range []string{"from=x&to=y", "from=2026-02-01&to=2026-01-01", "from=2000-01-01&to=2026-01-01", "from=2026-01-01"} {
		asked = nil
		if code, page := fetched(h, "/history?"+bad); code != 422 || !strings.Contains(page, "Không lập được số liệu") || len(asked) > 0 {
			t.Errorf("%s: status %d, asked %v", bad, code, asked)
		}
		if code, _ := fetched(h, "/api/history?"+bad); code != 400 || len(asked) > 0 {
			t.Errorf("%s: status %d for a program", bad, code)
		}
	}
	if _, page := fetched(h, "/history?from=%3Cscript%3E&to=%22%3E%3Cb%3E&service=%3Cscript%3E"); strings.Contains(page, "<script>") || strings.Contains(page, `"><b>`) {
		t.Error("what was asked for is script")
	}
	for err, want := range map[error]int{fmt.Errorf("x: %w", ErrForbidden): 403, errors.New("<b>no service"): 422} {
		h := historyHandler(nil, History{}, err)
		if code, page := fetched(h, "/history"); code != want || strings.Contains(page, "<b>no") {
			t.Errorf("%v: status %d, want %d", err, code, want)
		}
		if code, _ := fetched(h, "/api/history?from=2026-01-01&to=2026-01-02"); code != want {
			t.Errorf("%v: status %d for a program, want %d", err, code, want)
		}
	}
	var out struct {
		Rows []history.Row `json:"rows"`
		Size int64         `json:"log_leaves"`
	}
	if _, text := fetched(h, "/api/history?from=2026-01-01&to=2026-01-02"); json.Unmarshal([]byte(text), &out) != nil || len(out.Rows) != 3 || out.Size != 1234 {
		t.Errorf("for programs: %.300s", text)
	}
}

// TestManyOutages: a page lists the latest ones, and says how many it leaves out.
func TestManyOutages(t *testing.T) {
	a := chronicled()
	a.Rows[0].Outages = nil
	for i := range mostOutages + 5 {
		a.Rows[0].Outages = append(a.Rows[0].Outages, history.Outage{From: noon.Add(time.Duration(i-1000) * time.Minute), To: noon.Add(time.Duration(i-999) * time.Minute), Reason: check.Timeout})
	}
	_, page := fetched(historyHandler(nil, a, nil), "/history")
	if n := strings.Count(page, ">1 phút</td>"); n != mostOutages || !strings.Contains(page, "và 5 lần khác") {
		t.Errorf("%d outages are listed", n)
	}
}

// TestPresets: the reporting months and quarters of NĐ 09/2019, in which 15 December begins a year.
func TestPresets(t *testing.T) {
	names := func(at time.Time) (out []string) {
		for _, p := range presets("vi", at) {
			out = append(out, p.Name+" "+p.Link[strings.Index(p.Link, "from="):])
		}
		return out
	}
	for at, want := range map[time.Time][]string{
		time.Date(2026, 11, 14, 5, 0, 0, 0, time.UTC): {"Kỳ tháng 11/2026 from=2026-10-15&to=2026-11-14", "Kỳ quý 4/2026 from=2026-09-15&to=2026-12-14", "Kỳ năm 2026 from=2025-12-15&to=2026-12-14"},
		time.Date(2026, 12, 15, 5, 0, 0, 0, time.UTC): {"Kỳ tháng 1/2027 from=2026-12-15&to=2027-01-14", "Kỳ tháng 12/2026 from=2026-11-15&to=2026-12-14", "Kỳ quý 1/2027 from=2026-12-15&to=2027-03-14",
			"Kỳ quý 4/2026 from=2026-09-15&to=2026-12-14", "Kỳ năm 2027 from=2026-12-15&to=2027-12-14"},
		time.Date(2027, 1, 31, 5, 0, 0, 0, time.UTC): {"Kỳ tháng 2/2027 from=2027-01-15&to=2027-02-14", "Kỳ tháng 1/2027 from=2026-12-15&to=2027-01-14"},
	} {
		got := names(at)
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: %q lacks %q", at, got, w)
			}
		}
	}
}

// TestHistoryInUnitsOfToday asks for old history in today's units, and names those that it is of.
func TestHistoryInUnitsOfToday(t *testing.T) {
	var asked []HistoryQuery
	a := chronicled()
	a.Former = map[string][]string{"xa-07": {"Xã Cũ A", "Xã Cũ B"}}
	h := historyHandler(&asked, a, nil)
	code, page := fetched(h, "/history?service=mail&units=today&from=2026-01-01&to=2026-01-02")
	for _, want := range []string{"gồm số liệu của: Xã Cũ A, Xã Cũ B", `<option value="today" selected>hiện nay`} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", code, want)
		}
	}
	fetched(h, "/history")
	if len(asked) != 2 || !asked[0].Today || asked[1].Today {
		t.Errorf("asked %+v", asked)
	}
}
