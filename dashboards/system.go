package dashboards

import (
	"fmt"

	"egovmon/exporter"
)

const (
	fleet  = `machine=~"$machine"`
	maxGap = `[$__rate_interval]`
)

// system answers: do egovmon's own parts work, so that the other dashboards can be believed?
func system() board {
	return board{
		uid:   System,
		title: text{"Máy chủ thu thập và tác tử", "Collector and agents"},
		about: text{"Chính hệ thống giám sát có hoạt động không: máy nào im lặng, số liệu nào chưa về, nhật ký có toàn vẹn không, máy chủ còn đủ tài nguyên không.",
			"Does the monitoring itself work: which machines are silent, what has not come in, is the log intact, has the server enough resources."},
		from: "now-24h",
		vars: []variable{{name: "machine", label: text{"Máy", "Machine"}, multi: true,
			query: fmt.Sprintf("label_values(%s, machine)", exporter.AgentLastContact)}},
		rows: []row{
			{panels: systemStats()},
			{title: text{"Tác tử", "Agents"}, panels: []panel{contact(), machines(), rejected(), notified(), watched(), watcherHeard(), layerControls(), controlUnits(), userCerts(), userCertsRevoked()}},
			{title: text{"Việc của từng tác tử", "Work of each agent"}, collapsed: true, panels: agentPanels()},
			{title: text{"Nhật ký và kho số liệu", "Log and series"}, panels: storePanels()},
			{title: text{"Máy chủ", "Server"}, collapsed: true, panels: serverPanels()},
		},
	}
}

func systemStats() []panel {
	one := func(title, about text, expr string, steps ...step) panel {
		return panel{look: lookStat, w: 4, h: 4, title: title, about: about, unit: "none", decimals: new(0.0), steps: steps, queries: []query{{expr: expr}}}
	}
	return []panel{
		one(text{"Số máy", "Machines"}, text{"Số máy đã ghi danh và đã từng liên lạc với máy chủ thu thập.", "Enrolled machines that the collector has heard of."},
			fmt.Sprintf("count(max by (machine, unit) (%s))", exporter.AgentLastContact), step{color: blue}),
		one(text{"Máy im lặng", "Silent machines"}, text{"Số máy không liên lạc quá 30 phút. Quá 30 % cùng lúc thường là lỗi ở máy chủ hoặc mạng trung tâm.",
			"Machines not heard of for more than 30 minutes. Over 30 % at once is usually the server's or the centre's fault."},
			fmt.Sprintf("sum(time() - max by (machine, unit) (%s) > bool %d)", exporter.AgentLastContact, silentAfter), step{color: blue}, step{1, purple}),
		one(text{"Lô bị từ chối, 1 giờ", "Batches refused, 1 hour"}, text{"Số lô kết quả không được nhận trong 1 giờ qua: thiếu lô trước, rẽ nhánh, sai chữ ký, quá nhiều. Tác tử sẽ gửi lại; kéo dài thì xem máy nào.",
			"Batches not taken in within the last hour: a gap, a fork, a wrong signature, too much at once. Agents send again; if it lasts see which machine."},
			fmt.Sprintf("sum(increase(%s[1h]))", exporter.AgentRefused), step{color: blue}, step{1, amber}),
		one(text{"Lỗi kiểm chứng nhật ký", "Log failures"}, text{"Số bằng chứng hoặc chữ ký của nhật ký không kiểm chứng được. Khác 0 là phải có người xem ngay.",
			"Proofs or signatures of the log that did not verify. Anything but 0 wants a person at once."},
			fmt.Sprintf("sum(%s)", exporter.LogFailures), step{color: blue}, step{1, red}),
		one(text{"Mẫu chờ gửi đi", "Samples waiting"}, text{"Số mẫu trên đĩa mà hệ thống nhận (remote write) chưa lấy. Trống là không gửi đi đâu.",
			"Samples on disk that a receiver of remote write has not had. Empty when nothing is sent on."},
			"sum(max by (receiver) (egovmon_remote_write_waiting_samples))", step{color: blue}, step{1e6, amber}),
		one(text{"Hệ thống chưa cấu hình", "Not configured"}, text{"Số hệ thống chưa có gì đo vì còn thiếu giá trị trong hồ sơ địa bàn; chúng được tính là không đo được.",
			"Systems that nothing measures, because the profile lacks a value; they count as not measured."},
			fmt.Sprintf("max(%s)", exporter.BoardNotConfigured), step{color: blue}, step{1, purple}),
	}
}

func contact() panel {
	return panel{look: lookStates, w: 14, h: 14, mappings: presenceValues, every: "1m", title: text{"Máy có liên lạc", "Machines heard of"},
		about: text{"Mỗi dòng là một máy: im lặng khi không liên lạc quá 30 phút. Tất cả cùng trống là máy chủ thu thập không chạy.",
			"One line a machine: silent when not heard of for 30 minutes. All empty at once means that the collector did not run."},
		link:    Unit + "?var-unit=${__field.labels.unit}",
		queries: []query{{expr: fmt.Sprintf("time() - max by (unit, machine) (%s{%s}) <= bool %d", exporter.AgentLastContact, fleet, silentAfter), legend: "{{unit}} · {{machine}}"}}}
}

func machines() panel {
	return panel{look: lookTable, w: 10, h: 14, join: "machine", title: text{"Máy", "Machines"},
		about: text{"Phút từ lần liên lạc gần nhất và số lô bị từ chối trong 1 giờ qua của từng máy.", "Minutes since last contact and batches refused within the last hour, by machine."},
		queries: []query{
			{expr: fmt.Sprintf("(time() - max by (machine) (%s{%s})) / 60", exporter.AgentLastContact, fleet)},
			{expr: fmt.Sprintf("sum by (machine) (increase(%s{%s}[1h]))", exporter.AgentRefused, fleet), empty: true},
		},
		columns: []column{{field: "machine", title: text{"Máy", "Machine"}, link: System + "?var-machine=${__value.raw}"},
			{field: "Value #A", title: text{"Im lặng", "Silent for"}, unit: minutes, decimals: new(0.0), steps: []step{{color: blue}, {silentAfter / 60, purple}}},
			{field: "Value #B", title: text{"Bị từ chối", "Refused"}, decimals: new(0.0), steps: []step{{color: faint}, {1, amber}}}}}
}

func notified() panel {
	return lines(24, 8, "none", text{"Lượt gửi thông báo, mỗi giờ", "Notifications, per hour"},
		text{"Lượt gửi cảnh báo cho người phụ trách, theo kênh và kết quả. Chỉ có error mà không có ok là không ai nhận được.",
			"Attempts to tell people of incidents, by channel and result. Only error without ok means that nobody is told."},
		query{expr: fmt.Sprintf("sum by (channel, result) (rate(%s%s)) * 3600", exporter.Notifications, maxGap), legend: "{{channel}} · {{result}}", empty: true})
}

func watched() panel {
	return lines(12, 8, "none", text{"Gọi người canh ở ngoài, mỗi giờ", "Calls of the watcher outside, per hour"},
		text{"Nơi ở ngoài báo động khi không nghe thấy máy chủ thu thập. blind là không gọi vì chính máy chủ không nhìn thấy gì. Trống là chưa khai.",
			"A place outside alarms when it does not hear the collector. blind was not called, since the collector itself saw nothing. Empty when none is named."},
		query{expr: fmt.Sprintf("sum by (result) (rate(%s%s)) * 3600", exporter.WatcherCalls, maxGap), legend: "{{result}}", empty: true})
}

func layerControls() panel {
	return lines(12, 8, "none", text{"Tiêu chí của 4 lớp theo trạng thái", "Controls of the four layers by state"},
		text{"Cộng trên các đơn vị; đo trên máy và minh chứng bằng văn bản để riêng. pass tăng là đang tốt lên.",
			"Over all units; what machines measure and what documents attest apart. More pass is better."},
		query{expr: fmt.Sprintf("sum by (layer, part, state) (%s)", exporter.LayerControls), legend: "{{layer}} · {{part}} · {{state}}", empty: true})
}

func userCerts() panel {
	return lines(12, 8, "none", text{"Chứng thư số theo thời hạn", "Signing certificates by days left"},
		text{"Cộng trên các đơn vị, không có họ tên. expired, 15d, 30d, 60d là số cần gia hạn; ai thì xem trang Chứng thư số của bảng.",
			"Over all units, without names. What is expired, 15d, 30d or 60d is to be renewed; whose they are stands on the board's page."},
		query{expr: fmt.Sprintf("sum by (expires_within) (%s)", exporter.UserCertsWithin), legend: "{{expires_within}}", empty: true})
}

func userCertsRevoked() panel {
	return lines(12, 8, "none", text{"Chứng thư số theo tình trạng thu hồi", "Signing certificates by revocation"},
		text{"revoked là đã bị thu hồi, stray là không dẫn tới chứng thư gốc, unknown là chưa hỏi được. Trống là chưa khai nơi được hỏi.",
			"revoked were revoked, stray lead to none of the roots, unknown could not be asked about. Empty when nobody may be asked."},
		query{expr: fmt.Sprintf("sum by (state) (%s)", exporter.UserCertsRevoked), legend: "{{state}}", empty: true})
}

func controlUnits() panel {
	return lines(12, 8, "none", text{"Số đơn vị chưa đạt, theo tiêu chí", "Units that do not meet a control"},
		text{"Tiêu chí có nhiều đơn vị chưa đạt nhất nên làm trước.", "What most units do not meet is what to do first."},
		query{expr: fmt.Sprintf(`sum by (control) (%s{state=~"fail|expired|missing|waiting|partial"})`, exporter.ControlUnits), legend: "{{control}}", empty: true})
}

func watcherHeard() panel {
	return lines(12, 8, "s", text{"Người canh ở ngoài nghe lần cuối", "The watcher outside heard last"},
		text{"Thời gian từ lần gọi tới gần nhất; chỉ tính nơi đã có người xác nhận nhận được báo động thử.", "Time since the latest call that arrived, of a watcher whose test a person has confirmed."},
		query{expr: fmt.Sprintf("(time() - max(%s)) and on () max(%s) == 1", exporter.WatcherLast, exporter.WatcherConfirmed), legend: "", empty: true})
}

func rejected() panel {
	return lines(24, 8, "none", text{"Kết quả không được tính, mỗi giờ", "Results that enter no figure, per hour"},
		text{"Kết quả đã lưu nhưng không vào số liệu nào, theo lý do và máy: sai thời điểm, trùng, không có trong kế hoạch.",
			"Results that are kept but enter no figure, by why and machine: wrong slot, duplicate, not in the plan."},
		query{expr: fmt.Sprintf("sum by (machine, reason) (rate(%s{%s}%s)) * 3600", exporter.AgentRejected, fleet, maxGap), legend: "{{machine}} · {{reason}}", empty: true})
}

// lines is a panel of lines over time that begin at 0.
func lines(w, h uint32, unit string, title, about text, queries ...query) panel {
	return panel{look: lookLines, w: w, h: h, unit: unit, min: new(0.0), title: title, about: about, queries: queries}
}

func agentPanels() []panel {
	rate := func(family, by string) string {
		return fmt.Sprintf("sum by (%s) (rate(%s{%s}%s)) * 60", by, family, fleet, maxGap)
	}
	spool := lines(12, 8, "none", text{"Lô chưa gửi", "Batches not sent"}, text{"Số lô đã đóng mà máy chủ thu thập chưa xác nhận. Tăng mãi là đường truyền hỏng.",
		"Sealed batches that the collector has not acknowledged. Growing without end means that the line is broken."},
		query{expr: fmt.Sprintf("max by (machine) (%s{%s})", exporter.SpoolBatches, fleet), legend: "{{machine}}"})
	age := lines(12, 8, "s", text{"Tuổi của kết quả cũ nhất chưa gửi", "Age of the oldest record not sent"}, text{"Quá 24 giờ là phải xem đường truyền của máy.",
		"Over 24 hours look at the machine's line."},
		query{expr: fmt.Sprintf("time() - max by (machine) (%s{%s})", exporter.SpoolOldest, fleet), legend: "{{machine}}", empty: true},
		query{expr: fmt.Sprintf("time() - max by (machine) (%s{%s})", exporter.PushLastSuccess, fleet), legend: "{{machine}} · push", empty: true},
		query{expr: fmt.Sprintf("time() - max by (machine) (%s{%s})", exporter.AgentCloned, fleet), legend: "{{machine}} · 2 máy 1 danh tính / cloned", empty: true},
		query{expr: fmt.Sprintf("time() - max(%s)", exporter.ArchiveFailing), legend: "máy chủ không ghi được / not archived", empty: true})
	runs := lines(12, 8, "none", text{"Số lần chạy mỗi phút", "Runs per minute"}, text{"Lần chạy đã xong và lần bị bỏ theo lý do.", "Runs that ended, and slots not run by why."},
		query{expr: rate(exporter.CheckRuns, "machine"), legend: "{{machine}}"},
		query{expr: rate(exporter.CheckMissed, "machine, reason"), legend: "{{machine}} · {{reason}}", empty: true},
		query{expr: fmt.Sprintf("max by (machine) (%s{%s})", exporter.ChecksRunning, fleet), legend: "{{machine}} · đang chạy / running"})
	delay := lines(12, 8, "s", text{"Bắt đầu muộn, 95 %", "Late starts, 95 %"}, text{"95 % lần chạy bắt đầu không muộn hơn mức này; lớn là máy quá tải.",
		"95 % of runs began no later than this; high means an overloaded machine."},
		query{expr: fmt.Sprintf("histogram_quantile(0.95, sum by (machine, le) (rate(%s_bucket{%s}%s)))", exporter.CheckStartDelay, fleet, maxGap), legend: "{{machine}}"})
	pushes := lines(12, 8, "none", text{"Yêu cầu gửi, mỗi phút", "Requests to the collector, per minute"}, text{"Theo loại trả lời: 2xx là nhận, 429 là chờ, error là không tới nơi. Giá trị 1 có mã (tls_inspection, proxy_auth …) là vì sao không tới nơi.",
		"By class of answer: 2xx taken, 429 to wait, error did not arrive. A value of 1 with a code (tls_inspection, proxy_auth …) says why."},
		query{expr: rate(exporter.PushRequests, "machine, code"), legend: "{{machine}} · {{code}}"},
		query{expr: fmt.Sprintf("sum by (machine, reason) (increase(%s{%s}%s))", exporter.SpoolDropped, fleet, maxGap), legend: "{{machine}} · {{reason}}", empty: true},
		query{expr: fmt.Sprintf("sum by (machine) (increase(%s{%s}%s)) > 0", exporter.SpoolSpared, fleet, maxGap), legend: "{{machine}} · disk_full", empty: true},
		query{expr: fmt.Sprintf("max by (machine, reason) (%s{%s})", exporter.PushProblem, fleet), legend: "{{machine}} · {{reason}}", empty: true})
	skew := lines(12, 8, "s", text{"Lệch đồng hồ", "Clock offset"}, text{"Đồng hồ máy nhanh hơn máy chủ thu thập (collector) và các máy chủ giờ (ntp) bao nhiêu. Quá 30 giây cần chỉnh; chữ ký số cũng hỏng theo.",
		"How far the machine's clock is ahead of the collector's and of servers of time (ntp). Beyond 30 seconds set it; signatures fail too."},
		query{expr: fmt.Sprintf("max by (machine, source) (%s{%s})", exporter.ClockOffset, fleet), legend: "{{machine}} · {{source}}", empty: true})
	skew.min = nil
	skew.steps = []step{{color: amber}, {-clockSkew, blue}, {clockSkew, amber}}
	size := lines(12, 8, "bytes", text{"Nhật ký trên đĩa của máy", "Journal on the machine's disk"}, text{"Kết quả đã ghi và ký, giữ ít nhất 14 ngày.", "Recorded and signed results, kept for at least 14 days."},
		query{expr: fmt.Sprintf("max by (machine) (%s{%s})", exporter.SpoolBytes, fleet), legend: "{{machine}}"})
	return []panel{spool, size, age, runs, delay, pushes, skew, agentsTable()}
}

func agentsTable() panel {
	maybe := func(expr string) query { return query{expr: expr, empty: true} }
	return panel{look: lookTable, w: 24, h: 8, join: "machine", title: text{"Kế hoạch và chứng thư số của tác tử", "Plans and certificates of agents"},
		about: text{"Phiên bản kế hoạch đang chạy, áp dụng từ bao nhiêu ngày, chứng thư số còn bao nhiêu ngày. Của tác tử trong máy chủ và các tác tử được lấy số liệu trực tiếp.",
			"Version of the plan at work, how many days ago it was applied, days left of the certificate. Of the collector's own agent and of those scraped directly."},
		queries: []query{
			maybe(fmt.Sprintf("max by (machine) (%s{%s})", exporter.AgentPlanVersion, fleet)),
			maybe(fmt.Sprintf("(time() - max by (machine) (%s{%s})) / 86400", exporter.AgentPlanApplied, fleet)),
			maybe(fmt.Sprintf("(min by (machine) (%s{%s}) - time()) / 86400", exporter.AgentCertNotAfter, fleet)),
		},
		columns: []column{{field: "machine", title: text{"Máy", "Machine"}},
			{field: "Value #A", title: text{"Phiên bản kế hoạch", "Plan version"}, decimals: new(0.0)},
			{field: "Value #B", title: text{"Áp dụng cách đây", "Applied ago"}, unit: days, decimals: new(1.0)},
			{field: "Value #C", title: text{"Chứng thư số còn", "Certificate left"}, unit: days, decimals: new(0.0), steps: []step{{color: red}, {7, amber}, {certSoonDays, blue}}}}}
}

func storePanels() []panel {
	return []panel{
		lines(12, 8, "none", text{"Số lá của nhật ký", "Leaves of the log"}, text{"Nhật ký chỉ có thể dài thêm; giảm là nghiêm trọng.", "The log can only grow; shrinking is grave."},
			query{expr: fmt.Sprintf("max(%s)", exporter.LogLeaves), legend: "lá / leaves"}),
		lines(12, 8, "s", text{"Tuổi điểm kiểm của nhật ký", "Age of the checkpoint"}, text{"Từ khi có điểm kiểm (checkpoint) mới nhất.", "Since the newest checkpoint was made or seen."},
			query{expr: fmt.Sprintf("time() - max(%s)", exporter.LogCheckpoint), legend: "checkpoint", empty: true}),
		lines(12, 8, "none", text{"Chuỗi số liệu đang giữ", "Series in memory"}, text{"So với giới hạn của kho số liệu nhúng. Chạm giới hạn thì chuỗi mới bị từ chối: chuyển sang hệ thống lớn hơn bằng remote write.",
			"Against the limit of the embedded store. At the limit new series are refused: move to a bigger system by remote write."},
			query{expr: "max by (store) (" + exporter.SeriesActive + ")", legend: "{{store}}"},
			query{expr: "max by (store) (egovmon_series_limit)", legend: "{{store}} · giới hạn / limit"}),
		lines(12, 8, "none", text{"Mẫu vào kho, mỗi giây", "Samples offered, per second"}, text{"Theo kết quả: accepted là nhận; còn lại là lý do từ chối.", "By what became of them: accepted, or why not."},
			query{expr: "sum by (store, outcome) (rate(egovmon_series_samples_total" + maxGap + "))", legend: "{{store}} · {{outcome}}"},
			query{expr: "sum by (store, what) (rate(egovmon_series_failures_total" + maxGap + ")) > 0", legend: "{{store}} · {{what}}", empty: true}),
		lines(12, 8, "bytes", text{"Dung lượng kho số liệu", "Size of the store"}, text{"Trên đĩa của máy chủ.", "On the server's disk."},
			query{expr: "max by (store) (egovmon_series_disk_bytes)", legend: "{{store}}"}),
		lines(12, 8, "none", text{"Gửi đi (remote write)", "Remote write"}, text{"Mẫu mỗi giây theo nơi nhận và kết quả; mẫu còn chờ.", "Samples per second by receiver and outcome; samples waiting."},
			query{expr: "sum by (receiver, outcome) (rate(egovmon_remote_write_samples_total" + maxGap + "))", legend: "{{receiver}} · {{outcome}}", empty: true},
			query{expr: "max by (receiver) (egovmon_remote_write_waiting_samples)", legend: "{{receiver}} · chờ / waiting", empty: true}),
	}
}

func serverPanels() []panel {
	return []panel{
		lines(8, 8, "percentunit", text{"Bộ xử lý", "Processor"}, text{"Phần bộ xử lý đang dùng của máy chủ, và của tiến trình máy chủ thu thập tính theo một nhân.",
			"Share of the server's processors in use, and the collector's own use in cores."},
			query{expr: `1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}` + maxGap + `))`, legend: "máy / machine"},
			query{expr: "max(rate(process_cpu_seconds_total" + maxGap + "))", legend: "collector"}),
		lines(8, 8, "bytes", text{"Bộ nhớ", "Memory"}, text{"Bộ nhớ còn dùng được của máy chủ và bộ nhớ của tiến trình.", "Memory available on the server, and the process's."},
			query{expr: "max by (instance) (node_memory_MemAvailable_bytes)", legend: "còn / available"},
			query{expr: "max by (instance) (process_resident_memory_bytes)", legend: "collector"}),
		lines(8, 8, "percentunit", text{"Đĩa còn trống", "Disk free"}, text{"Phần đĩa còn trống. Dưới 10 % mà còn giảm thì sẽ có cảnh báo: bằng chứng phải được giữ.",
			"Share of the disk that is free. Under 10 % and falling raises an alert: evidence must be kept."},
			query{expr: `max by (mountpoint) (node_filesystem_avail_bytes{fstype!~"tmpfs|iso9660|udf"} / node_filesystem_size_bytes)`, legend: "{{mountpoint}}"}),
		{look: lookTable, w: 12, h: 6, title: text{"Phiên bản", "Versions"}, about: text{"Chương trình nào đang chạy.", "Which programs run."},
			queries: []query{{expr: "max by (version, revision, goversion, goos, goarch) (" + exporter.BuildInfo + ")"}},
			columns: []column{{field: "version", title: text{"Phiên bản", "Version"}}, {field: "revision", title: text{"Bản mã nguồn", "Revision"}},
				{field: "goversion", title: text{"Go", "Go"}}, {field: "goos", title: text{"Hệ điều hành", "System"}}, {field: "goarch", title: text{"Kiến trúc", "Architecture"}}}},
		{look: lookStates, w: 12, h: 6, mappings: hoursValues, every: "1m", title: text{"Giờ làm việc", "Working time"},
			about:   text{"Lịch của hồ sơ địa bàn: cảnh báo và số liệu dùng chung lịch này.", "Calendars of the profile: alerts and figures use the same."},
			queries: []query{{expr: "max by (calendar) (" + exporter.WorkingTime + ")", legend: "{{calendar}}"}}},
	}
}
