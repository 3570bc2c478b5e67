package alert

import (
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/agent/words"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

// The action names whom to call: the unit and who runs its line, or who runs the service.
func TestWhomToCall(t *testing.T) {
	line := verdict.Component{Kind: verdict.OfLine, Unit: "xa-a"}
	for _, tt := range []struct {
		name      string
		component verdict.Component
		through   string
		reason    check.Reason
		edit      func(*profile.Profile)
		vi, en    string
	}{
		{"a cut line with its carrier", line, "inet", check.Timeout, func(p *profile.Profile) { p.Lines[0].Path = plan.Internet },
			"Gọi Xã A kiểm tra điện, thiết bị mạng và dây cáp; nếu tất cả vẫn tốt, báo VNPT sửa đường truyền.",
			"Call A Commune to check power, router and cables; if all of that is in order, have VNPT mend the line."},
		{"the carrier of another path is not asked", line, "inet", check.Timeout, func(p *profile.Profile) { p.Lines[0].Path = plan.TSLCD },
			"Gọi Xã A kiểm tra điện, thiết bị mạng và dây cáp; nếu tất cả vẫn tốt, báo Nhà cung cấp Internet sửa đường truyền.",
			"Call A Commune to check power, router and cables; if all of that is in order, have The provider mend the line."},
		{"nobody is known", line, "inet", check.Timeout, func(p *profile.Profile) { p.Lines, p.Operators = nil, nil },
			"Gọi Xã A kiểm tra điện, thiết bị mạng và dây cáp; nếu tất cả vẫn tốt, báo nhà mạng sửa đường truyền.",
			"Call A Commune to check power, router and cables; if all of that is in order, have the carrier mend the line."},
		{"its own network", line, "lan", check.Timeout, nil,
			"Gọi Xã A kiểm tra điện, thiết bị mạng và dây cáp trong mạng nội bộ của đơn vị.",
			"Call A Commune to check power, router and cables of its own network."},
		{"mail", verdict.Component{Kind: verdict.OfService, Service: "mail"}, "", check.ConnectRefused, nil,
			"Báo đơn vị vận hành khởi động lại dịch vụ. Đơn vị vận hành: Sở TT&TT. Trong lúc chờ, gửi văn bản qua hệ thống QLVB&ĐH và báo cho các đơn vị biết; không gửi lại thư nhiều lần.",
			"Ask the operator to start it. Its operator: The Department. Meanwhile send documents through the document management system and tell the units; do not send letters again and again."},
		{"another service", verdict.Component{Kind: verdict.OfService, Service: "cong"}, "", check.ConnectRefused, nil,
			"Báo đơn vị vận hành khởi động lại dịch vụ. Đơn vị vận hành: Sở TT&TT.", "Ask the operator to start it. Its operator: The Department."},
		{"a service without an operator", verdict.Component{Kind: verdict.OfService, Service: "tabmis"}, "", check.ConnectRefused, nil,
			"Báo đơn vị vận hành khởi động lại dịch vụ.", "Ask the operator to start it."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := district()
			p.Operators = []profile.Operator{
				{Record: profile.Record{ID: "so"}, Name: profile.Name{VI: "Sở TT&TT", EN: "The Department"}},
				{Record: profile.Record{ID: "isp"}, Name: profile.Name{VI: "Nhà cung cấp Internet", EN: "The provider"}},
			}
			p.Services = append(p.Services, profile.Service{Record: profile.Record{ID: "lan"}, Checks: []profile.ServiceCheck{{ID: "gateway", Kind: "gateway", Path: plan.LAN}}})
			for i := range p.Services {
				s := &p.Services[i]
				switch s.ID {
				case "mail":
					s.Operator, s.Checks = "so", []profile.ServiceCheck{{ID: "smtp", Kind: "smtp", Path: plan.Internet}}
				case "cong":
					s.Operator = "so"
				case "inet":
					s.Operator, s.Checks = "isp", []profile.ServiceCheck{{ID: "uplink", Kind: "uplink", Path: plan.Internet}}
				}
			}
			if tt.edit != nil {
				tt.edit(p)
			}
			i := incident.Incident{ID: "i", Component: tt.component, Through: tt.through, State: check.Down, Reason: tt.reason, Since: at(23, 9, 0), Opened: at(23, 9, 1)}
			for l, want := range map[words.Lang]string{words.VI: tt.vi, words.EN: tt.en} {
				if got := Describe(&i, p, l, at(23, 10, 0)).Action; got != want {
					t.Errorf("%s: got  %q\nwant %q", l, got, want)
				}
			}
		})
	}
}
