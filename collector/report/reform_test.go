package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/collector/history"
)

// The rows of 2023 stand under the communes of today: what was merged adds up, and what was split counts for both and says
// so.
func TestJoinThroughReform(t *testing.T) {
	p := embedded(t)
	a := history.Account{Up: 90, Down: 10}
	var rows []Row
	for _, u := range []string{"", "xa-dai-hop", "xa-tan-ky", "xa-hung-dao"} {
		rows = append(rows, Row{Row: history.Row{Service: "cong_h", Unit: u, Calendars: []history.Counted{counted(history.Hours24x7, a)}}, Name: "Cổng", UnitName: u})
	}
	got := map[string]Joined{}
	for _, j := range Join(p, rows, day(2026, 11, 23)) {
		got[j.Unit] = j
	}
	want := map[string]Joined{
		"xa-tan-ky-2025": {Service: "cong_h", Name: "Cổng", Unit: "xa-tan-ky-2025", UnitName: "Xã Tân Kỳ", Calendar: history.Hours24x7, Parts: true,
			From: []string{"xa-dai-hop", "xa-tan-ky", "xa-hung-dao"}, FromNames: []string{"xa-dai-hop", "xa-tan-ky", "xa-hung-dao"}, Account: history.Account{Up: 270, Down: 30}},
		"xa-dai-son-2025": {Service: "cong_h", Name: "Cổng", Unit: "xa-dai-son-2025", UnitName: "Xã Đại Sơn", Calendar: history.Hours24x7, Parts: true,
			From: []string{"xa-hung-dao"}, FromNames: []string{"xa-hung-dao"}, Account: a},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// On a day of the period everybody stands for themselves, and a report needs no such part.
	then := Join(p, rows, day(2023, 6, 1))
	if len(then) != 3 || then[0].Unit != "xa-dai-hop" || len(reformed(then)) != 0 {
		t.Errorf("in the structure of the period: %+v", then)
	}
}

// BenchmarkQuarter makes the documents of a quarter of a district: 30 services in 24 units.
func BenchmarkQuarter(b *testing.B) {
	m := big(b, 30)
	for b.Loop() {
		for name, f := range map[string]func() ([]byte, error){
			"docx": func() ([]byte, error) { return DOCX(m, "vi") }, "xlsx": func() ([]byte, error) { return XLSX(m, "vi") },
			"pdf": func() ([]byte, error) { return PDF(m, "vi") }, "csv": func() ([]byte, error) { return CSV(m) }, "json": func() ([]byte, error) { return JSON(m) },
		} {
			start := time.Now()
			if _, err := f(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(start).Seconds()*1000, name+"-ms")
		}
	}
}
