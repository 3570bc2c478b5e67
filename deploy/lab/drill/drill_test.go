package drill

import (
	"strings"
	"testing"
	"time"

	"egovmon/deploy/lab/fault"
)

func TestScenarios(t *testing.T) {
	for _, s := range Scenarios() {
		on := map[string]bool{}
		for _, step := range s.Steps {
			if step.Fault == "" {
				continue
			}
			f, err := fault.Find(step.Fault)
			if err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
			if (f.Scope == fault.OneUnit) != (step.Unit > 0) {
				t.Errorf("%s: %s strikes unit %d", s.Name, step.Fault, step.Unit)
			}
			on[step.Fault] = step.On
		}
		for name, left := range on {
			if left {
				t.Errorf("%s leaves %s on", s.Name, name)
			}
		}
	}
	if _, err := Find("x"); err == nil || !strings.Contains(err.Error(), "mat-dien") {
		t.Errorf("Find(x) = %v, want the names", err)
	}
}

func TestMinutes(t *testing.T) {
	begin := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	s := Scenarios()[0]
	text := Minutes(s, begin, at(200), []Event{
		{At: at(40), What: "opened", Text: "Xã Đại Sơn: timeout", Key: "i"},
		{At: at(10), What: "fault-on", Text: "Đứt đường | Xã Đại Sơn"},
		{At: at(70), What: "acknowledged", Text: "Xã Đại Sơn", Who: "operator@local", Key: "i"},
		{At: at(130), What: "fault-off", Text: "Đứt đường"},
		{At: at(150), What: "closed", Text: "Xã Đại Sơn", Key: "i"},
	})
	for _, want := range []string{"DỰ THẢO BIÊN BẢN", "từ 08:00:00 đến 08:03:20 ngày 23/11/2026", "| 08:00:10 | Gây sự cố: Đứt đường / Xã Đại Sơn |", "lúc 08:00:40, sau 30 giây", "lúc 08:01:10, sau 60 giây",
		"Người tiếp nhận: operator@local", "còn mở khi kết thúc: 0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the minutes lack %q", want)
		}
	}
	if strings.Index(text, "08:00:10") > strings.Index(text, "08:00:40") {
		t.Error("events are not in their order")
	}
	none := Minutes(s, begin, at(200), []Event{{At: at(10), What: "fault-on", Text: "x"}})
	if !strings.Contains(none, "không phát hiện") || !strings.Contains(none, "chưa có người tiếp nhận") {
		t.Errorf("what was not noticed is not said: %.300s", none)
	}
}
