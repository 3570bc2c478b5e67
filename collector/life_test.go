package main

import (
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
	"egovmon/deploy/profiles"
)

func sampleProfile(t *testing.T) *profile.Profile {
	t.Helper()
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReportForms(t *testing.T) {
	p := sampleProfile(t)
	at := time.Date(2024, 3, 4, 3, 0, 0, 0, time.UTC)
	i := incident.Incident{ID: "20240304-100000-service-mail", Component: verdict.Component{Kind: verdict.OfService, Service: "mail"}, State: check.Down, Reason: check.ConnectRefused,
		Opened: at, Since: at.Add(-time.Minute), Ack: incident.Ack{User: "an@tuky", At: at.Add(time.Minute)},
		Cause: incident.Cause{Component: verdict.Component{Kind: verdict.OfBackend, Name: "192.0.2.1"}, Confidence: 0.93},
		Life: incident.Life{Class: incident.Security, Assignee: "binh@tuky", Entries: []incident.Entry{
			{What: incident.Commented, At: at.Add(2 * time.Minute), User: "an@tuky", Note: "gọi Sở <script>alert(1)</script> [x](http://bad.test)"}}}}
	first := reportForm(&i, p, at.Add(time.Hour), false)
	for _, want := range []string{"BÁO CÁO BAN ĐẦU", "Thư điện tử", "an@tuky xác nhận đã nhận", "binh@tuky", "sự cố an toàn thông tin mạng", "192.0.2.1", "93", "Báo cáo ban đầu trước", "QĐ 05/2017", i.ID, "Số: …"} {
		if !strings.Contains(first, want) {
			t.Errorf("the first report lacks %q:\n%.1500s", want, first)
		}
	}
	for _, bad := range []string{"<script>", "](http", "KẾT THÚC", "<form.", "<act.", "<duty.", "%!"} {
		if strings.Contains(first, bad) {
			t.Errorf("the first report has %q:\n%.1500s", bad, first)
		}
	}
	i.Closed, i.Restored, i.Why = at.Add(time.Hour), at.Add(59*time.Minute), incident.Recovered
	i.Life.Cause, i.Life.Measure = "hỏng nguồn", "thay nguồn"
	closing := reportForm(&i, p, at.Add(2*time.Hour), true)
	for _, want := range []string{"BÁO CÁO KẾT THÚC", "kéo dài 1 giờ", "hỏng nguồn", "thay nguồn", "Báo cáo kết thúc trước"} {
		if !strings.Contains(closing, want) {
			t.Errorf("the closing report lacks %q:\n%.1500s", want, closing)
		}
	}
	for _, c := range incident.Classes() {
		i.Life.Class = c
		if text := reportForm(&i, p, at, true); strings.Contains(text, "<form.") || strings.Contains(text, "<duty.") {
			t.Errorf("class %s has no words", c)
		}
	}
	for _, w := range []incident.What{incident.Assigned, incident.Commented, incident.Classified, incident.Escalated, incident.Concluded} {
		i.Life.Entries = []incident.Entry{{What: w, At: at, User: "u"}}
		if text := reportForm(&i, p, at, true); strings.Contains(text, "<act.") {
			t.Errorf("what people do as %s has no words", w)
		}
	}
}
