package alert

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

func TestText(t *testing.T) {
	w := newTown(t)
	w.opens("mail", at(23, 10, 0))
	render := func() Content {
		t.Helper()
		m, _ := Plan(at(23, 10, 30), w.incidents(), w.sent, w.view)
		if len(m) == 0 {
			t.Fatal("nothing to send")
		}
		return Render(&m[0], w.view.Profile, at(23, 10, 30))
	}
	got := render()
	want := `GIÁN ĐOẠN: THƯ ĐIỆN TỬ CÔNG VỤ
Hệ thống: Thư điện tử công vụ
Đơn vị: Xã A, Xã B
Từ lúc: 09:59
Phạm vi: 2 trên 3 đơn vị có số liệu không sử dụng được
`
	if got.Subject != "Gián đoạn: Thư điện tử công vụ" || !strings.HasPrefix(got.Text, want) || !got.Urgent {
		t.Errorf("subject %q, text:\n%s", got.Subject, got.Text)
	}
	for _, s := range []string{"Việc cần làm: ", "Chưa có người xác nhận đã nhận.", "Mã sự cố: i-mail", "DOWN: OFFICIAL E-MAIL", "Units: ", "What to do: "} {
		if strings.Contains(got.Text, s) == (s == "Units: ") {
			t.Errorf("%q: wrong in:\n%s", s, got.Text)
		}
	}
	w.sent = map[string]Record{"x": {Address: Address{ByWebhook, "http://d.test/vhtt"}, Covers: []Cover{{"i-mail", Opened}}, Sent: at(23, 10, 0), First: at(23, 10, 0)}}
	w.acks("mail", at(23, 10, 5))
	w.closes("mail", at(23, 10, 20))
	got = render()
	if got.Subject != "Đã khôi phục: Thư điện tử công vụ" || !strings.Contains(got.Text, "Đến lúc: 10:19 (kéo dài 20 phút)\n") || !strings.Contains(got.Text, "Đã xác nhận lúc 10:05.\n") ||
		strings.Contains(got.Text, "Việc cần làm") {
		t.Errorf("the all-clear: %s\n%s", got.Subject, got.Text)
	}
}

// hidden is what must not go out by a channel that others run: addresses and names of accounts.
var hidden = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+|@`)

func TestEveryTextIsWhole(t *testing.T) {
	p := district()
	for _, kind := range []verdict.Kind{verdict.OfService, verdict.OfLine, verdict.OfFleet} {
		for _, r := range check.Reasons() {
			for _, closed := range []bool{false, true} {
				i := incident.Incident{ID: "i-1", Component: verdict.Component{Kind: kind}, State: r.State(), Reason: r, Since: at(23, 9, 0), Opened: at(23, 9, 1),
					Units: []string{"xa-a"}, Ack: incident.Ack{User: "operator@local", At: at(23, 9, 5)}}
				switch kind {
				case verdict.OfService:
					i.Component.Service = "mail"
					i.State = check.Down
				case verdict.OfLine:
					i.Component.Unit = "xa-a"
					if i.State == check.Down {
						i.Through = "inet"
					}
				}
				if closed {
					i.Closed, i.Restored, i.Why = at(23, 10, 0), at(23, 9, 59), incident.Recovered
				}
				m := Message{Key: "k", Address: Address{ByMail, "a@b.test"}, Items: []Item{{Cover: Cover{"i-1", Opened}, State: i, Step: profile.Name{VI: "Trưởng phòng"}}}}
				c := Render(&m, p, at(23, 10, 0))
				if strings.ContainsAny(c.Text+c.Subject, "<>%|") || hidden.MatchString(c.Text) || strings.Contains(c.Text, ": \n") {
					t.Fatalf("%s %s closed %v:\n%s", kind, r, closed, c.Text)
				}
				if n := strings.Count(c.Text, "Mã sự cố: i-1\n"); n != 1 {
					t.Fatalf("the incident is named %d times:\n%s", n, c.Text)
				}
			}
		}
	}
}

func TestDigestText(t *testing.T) {
	w := newTown(t)
	w.opens("hoc", at(25, 18, 0))
	w.opens("@xa-a", at(25, 19, 0))
	m, _ := Plan(at(26, 7, 30), w.incidents(), w.sent, w.view)
	c := Render(&m[0], w.view.Profile, at(26, 7, 30))
	if c.Subject != "Tổng hợp sự cố ngày 26/11/2026 (2)" || len(c.Items) != 2 {
		t.Errorf("%s, %d incidents", c.Subject, len(c.Items))
	}
	if !strings.Contains(c.Text, "MẤT ĐƯỜNG TRUYỀN: XÃ A\nHệ thống: Internet\nĐơn vị: Xã A\nTừ lúc: 18:59 ngày 25/11/2026\n") ||
		!strings.Contains(c.Text, "nhà mạng: VNPT") {
		t.Errorf("the line's part:\n%s", c.Text)
	}
	if diff := cmp.Diff(c, Render(&m[0], w.view.Profile, at(26, 7, 30))); diff != "" {
		t.Errorf("rendered twice:\n%s", diff)
	}
}

func TestDue(t *testing.T) {
	v := View{Profile: district(), Hours: "hanh-chinh", Digest: 7*time.Hour + 30*time.Minute}
	tests := []struct {
		name     string
		at       time.Time
		severity profile.Severity
		want     time.Time
		why      string
	}{
		{"critical on a holiday night", at(24, 3, 0), profile.Critical, at(24, 3, 0), NowCritical},
		{"in hours", at(23, 7, 30), profile.Major, at(23, 7, 30), NowInHours},
		{"early morning", at(23, 7, 29), profile.Major, at(23, 7, 30), WaitDigest},
		{"lunch", at(23, 12, 0), profile.Minor, at(23, 13, 0), WaitHours},
		{"evening before a holiday", at(23, 16, 30), profile.Major, at(25, 7, 30), WaitDigest},
		{"holiday", at(24, 10, 0), profile.Major, at(25, 7, 30), WaitDigest},
		{"Friday evening", at(27, 18, 0), profile.Info, at(30, 7, 30), WaitDigest},
	}
	for _, tt := range tests {
		if got, why := v.due(tt.at, tt.severity); !got.Equal(tt.want) || why != tt.why {
			t.Errorf("%s: %v %s, want %v %s", tt.name, got, why, tt.want, tt.why)
		}
	}
	v.Profile.Years = nil // no calendar at all: every morning
	if got, _ := v.due(at(23, 8, 0), profile.Major); !got.Equal(at(24, 7, 30)) {
		t.Errorf("without a calendar: %v", got)
	}
}

// TestWhatIsSharedComesWithItsFirstStep: of something that several systems share the runbook's first step is told before what the
// reason asks for.
func TestWhatIsSharedComesWithItsFirstStep(t *testing.T) {
	p := district()
	i := incident.Incident{ID: "x", Component: verdict.Component{Kind: verdict.OfService, Service: "mail"}, State: check.Down, Reason: check.ConnectRefused,
		Since: at(23, 10, 0), Opened: at(23, 10, 1), Cause: incident.Cause{Component: verdict.Component{Kind: verdict.OfBackend, Name: "0a0b"}, Confidence: 0.9}}
	for _, l := range []words.Lang{words.VI, words.EN} {
		first := verdict.Runbook(l, verdict.OfBackend, check.ConnectRefused).First
		shared := Describe(&i, p, l, at(23, 10, 5)).Action
		alone := i
		alone.Cause = incident.Cause{}
		if text := Describe(&alone, p, l, at(23, 10, 5)).Action; !strings.HasPrefix(shared, first+" ") || shared != first+" "+text {
			t.Errorf("%s: told %q, and alone %q", l, shared, text)
		}
	}
}
