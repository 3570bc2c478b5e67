package dashboards

import (
	"fmt"

	"egovmon/agent/check"
	"egovmon/exporter"
)

// Thresholds are those of the alert rules in deploy/prometheus.
const (
	silentAfter  = 1800 // seconds
	coverageLow  = 0.95
	certSoonDays = 21
	certVerySoon = 3
	clockSkew    = 30 // seconds
)

const (
	whole   = `unit="",service=~"$service"`  // services as a whole
	seenAny = `unit!="",service=~"$service"` // as seen from each unit
)

// overview answers: is anything wrong in the district now, where, and since when?
func overview() board {
	return board{
		uid:   Overview,
		title: text{"Tổng quan hệ thống chính quyền điện tử", "E-government systems: overview"},
		about: text{"Có gì bất thường trong toàn địa bàn không, ở đâu, từ lúc nào. Hệ thống được xét theo số phiếu của các đơn vị; không xác định không tính là hoạt động, cũng không tính là gián đoạn.",
			"Is anything wrong in the district, where, and since when. A system is judged by the votes of the units; unknown counts neither as up nor as down."},
		from:    "now-24h",
		vars:    []variable{serviceVar(``), calendarVar()},
		outages: inState("service", check.Down, whole) + " == 1",
		rows: []row{
			{panels: overviewStats()},
			{panels: []panel{servicesOverTime(), abnormal(), reasons("service", `service=~"$service"`)}},
			{title: text{"Đơn vị", "Units"}, panels: []panel{unitsOverTime(), unitsTable()}},
			{title: text{"Tính sẵn sàng", "Availability"}, panels: []panel{availability(), hourlyHistory("service", whole)}},
			{title: text{"Chứng thư số của máy chủ", "Server certificates"}, collapsed: true, panels: []panel{certificates(`service=~"$service"`)}},
		},
	}
}

func serviceVar(of string) variable {
	return variable{name: "service", label: text{"Hệ thống", "System"}, multi: true,
		query: fmt.Sprintf("label_values(%s%s, service)", exporter.CheckLastRun, of)}
}

func calendarVar() variable {
	return variable{name: "calendar", label: text{"Lịch tính", "Calendar"}, first: "24x7",
		query: fmt.Sprintf("label_values(%s, calendar)", exporter.ServiceCoverage)}
}

func overviewStats() []panel {
	count := func(title, about text, expr, color string) panel {
		return panel{look: lookStat, w: 4, h: 4, title: title, about: about, unit: "none", decimals: new(0.0),
			queries: []query{{expr: expr}}, steps: []step{{color: blue}, {1, color}}}
	}
	silent := count(text{"Máy im lặng", "Silent machines"},
		text{"Số máy đã ghi danh mà máy chủ thu thập không nghe thấy quá 30 phút. Ngoài giờ hành chính máy trạm tắt là bình thường.",
			"Enrolled machines that the collector has not heard of for more than 30 minutes. Workstations are switched off after hours."},
		fmt.Sprintf("sum(time() - max by (machine, unit) (%s) > bool %d)", exporter.AgentLastContact, silentAfter), purple)
	silent.link = System
	return []panel{
		count(text{"Gián đoạn", "Down"}, text{"Số hệ thống đang gián đoạn theo phiếu của các đơn vị. Xem bảng bên dưới để biết hệ thống nào và vì sao.",
			"Systems that are down by the votes of the units. The tables below say which and why."}, howMany("service", check.Down, whole), red),
		count(text{"Suy giảm", "Degraded"}, text{"Số hệ thống còn dùng được nhưng suy giảm: chậm, mất gói, chứng thư số sắp hết hạn.",
			"Systems that can be used but are degraded: slow, losing packets, a certificate about to end."}, howMany("service", check.Degraded, whole), amber),
		count(text{"Không xác định", "Unknown"}, text{"Số hệ thống không đo được: thiếu phiếu, chưa cấu hình hoặc đường truyền của chính đơn vị hỏng. Không phải là gián đoạn.",
			"Systems of which nothing could be told: too few votes, not configured, or the units' own lines failed. Not the same as down."}, howMany("service", check.Unknown, whole), grey),
		count(text{"Đơn vị thấy gián đoạn", "Units that see an outage"}, text{"Số đơn vị đang thấy ít nhất một hệ thống gián đoạn.",
			"Units from which at least one system is down."}, howMany("unit", check.Down, seenAny), amber),
		silent,
		{look: lookStat, w: 4, h: 4, title: text{"Độ phủ đo thấp nhất, 24 giờ", "Lowest coverage, 24 hours"},
			about: text{"Tỷ lệ thời gian biết được trạng thái, của hệ thống được đo ít nhất trong 24 giờ qua. Dưới 95 % thì số liệu sẵn sàng chưa đủ tin cậy: xem máy nào im lặng.",
				"Share of time in which the state was known, of the system measured least in the last 24 hours. Below 95 % figures of availability are weak: see which machines are silent."},
			unit: "percentunit", decimals: new(1.0), min: new(0.0), max: new(1.0), steps: []step{{color: amber}, {coverageLow, blue}},
			queries: []query{{expr: fmt.Sprintf(`min(max by (service) (%s{window="1d",calendar="$calendar",service=~"$service"}))`, exporter.ServiceCoverage)}}},
	}
}

func servicesOverTime() panel {
	return panel{look: lookStates, w: 24, h: 20, title: text{"Trạng thái các hệ thống", "States of systems"},
		about: text{"Mỗi dòng là một hệ thống, xét chung toàn địa bàn. Xám đậm là không xác định, xám nhạt là không có dữ liệu: máy chủ thu thập không chạy hoặc chưa nhận được. Bấm vào một dòng để lọc.",
			"One line a system, judged for the district. Dark grey is unknown, light grey is no data: the collector did not run or has not received it yet. Click a line to see that system alone."},
		queries: []query{{expr: stateCode("service", whole), legend: "{{service}}"}}, mappings: stateValues, every: "1m",
		link: Overview + "?var-service=${__field.labels.service}"}
}

func abnormal() panel {
	view := func(v string) query {
		return query{expr: fmt.Sprintf(`max by (service) (%s{view="%s",service=~"$service"}) and on (service) max by (service) (%s{state!="up",%s}) == 1`,
			exporter.ServiceVantages, v, exporter.ServiceState, whole), empty: true}
	}
	return panel{look: lookTable, w: 12, h: 10, join: "service", title: text{"Đang không bình thường", "Not as it should be"},
		about: text{"Các hệ thống hiện không ở trạng thái bình thường, xét chung toàn địa bàn, và bao nhiêu đơn vị thấy hỏng trong số đơn vị đo được. Trống là không có gì.",
			"Systems that are not up now, judged for the district, and how many units see a failure of those that could measure. Empty means none."},
		queries: []query{{expr: fmt.Sprintf(`max by (service, state) (%s{state!="up",%s}) == 1`, exporter.ServiceState, whole), empty: true}, view("failing"), view("fresh")},
		none:    text{"Không có", "None"},
		columns: []column{
			{field: "service", title: text{"Hệ thống", "System"}, link: Overview + "?var-service=${__value.raw}"},
			{field: "state", title: text{"Trạng thái", "State"}, mappings: stateWords},
			{field: "Value #B", title: text{"Đơn vị thấy hỏng", "Units that see it fail"}, decimals: new(0.0)},
			{field: "Value #C", title: text{"Đơn vị đo được", "Units that could tell"}, decimals: new(0.0)},
		}}
}

// reasons lists why checks are not ok, from most told to least.
func reasons(by, matchers string) panel {
	columns := []column{{field: "service", title: text{"Hệ thống", "System"}}}
	if by != "service" {
		columns = append(columns, column{field: "machine", title: text{"Máy", "Machine"}}, column{field: "check", title: text{"Phép kiểm tra", "Check"}})
	}
	columns = append(columns, column{field: "reason", title: text{"Nguyên nhân", "Reason"}, mappings: reasonWords},
		column{field: "Value", title: text{"Số kết quả", "Results"}, decimals: new(0.0)})
	return panel{look: lookTable, w: 12, h: 10, title: text{"Vì sao", "Why"},
		about: text{"Nguyên nhân trong kết quả mới nhất của các phép kiểm tra, và bao nhiêu phép kiểm tra thấy như vậy. Một phép kiểm tra hỏng chưa phải là hệ thống hỏng.",
			"Reasons of the latest results and how many checks say so. One failed check is not a failed system."},
		queries: []query{{expr: fmt.Sprintf(`sort_desc(count by (%s, reason) (max by (machine, service, check, reason) (%s{reason!="ok",%s}) == 1))`, by, exporter.CheckReason, matchers), empty: true}},
		none:    text{"Không có", "None"}, columns: columns}
}

func unitsOverTime() panel {
	return panel{look: lookStates, w: 14, h: 16, title: text{"Nhìn từ từng đơn vị", "As seen from each unit"},
		about: text{"Mỗi dòng là một đơn vị: gián đoạn nếu có một hệ thống đang gián đoạn khi nhìn từ đó, không xác định nếu không đo được hệ thống nào. Bấm để mở đơn vị.",
			"One line a unit: down if one system is down as seen from there, unknown if none could be measured. Click to open the unit."},
		queries: []query{{expr: stateCode("unit", seenAny), legend: "{{unit}}"}}, mappings: stateValues, every: "1m",
		link: Unit + "?var-unit=${__field.labels.unit}&${service:queryparam}"}
}

func unitsTable() panel {
	p := panel{look: lookTable, w: 10, h: 16, title: text{"Số hệ thống theo trạng thái", "Systems by state"}, join: "unit", decimals: new(0.0),
		about:   text{"Mỗi đơn vị đang thấy bao nhiêu hệ thống ở từng trạng thái.", "How many systems each unit sees in each state now."},
		columns: []column{{field: "unit", title: text{"Đơn vị", "Unit"}, link: Unit + "?var-unit=${__value.raw}&${service:queryparam}"}}}
	for i, s := range []struct {
		state check.State
		title text
		color string
	}{{check.Down, text{"Gián đoạn", "Down"}, red}, {check.Degraded, text{"Suy giảm", "Degraded"}, amber},
		{check.Unknown, text{"Không xác định", "Unknown"}, grey}, {check.Up, text{"Bình thường", "Up"}, blue}} {
		p.queries = append(p.queries, query{expr: perGroup("unit", s.state, seenAny)})
		p.columns = append(p.columns, column{field: "Value #" + string(rune('A'+i)), title: s.title, steps: []step{{color: faint}, {1, s.color}}})
	}
	return p
}

func availability() panel {
	of := func(family, more string) query {
		return query{expr: fmt.Sprintf(`max by (service) (%s{%swindow="30d",calendar="$calendar",service=~"$service"})`, family, more)}
	}
	down := of(exporter.ServiceSeconds, `account="down",`)
	down.empty = true
	agreed := of(exporter.ServiceObjective, "")
	agreed.empty = true
	percent := func(field string, title text, steps ...step) column {
		return column{field: field, title: title, unit: "percentunit", decimals: new(2.0), steps: steps}
	}
	return panel{look: lookTable, w: 12, h: 16, join: "service", title: text{"30 ngày qua", "Last 30 days"},
		about: text{"Tính sẵn sàng là một khoảng: cận dưới coi mọi lúc không xác định là gián đoạn, cận trên coi là hoạt động. Luôn đọc cùng độ phủ đo. Mục tiêu là của hồ sơ địa bàn. Số liệu kiểm toán lấy từ lệnh collector availability.",
			"Availability is an interval: the lower bound takes all that is unknown as down, the upper as up. Read it with the coverage. Objectives are the profile's. Figures for an audit come from the command collector availability."},
		queries: []query{of(exporter.ServiceAvail, `bound="lower",`), of(exporter.ServiceAvail, `bound="upper",`), of(exporter.ServiceCoverage, ""), agreed, down},
		columns: []column{{field: "service", title: text{"Hệ thống", "System"}},
			percent("Value #A", text{"Cận dưới", "Lower"}), percent("Value #B", text{"Cận trên", "Upper"}),
			percent("Value #C", text{"Độ phủ đo", "Coverage"}, step{color: amber}, step{coverageLow, blue}),
			percent("Value #D", text{"Mục tiêu", "Objective"}),
			{field: "Value #E", title: text{"Gián đoạn", "Down"}, unit: "s", decimals: new(0.0)}}}
}

// hourlyHistory shows each hour's availability; hours of which nothing is known stay empty.
func hourlyHistory(by, matchers string) panel {
	return panel{look: lookHistory, w: 12, h: 16, every: "1h", title: text{"Theo giờ, cận trên", "By hour, upper bound"},
		about: text{"Tính sẵn sàng cao nhất có thể của từng giờ: chỉ phần gián đoạn đã đo được làm giảm. Giờ không đo được để trống.",
			"The highest availability each hour can have had: only measured outage lowers it. Hours of which nothing is known stay empty."},
		unit: "percentunit", decimals: new(1.0), min: new(0.0), max: new(1.0), steps: []step{{color: red}, {coverageLow, amber}, {0.99, blue}},
		queries: []query{{expr: hourly(by, matchers), legend: "{{" + by + "}}"}}}
}

func certificates(matchers string) panel {
	return panel{look: lookTable, w: 24, h: 10, title: text{"Ngày còn lại của chứng thư số máy chủ", "Days left of server certificates"},
		about: text{"Chứng thư số đến hạn sớm nhất mà mỗi phép kiểm tra nhìn thấy; số âm là đã hết hạn. Dưới 21 ngày cần báo đơn vị vận hành gia hạn. Cần lấy số liệu với ?collect=tls.",
			"The certificate that ends first of those a check was shown; below zero it has ended. Under 21 days ask the operator to renew. Needs a scrape with ?collect=tls."},
		queries: []query{{expr: "sort(" + daysLeft("service, check, position", matchers) + ")", empty: true}},
		columns: []column{{field: "service", title: text{"Hệ thống", "System"}}, {field: "check", title: text{"Phép kiểm tra", "Check"}},
			{field: "position", title: text{"Vị trí", "Position"}},
			{field: "Value", title: text{"Còn lại", "Left"}, unit: days, decimals: new(0.0), steps: []step{{color: red}, {certVerySoon, amber}, {certSoonDays, blue}}}}}
}
