package board

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"egovmon/agent/check"
)

// noon is the moment of the fixtures: 08:30:20 on 23/11/2026 in Vietnam.
var noon = time.Date(2026, 11, 23, 1, 30, 20, 0, time.UTC)

// A fake is a Source whose answers are set by hand.
type fake struct {
	mu      sync.Mutex
	view    View
	details map[CheckRef]Detail
	err     error
	asked   int
}

func (f *fake) View(context.Context) (View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.view, f.err
}

func (f *fake) Check(_ context.Context, machine, id string) (Detail, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if machine == "broken" {
		return Detail{}, false, errors.New("secret path /x")
	}
	d, ok := f.details[CheckRef{machine, id}]
	return d, ok, nil
}

func (f *fake) edit(change func(*View)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.view)
}

func units() []Unit {
	us := []Unit{{"huyen-tu-ky", Name{"Huyện Tứ Kỳ", "Tứ Kỳ District"}}, {"tt-tu-ky", Name{"Thị trấn Tứ Kỳ", "Tứ Kỳ Town"}}}
	for i, n := range []string{"An Thanh", "Bình Lãng", "Chí Minh", "Cộng Lạc", "Dân An", "Dân Chủ", "Đại Hợp", "Đại Sơn", "Hà Kỳ", "Hà Thanh", "Hưng Đạo",
		"Minh Đức", "Ngọc Kỳ", "Nguyên Giáp", "Phượng Kỳ", "Quang Khải", "Quang Phục", "Quang Trung", "Tái Sơn", "Tân Kỳ", "Tiên Động", "Văn Tố"} {
		us = append(us, Unit{fmt.Sprintf("xa-%02d", i+1), Name{"Xã " + n, n + " Commune"}})
	}
	return us
}

func service(id, vi, en, owner, ownerEN string) Service {
	return Service{ID: id, Name: Name{vi, en}, Owner: Name{owner, ownerEN}}
}

const (
	vhtt, vhttEN = "Phòng Văn hóa và Thông tin", "Culture and Information Office"
	vp, vpEN     = "Văn phòng HĐND và UBND", "Office of the People's Council and Committee"
	tp, tpEN     = "Phòng Tư pháp", "Justice Office"
	tckh, tckhEN = "Phòng Tài chính - Kế hoạch", "Finance and Planning Office"
)

func services() []Service {
	s := []Service{
		service("thu_thap", "Máy chủ thu thập tập trung", "Central collector", vhtt, vhttEN),
		service("pc", "Máy trạm", "Workstation", vhtt, vhttEN),
		service("lan", "Mạng nội bộ", "Local network", vhtt, vhttEN),
		service("inet", "Đường truyền Internet", "Internet line", vhtt, vhttEN),
		service("tslcd", "Mạng truyền số liệu chuyên dùng", "Dedicated government data network", vhtt, vhttEN),
		service("dien", "Nguồn điện", "Power supply", vhtt, vhttEN),
		service("lgsp", "Nền tảng tích hợp, chia sẻ dữ liệu cấp tỉnh (LGSP)", "Local data integration and sharing platform", vhtt, vhttEN),
		service("tabmis", "Hệ thống thông tin quản lý ngân sách và kho bạc (TABMIS)", "Treasury and budget management system", tckh, tckhEN),
		service("hotich", "Đăng ký, quản lý hộ tịch điện tử dùng chung", "Civil status registration", tp, tpEN),
		service("qlvb", "Quản lý văn bản và điều hành (QLVB&ĐH)", "Document management and administration", vp, vpEN),
		service("cong_h", "Cổng TTĐT huyện", "District portal", vhtt, vhttEN),
		service("mail", "Thư điện tử công vụ", "Official e-mail", vhtt, vhttEN),
		service("kyso_usb", "Chữ ký số chuyên dùng Chính phủ (thiết bị USB)", "Government digital signature (token)", vhtt, vhttEN),
		service("tthc", "Hệ thống thông tin giải quyết TTHC (một cửa điện tử)", "Administrative-procedure handling system", vp, vpEN),
		service("dvc_q", "Cổng Dịch vụ công quốc gia", "National public-service portal", vp, vpEN),
		service("thanhtoan", "Thanh toán trực tuyến phí, lệ phí", "Online payment of fees and charges", vp, vpEN),
	}
	s[5].Attested = true
	return s
}

const me = "may-chu-tu-ky"

// newcomer is what the sample profile shows minutes after the first start: one machine, three services.
func newcomer() *fake {
	began := noon.Add(-3 * time.Minute)
	v := View{District: Name{"Huyện Tứ Kỳ", "Tứ Kỳ District"}, Now: noon, Received: noon.Add(-8 * time.Second), Services: services(), Units: units(),
		Agents: []Agent{{Machine: me, Unit: "huyen-tu-ky", Contact: noon.Add(-3 * time.Second), Received: noon.Add(-8 * time.Second), PlanVersion: 1, Checks: 3, Build: "0.1.0"}},
		Log:    Log{Size: 14, Root: "qL8k2mQ0sZ4eT1rVxB7uC3yD5wE9fG6hJ0aKpNiMoS8="}}
	for _, id := range []string{"thu_thap", "pc", "lan"} {
		refs := []CheckRef{{me, id + ".check"}}
		for _, u := range []string{"", "huyen-tu-ky"} {
			c := Cell{Service: id, Unit: u, State: check.Up, Reason: check.OK, Since: began, Last: noon.Add(-8 * time.Second), Checks: refs}
			if id == "lan" {
				c.State, c.Reason = check.Unknown, check.NotSupported
			}
			v.Cells = append(v.Cells, c)
		}
	}
	for _, s := range v.Services[6:] {
		v.NotConfigured = append(v.NotConfigured, NotConfigured{s.ID, []string{s.ID + ".http"}, []string{s.ID + ".url"}})
	}
	return &fake{view: v, details: map[CheckRef]Detail{
		{me, "thu_thap.check"}: detail("thu_thap", "tcp", 15*time.Second, check.ConnectRefused),
		{me, "pc.check"}:       detail("pc", "host", 30*time.Second, check.LowResource),
		{me, "lan.check"}:      detail("lan", "gateway", 15*time.Second, check.NotSupported),
	}}
}

// district is a full installation: every unit has an agent, most services are measured, some are not well.
func district() *fake {
	f := newcomer()
	v := &f.view
	v.Cells, v.NotConfigured = nil, v.NotConfigured[:2]
	v.Received, v.Log.Size = noon.Add(-time.Second), 1234567
	v.Notices = []Name{{"Chưa có lịch nghỉ lễ năm 2027: giờ hành chính năm 2027 tính như ngày thường.", "The calendar for 2027 is missing: office hours of 2027 count as on ordinary days."}}
	for i, u := range v.Units[1:] {
		v.Agents = append(v.Agents, Agent{Machine: "pc-" + u.ID + "-01", Unit: u.ID, Contact: noon.Add(-time.Duration(i) * time.Second), Received: noon.Add(-time.Duration(i*7) * time.Second), PlanVersion: 17, Checks: 24})
	}
	v.Agents[9].Contact = noon.Add(-26 * time.Hour)
	v.Agents[9].Notice = Name{"Đồng hồ lệch 4 phút", "Clock off by 4 minutes"}
	for si, s := range v.Services {
		if s.Attested || s.ID == "lgsp" || s.ID == "tabmis" {
			continue
		}
		whole := Cell{Service: s.ID, State: check.Up, Reason: check.OK, Since: noon.Add(-50 * time.Hour), Open: si%2 == 0, Last: noon}
		for ui, u := range v.Units {
			m := "pc-" + u.ID + "-01"
			if ui == 0 {
				m = me
			}
			c := Cell{Service: s.ID, Unit: u.ID, State: check.Up, Reason: check.OK, Since: noon.Add(-50 * time.Hour), Last: noon, Checks: []CheckRef{{m, s.ID + ".check"}}}
			switch {
			case ui == 8:
				c.State, c.Reason, c.Since = check.Unknown, check.NoUplink, noon.Add(-95*time.Minute)
				if s.ID == "inet" {
					c.State, c.Reason = check.Down, check.Timeout
				} else if s.ID == "pc" || s.ID == "lan" || s.ID == "thu_thap" {
					c.State, c.Reason = check.Up, check.OK
				}
			case s.ID == "mail":
				c.State, c.Reason, c.Since = check.Down, check.TLSExpired, noon.Add(-(8*time.Hour + 29*time.Minute))
			case s.ID == "cong_h" && ui != 3:
				c.State, c.Reason, c.Since = check.Degraded, check.Slow, noon.Add(-12*time.Minute)
			case s.ID == "kyso_usb" && ui%5 == 2:
				c.State, c.Reason = check.Unknown, check.TokenAbsent
			case s.ID == "tslcd" && ui > 3:
				continue
			}
			if ui == 0 {
				whole.State, whole.Reason, whole.Since = c.State, c.Reason, c.Since
			}
			if ui == 1 && s.ID == "qlvb" {
				c.Checks = append(c.Checks, CheckRef{m, s.ID + ".loginpage"})
				c.Held = true
			}
			v.Cells = append(v.Cells, c)
		}
		v.Cells = append(v.Cells, whole)
	}
	return f
}

func detail(service, kind string, every time.Duration, bad check.Reason) Detail {
	d := Detail{Machine: me, Unit: "huyen-tu-ky", Check: service + ".check", Service: service, Kind: kind, Every: every}
	slot := noon.Truncate(every)
	for i := range 52 {
		at := slot.Add(-time.Duration(i) * every)
		switch {
		case i >= 20 && i < 24:
			continue // nothing says why
		case i == 33:
			d.Entries = append(d.Entries, Entry{Gap: &Gap{Reason: check.MissedSuspended, From: at.Add(-29 * every), To: at.Add(every), Slots: 30}})
			slot = slot.Add(-29 * every)
			continue
		case i == 40:
			d.Entries = append(d.Entries, Entry{Mark: &Mark{At: at, What: MarkPlan, Plan: 3}})
		}
		r := check.Result{Check: d.Check, Slot: at, Start: at.Add(120 * time.Millisecond), State: check.Up, Reason: check.OK, Attempts: 1}
		ms := time.Duration(18+(i*7)%13) * time.Millisecond
		r.Phases.Add("dns", ms/6)
		r.Phases.Add("connect", ms/3)
		r.Phases.Add("tls", ms/2)
		r.Phases.Add("first_byte", ms*2)
		r.Took = ms*4 + 300*time.Microsecond
		r.Phases.Add("total", r.Took)
		r.Facts.Add("status_code", 200)
		r.Facts.Add("cert_not_after_unix", 1_800_000_000)
		r.Facts.Add("body_bytes", 48213)
		r.Facts.Add("disk_used_ratio", 0.7342)
		r.Facts.Add("rtt_avg_s", 0.0083)
		if i < 2 || i == 12 || i == 13 || i == 14 {
			b := check.Because(bad, "đọc https://tuky.haiduong.gov.vn/: x509: certificate has expired or is not yet valid: current time 2026-11-23T08:30:20+07:00 is after 2026-11-22T23:59:59Z")
			r.State, r.Reason, r.Detail, r.Attempts = b.State, b.Reason, b.Detail, 2
			r.Took = 160 * time.Millisecond
		}
		d.Entries = append(d.Entries, Entry{Result: &Result{Result: r, Every: every}})
	}
	return d
}

// troubled is the district with what its verdict made of it: two open incidents, of which one was noticed, closed ones,
// and the four layers.
func troubled() *fake {
	f := district()
	v := &f.view
	var all []string
	for _, u := range v.Units {
		all = append(all, u.ID)
	}
	v.Incidents = []Incident{
		{ID: "20261123-065510-line-xa-07", Kind: KindLine, Unit: "xa-07", Through: "inet", Carrier: "VNPT", State: check.Down, Reason: check.Timeout,
			Since: noon.Add(-95 * time.Minute), Opened: noon.Add(-94 * time.Minute), Owner: Name{vhtt, vhttEN},
			Services: []string{"inet", "tslcd", "hotich", "qlvb", "cong_h", "mail", "tthc"}, Units: []string{"xa-07"}, Votes: Votes{3, 1, 10},
			Ack: Ack{"Nguyễn Thị Hoa", noon.Add(-80 * time.Minute), "đã gọi VNPT, hẹn 10 giờ có kết quả"}},
		{ID: "20261123-000110-service-mail", Kind: KindService, Service: "mail", State: check.Down, Reason: check.TLSExpired,
			Since: noon.Add(-(8*time.Hour + 29*time.Minute)), Opened: noon.Add(-8 * time.Hour), Services: []string{"mail"}, Units: all, Votes: Votes{0, 23, 1}},
		{ID: "20261122-150000-service-qlvb", Kind: KindService, Service: "qlvb", State: check.Down, Reason: check.ConnectRefused,
			Since: noon.Add(-17 * time.Hour), Opened: noon.Add(-17 * time.Hour), Closed: noon.Add(-16 * time.Hour), Restored: noon.Add(-16*time.Hour - time.Minute),
			Services: []string{"qlvb"}, Units: all[:3], Votes: Votes{24, 0, 0}, Ack: Ack{"Trần Văn Bình", noon.Add(-17*time.Hour + 4*time.Minute), ""}},
		{ID: "20261122-120000-fleet", Kind: KindFleet, State: check.Unknown, Reason: check.Silent, Since: noon.Add(-20 * time.Hour), Opened: noon.Add(-20 * time.Hour),
			Closed: noon.Add(-19 * time.Hour), Withdrawn: true, Units: all},
		{ID: "20261120-120000-service-pc", Kind: KindService, Service: "pc", State: check.Down, Reason: check.LowResource, Since: noon.Add(-70 * time.Hour),
			Opened: noon.Add(-70 * time.Hour), Closed: noon.Add(-60 * time.Hour)},
	}
	for i, u := range v.Units {
		v.Layers = append(v.Layers, UnitLayers{Unit: u.ID, Layers: [Layers]Layer{
			{Controls{ControlPass: 4, ControlFail: i % 3, ControlUnknown: 2}, Controls{ControlPass: 3, ControlMissing: 1 + i%2}},
			{Controls{ControlUnknown: 1}, Controls{ControlPass: 1, ControlExpired: i % 2}},
			{Controls{}, Controls{ControlMissing: 2, ControlNA: i % 4}},
			{Controls{ControlPartial: 1, ControlPass: 1}, Controls{ControlPass: 1}},
		}})
	}
	return f
}
