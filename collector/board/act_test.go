package board

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/collector/incident"
)

// acting is a board on which a user acts; what comes is in acts.
func acting(f *fake, user, unit string, acts *[]incident.Act, err error) http.Handler {
	return NewHandler(f, Options{
		Now:  func() time.Time { return noon },
		User: func(context.Context) string { return user },
		Unit: func(context.Context) string { return unit },
		Ack:  func(context.Context, string, string, string) error { return nil },
		Act: func(_ context.Context, id string, a incident.Act) error {
			*acts = append(*acts, a)
			return err
		},
	})
}

func TestActs(t *testing.T) {
	form := func(pairs ...string) string {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v.Encode()
	}
	for _, tc := range []struct {
		name, user, unit, id, body string
		err                        error
		status                     int
		want                       incident.Act
	}{
		{"a note", "Mai", "", mailIncident, form("what", "commented", "note", " đã gọi\nVNPT "), nil, 303, incident.Act{What: incident.Commented, User: "Mai", Note: "đã gọi VNPT"}},
		{"given to somebody", "Mai", "", mailIncident, form("what", "assigned", "to", "Lan"), nil, 303, incident.Act{What: incident.Assigned, User: "Mai", To: "Lan"}},
		{"classified", "Mai", "", mailIncident, form("what", "classified", "class", "security"), nil, 303, incident.Act{What: incident.Classified, User: "Mai", Class: incident.Security}},
		{"concluded", "Mai", "", mailIncident, form("what", "concluded", "note", "mất điện", "measure", "thay UPS"), nil, 303,
			incident.Act{What: incident.Concluded, User: "Mai", Note: "mất điện", Measure: "thay UPS"}},
		{"somebody else's name is not taken", "Mai", "", mailIncident, form("what", "commented", "note", "x", "user", "Lan"), nil, 303, incident.Act{What: incident.Commented, User: "Mai", Note: "x"}},
		{"nobody", "", "", mailIncident, form("what", "commented", "note", "x"), nil, 403, incident.Act{}},
		{"no such incident", "Mai", "", "x", form("what", "commented", "note", "x"), nil, 404, incident.Act{}},
		{"an incident of another unit", "Mai", "xa-01", lineIncident, form("what", "commented", "note", "x"), nil, 404, incident.Act{}},
		{"too much", "Mai", "", mailIncident, form("what", "commented", "note", strings.Repeat("x", maxNote+1)), nil, 413, incident.Act{}},
		{"a body without end", "Mai", "", mailIncident, "note=" + strings.Repeat("x", maxForm), nil, 400, incident.Act{}},
		{"something is missing", "Mai", "", mailIncident, form("what", "commented"), incident.ErrAct, 400, incident.Act{What: incident.Commented, User: "Mai"}},
		{"twice", "Mai", "", mailIncident, form("what", "concluded"), incident.ErrConcluded, 409, incident.Act{What: incident.Concluded, User: "Mai"}},
		{"it is gone", "Mai", "", mailIncident, form("what", "concluded"), incident.ErrUnknown, 404, incident.Act{What: incident.Concluded, User: "Mai"}},
		{"the log does not take it", "Mai", "", mailIncident, form("what", "concluded"), fmt.Errorf("disk"), 503, incident.Act{What: incident.Concluded, User: "Mai"}},
	} {
		var acts []incident.Act
		w := post(acting(troubled(), tc.user, tc.unit, &acts, tc.err), "/incident/"+tc.id+"/act", tc.body)
		want := []incident.Act{tc.want}
		if tc.want == (incident.Act{}) {
			want = nil
		}
		if w.Code != tc.status || !slices.Equal(acts, want) {
			t.Errorf("%s: status %d, acts %+v; want %d, %+v", tc.name, w.Code, acts, tc.status, want)
		}
		if at := w.Header().Get("Location"); tc.status == 303 && at != "/incident/"+tc.id {
			t.Errorf("%s: leads to %q", tc.name, at)
		}
	}
}

// lived is a board with an incident that is over and that people have worked on.
func lived() *fake {
	f := troubled()
	f.edit(func(v *View) {
		v.Incidents = slices.Clone(v.Incidents)
		k := slices.IndexFunc(v.Incidents, func(i Incident) bool { return i.ID == "20261122-150000-service-qlvb" })
		v.Incidents[k].Life = Life{Class: "security", Assignee: "Trần Thị Lan", Entries: []LifeEntry{
			{What: "assigned", At: noon.Add(-time.Hour), User: "Mai", To: "Trần Thị Lan"},
			{What: "commented", At: noon.Add(-time.Hour), User: "Mai", Note: "đã gọi nhà mạng, hẹn 10 giờ có người tới kiểm tra tủ cáp đầu thôn"},
			{What: "escalated", At: noon.Add(-time.Minute), User: "program@local", To: "Trưởng phòng Văn hóa và Thông tin"}}}
	})
	return f
}

func TestLifeOfAnIncident(t *testing.T) {
	f := troubled()
	f.edit(func(v *View) {
		v.Incidents = slices.Clone(v.Incidents)
		k := slices.IndexFunc(v.Incidents, func(i Incident) bool { return i.ID == mailIncident })
		v.Incidents[k].Life = Life{Class: "security", Assignee: "Trần <b>Lan</b>", Entries: []LifeEntry{
			{What: "assigned", At: noon.Add(-time.Hour), User: "Mai", To: "Trần Lan"}, {What: "escalated", At: noon.Add(-time.Minute), User: "program@local", To: "Trưởng phòng"}}}
	})
	var acts []incident.Act
	for lang, wants := range map[string][]string{
		"vi": {"Quá trình xử lý", "Phân loại: ", "Đang giao cho: Trần <b>Lan</b>", "Hệ thống chuyển cấp tới Trưởng phòng", "Giao cho ai"},
		"en": {"What people did", "Classified as: ", "Assigned to: ", "The system escalated to Trưởng phòng", "To whom"},
	} {
		p := parse(t, get(acting(f, "Mai", "", &acts, nil), "/incident/"+mailIncident+"?lang="+lang))
		life := p.byID("life")
		if life == nil {
			t.Fatalf("%s: no life is shown", lang)
		}
		for _, want := range wants {
			if !strings.Contains(textOf(life), want) {
				t.Errorf("%s: lacks %q: %.600s", lang, want, textOf(life))
			}
		}
		if p.byID("e-note") != nil {
			t.Errorf("%s: what goes on can be concluded", lang)
		}
		looker := parse(t, get(acting(f, "", "", &acts, nil), "/incident/"+mailIncident+"?lang="+lang))
		if looker.byID("c-note") != nil || looker.byID("life") == nil {
			t.Errorf("%s: who only looks has forms, or sees no life", lang)
		}
	}
	f.edit(func(v *View) {
		for k := range v.Incidents {
			v.Incidents[k].Closed = noon.Add(-time.Minute)
		}
	})
	if p := parse(t, get(acting(f, "Mai", "", &acts, nil), "/incident/"+mailIncident)); p.byID("e-note") == nil {
		t.Error("what is over cannot be concluded")
	}
}
