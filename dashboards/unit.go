package dashboards

import (
	"fmt"

	"egovmon/agent/check"
	"egovmon/exporter"
)

const here = `unit="$unit",service=~"$service"`

// unit answers: what works at this unit, and if not, is it the unit's machines and lines or the system?
func unit() board {
	return board{
		uid:   Unit,
		title: text{"Đơn vị", "Unit"},
		about: text{"Tại đơn vị này hệ thống nào dùng được, và nếu không thì do máy, đường truyền của đơn vị hay do hệ thống.",
			"What works at this unit, and if something does not: is it the unit's machines and lines, or the system?"},
		from: "now-24h",
		vars: []variable{
			{name: "unit", label: text{"Đơn vị", "Unit"}, query: fmt.Sprintf("label_values(%s, unit)", exporter.CheckLastRun)},
			serviceVar(`{unit="$unit"}`), calendarVar(),
		},
		outages: inState("service", check.Down, here) + " == 1",
		rows: []row{
			{panels: unitStats()},
			{panels: []panel{seenHere(), checksOverTime(), reasons("service, machine, check", here), lastRuns()}},
			{title: text{"Thời gian đáp ứng và đường truyền", "Response and line"}, panels: []panel{durations(), phases(), loss()}},
			{title: text{"Tính sẵn sàng và chứng thư số", "Availability and certificates"}, collapsed: true,
				panels: []panel{hourlyHistory("service", here), chains(), certificates(here), consistent(), signatures()}},
		},
	}
}

func unitStats() []panel {
	count := func(s check.State, title text, color string) panel {
		return panel{look: lookStat, w: 4, h: 4, title: title, unit: "none", decimals: new(0.0), steps: []step{{color: faint}, {1, color}},
			about: text{"Số hệ thống đang ở trạng thái này khi nhìn từ đơn vị, tính riêng phiếu của đơn vị.",
				"Systems in this state as seen from the unit, by its own vote."},
			queries: []query{{expr: howMany("service", s, here)}}}
	}
	return []panel{
		count(check.Down, text{"Gián đoạn", "Down"}, red), count(check.Degraded, text{"Suy giảm", "Degraded"}, amber),
		count(check.Unknown, text{"Không xác định", "Unknown"}, grey), count(check.Up, text{"Hoạt động bình thường", "Up"}, blue),
		{look: lookStat, w: 4, h: 4, title: text{"Máy có liên lạc", "Machines heard of"}, unit: "none", decimals: new(0.0), steps: []step{{color: purple}, {1, blue}},
			about: text{"Số máy của đơn vị có liên lạc trong 30 phút qua. 0 là cả đơn vị im lặng: mất điện, mất mạng hoặc máy đã tắt.",
				"Machines of the unit heard of within 30 minutes. 0 means that the whole unit is silent: no power, no line, or switched off."},
			link:    System,
			queries: []query{{expr: fmt.Sprintf(`sum(time() - max by (machine) (%s{unit="$unit"}) <= bool %d)`, exporter.AgentLastContact, silentAfter)}}},
		{look: lookStat, w: 4, h: 4, title: text{"Liên lạc gần nhất", "Last heard of"}, unit: minutes, decimals: new(0.0),
			steps:   []step{{color: blue}, {silentAfter / 60, purple}},
			about:   text{"Số phút từ lần liên lạc gần nhất của máy nào đó thuộc đơn vị.", "Minutes since any machine of the unit was heard of."},
			queries: []query{{expr: fmt.Sprintf(`(time() - max(%s{unit="$unit"})) / 60`, exporter.AgentLastContact)}}},
	}
}

func seenHere() panel {
	return panel{look: lookStates, w: 24, h: 14, title: text{"Trạng thái các hệ thống nhìn từ đơn vị", "States of systems as seen from the unit"},
		about: text{"Phiếu của riêng đơn vị. Đường truyền của đơn vị hỏng thì các hệ thống bên ngoài là không xác định, không phải gián đoạn.",
			"The unit's own vote. When its line fails, systems outside are unknown, not down."},
		queries: []query{{expr: stateCode("service", here), legend: "{{service}}"}}, mappings: stateValues, every: "1m",
		link: Unit + "?${unit:queryparam}&var-service=${__field.labels.service}"}
}

func checksOverTime() panel {
	return panel{look: lookStates, w: 24, h: 16, title: text{"Từng phép kiểm tra trên từng máy", "Each check on each machine"},
		about: text{"Kết quả như máy đã ghi và ký. Trống là không đo được hoặc chưa nhận được; kết quả gửi muộn được vẽ vào đúng lúc đã đo.",
			"Results as the machine recorded and signed them. Empty means not measurable or not received yet; late results are drawn at their own time."},
		queries:  []query{{expr: fmt.Sprintf("max by (machine, service, check) (%s{%s})", exporter.CheckSuccess, here), legend: "{{machine}} · {{check}}"}},
		mappings: successValues, every: "1m"}
}

func lastRuns() panel {
	return panel{look: lookTable, w: 12, h: 10, title: text{"Lần đo gần nhất", "Last runs"},
		about: text{"Số phút từ lần chạy gần nhất của mỗi phép kiểm tra; lớn hơn chu kỳ nhiều lần là máy tắt, tạm dừng hoặc chưa gửi được.",
			"Minutes since each check last ran; many times its interval means that the machine is off, suspended or cannot send."},
		queries: []query{{expr: fmt.Sprintf("sort_desc((time() - max by (machine, service, check) (%s{%s})) / 60)", exporter.CheckLastRun, here)}},
		columns: []column{{field: "machine", title: text{"Máy", "Machine"}}, {field: "service", title: text{"Hệ thống", "System"}},
			{field: "check", title: text{"Phép kiểm tra", "Check"}},
			{field: "Value", title: text{"Cách đây", "Ago"}, unit: minutes, decimals: new(0.0), steps: []step{{color: blue}, {silentAfter / 60, purple}}}}}
}

func durations() panel {
	return panel{look: lookLines, w: 12, h: 10, unit: "s", min: new(0.0), title: text{"Thời gian đáp ứng", "Response time"},
		about: text{"Thời gian chạy lâu nhất trong các phép kiểm tra của mỗi hệ thống. Nhiều dòng khó đọc: chọn hệ thống ở trên.",
			"The longest run among the checks of each system. Many lines are hard to read: choose systems above."},
		queries: []query{{expr: fmt.Sprintf("max by (service) (%s{%s})", exporter.CheckDuration, here), legend: "{{service}}"}}}
}

func phases() panel {
	return panel{look: lookLines, w: 12, h: 10, unit: "s", min: new(0.0), title: text{"Thời gian theo bước", "Time by step"},
		about: text{"Bước nào mất thời gian: tên miền, kết nối, TLS, chờ trả lời, tải về. Cần lấy số liệu với ?collect=phases.",
			"Which step takes the time: name, connection, TLS, waiting, transfer. Needs a scrape with ?collect=phases."},
		queries: []query{{expr: fmt.Sprintf(`avg by (phase) (%s{%s,phase!="total"})`, exporter.CheckPhase, here), legend: "{{phase}}", empty: true}}}
}

func loss() panel {
	return panel{look: lookLines, w: 24, h: 8, unit: "percentunit", min: new(0.0), title: text{"Mất gói", "Packet loss"},
		about: text{"Phần gói dội không được trả lời ở lần đo gần nhất, theo phép kiểm tra. Trên 5 % kéo dài thì báo nhà mạng. Cần lấy số liệu với ?collect=facts.",
			"Share of echo requests without an answer in the last run. Lasting over 5 % is for the carrier. Needs a scrape with ?collect=facts."},
		queries: []query{{expr: fmt.Sprintf("max by (machine, check) (%s{%s})", exporter.PathLoss, here), legend: "{{machine}} · {{check}}", empty: true}}}
}

func consistent() panel {
	return panel{look: lookStates, w: 12, h: 8, mappings: successValues, every: "1m", title: text{"Trả lời tên miền đúng", "Right answers about names"},
		about: text{"Máy chủ tên miền có trả lời đúng, giống nhau và xác minh được không; trả lời sai có thể là giả mạo. Cần lấy số liệu với ?collect=facts.",
			"Whether name servers give the right answers, agree, and can be verified; a wrong answer may be forged. Needs a scrape with ?collect=facts."},
		queries: []query{{expr: fmt.Sprintf("min by (service, check) (%s{%s})", exporter.DNSConsistent, here), legend: "{{service}} · {{check}}", empty: true}}}
}

func signatures() panel {
	return panel{look: lookLines, w: 12, h: 8, unit: "d", title: text{"Chữ ký DNSSEC còn hạn", "DNSSEC signatures last"},
		about: text{"Số ngày đến khi chữ ký đầu tiên của vùng tên miền hết hạn. Dưới 3 ngày thì báo đơn vị quản lý tên miền. Cần lấy số liệu với ?collect=facts.",
			"Days until the first signature of the zone ends. Under 3 days is for whoever keeps the zone. Needs a scrape with ?collect=facts."},
		queries: []query{{expr: fmt.Sprintf("(min by (service, check) (%s{%s}) - time()) / 86400", exporter.DNSSigned, here), legend: "{{service}} · {{check}}", empty: true}}}
}

func chains() panel {
	return panel{look: lookStates, w: 12, h: 16, mappings: successValues, every: "1m", title: text{"Chuỗi chứng thư số hợp lệ", "Valid chains of certificates"},
		about: text{"Chứng thư số của máy chủ có dẫn tới gốc tin cậy và còn hạn không. Cần lấy số liệu với ?collect=tls.",
			"Whether the server's certificates lead to a trusted root and are within their dates. Needs a scrape with ?collect=tls."},
		queries: []query{{expr: fmt.Sprintf("min by (service, check) (%s{%s})", exporter.ChainValid, here), legend: "{{service}} · {{check}}", empty: true}}}
}
