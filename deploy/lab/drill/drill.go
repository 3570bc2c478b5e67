package drill

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Step is one thing that happens in a scenario.
type Step struct {
	After time.Duration // from the step before
	Fault string        // "" is only the end of the wait
	Unit  int           // which commune, from 1; 0 where the fault strikes everywhere
	On    bool
}

// A Scenario is a drill.
type Scenario struct {
	Name  string
	Title string // Vietnamese, for the minutes
	Goal  string
	Steps []Step
}

// Scenarios lists them.
func Scenarios() []Scenario {
	return []Scenario{
		{"dut-duong-truyen", "Đứt đường truyền Internet của một xã", "Nhận biết mất đường truyền của một xã, báo đúng đầu mối, không nhầm với sự cố của hệ thống",
			[]Step{{10 * time.Second, "line-cut", 1, true}, {2 * time.Minute, "line-cut", 1, false}, {time.Minute, "", 0, false}}},
		{"cong-bao-tri", "Cổng thông tin điện tử huyện hiện \"đang bảo trì\", mã 200", "Nhận biết trang web trả lời được nhưng không phục vụ",
			[]Step{{10 * time.Second, "portal-maintenance", 0, true}, {2 * time.Minute, "portal-maintenance", 0, false}, {time.Minute, "", 0, false}}},
		{"nha-mang-va-cong", "Nhà mạng A ngừng, cùng lúc chứng thư của cổng huyện hết hạn", "Tách hai nguyên nhân xảy ra cùng lúc",
			[]Step{{10 * time.Second, "carrier-down", 0, true}, {30 * time.Second, "portal-cert-expired", 0, true}, {2 * time.Minute, "carrier-down", 0, false}, {time.Minute, "portal-cert-expired", 0, false}, {time.Minute, "", 0, false}}},
		{"mat-dien", "Mất điện ở một xã, một xã khác tắt máy cuối giờ", "Phân biệt mất điện với tắt máy đúng cách",
			[]Step{{10 * time.Second, "power-cut", 1, true}, {0, "pc-off", 2, true}, {3 * time.Minute, "power-cut", 1, false}, {0, "pc-off", 2, false}, {time.Minute, "", 0, false}}},
	}
}

// Find returns the scenario of a name. The error lists the names.
func Find(name string) (Scenario, error) {
	all := Scenarios()
	if i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name }); i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("there is no scenario %.60q: there are %s", name, strings.Join(names, ", "))
}

// An Event is something that happened in the drill.
type Event struct {
	At   time.Time
	What string // "fault-on", "fault-off", "opened", "acknowledged", "closed" or "told"
	Text string // what, in Vietnamese
	Who  string // who acknowledged
	Key  string // of an incident
}

// zone is the time of Vietnam.
func zone() *time.Location { return time.FixedZone("+07:00", 7*60*60) }

// Minutes writes the draft minutes of a drill in Vietnamese, as Markdown.
func Minutes(s Scenario, begin, end time.Time, events []Event) string {
	var b strings.Builder
	at := func(t time.Time) string { return t.In(zone()).Format("15:04:05") }
	fmt.Fprintf(&b, "# DỰ THẢO BIÊN BẢN DIỄN TẬP\n\n**Kịch bản:** %s (`%s`)\n\n**Mục tiêu:** %s\n\n", s.Title, s.Name, s.Goal)
	fmt.Fprintf(&b, "**Thời gian:** từ %s đến %s ngày %s\n\n**Thành phần:** ………………………………………\n\n", at(begin), at(end), begin.In(zone()).Format("02/01/2006"))
	b.WriteString("## 1. Diễn biến\n\n| Thời điểm | Sự việc |\n|---|---|\n")
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	words := map[string]string{"fault-on": "Gây sự cố", "fault-off": "Khắc phục", "opened": "Hệ thống phát hiện", "acknowledged": "Đã tiếp nhận", "closed": "Hệ thống ghi nhận đã phục hồi", "told": "Gửi thông báo"}
	var first, noticed, acked time.Time
	who := ""
	for _, e := range events {
		text := e.Text
		if e.Who != "" {
			text += " (người tiếp nhận: " + e.Who + ")"
		}
		fmt.Fprintf(&b, "| %s | %s: %s |\n", at(e.At), words[e.What], cell(text))
		switch {
		case e.What == "fault-on" && first.IsZero():
			first = e.At
		case e.What == "opened" && noticed.IsZero() && !first.IsZero():
			noticed = e.At
		case e.What == "acknowledged" && acked.IsZero():
			acked, who = e.At, e.Who
		}
	}
	b.WriteString("\n## 2. Kết quả\n\n")
	line := func(what string, t time.Time, none string) {
		if t.IsZero() || first.IsZero() {
			fmt.Fprintf(&b, "- %s: %s\n", what, none)
			return
		}
		fmt.Fprintf(&b, "- %s: lúc %s, sau %d giây\n", what, at(t), int(t.Sub(first).Seconds()))
	}
	line("Phát hiện sự cố đầu tiên", noticed, "**không phát hiện**")
	line("Tiếp nhận", acked, "**chưa có người tiếp nhận**")
	if who != "" {
		fmt.Fprintf(&b, "- Người tiếp nhận: %s\n", cell(who))
	}
	open := map[string]string{}
	for _, e := range events {
		switch e.What {
		case "opened":
			open[e.Key] = e.Text
		case "closed":
			delete(open, e.Key)
		}
	}
	fmt.Fprintf(&b, "- Sự cố còn mở khi kết thúc: %d\n", len(open))
	b.WriteString("\n## 3. Nhận xét, kiến nghị\n\n………………………………………\n\n*Dự thảo do phòng thử lập; người chủ trì kiểm tra, bổ sung và ký.*\n")
	return b.String()
}

// cell makes a text fit for a cell of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "/")
}
