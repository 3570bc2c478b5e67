package words

import "sync"

// phrases holds, by key, the Vietnamese and the English form.
var phrases = sync.OnceValue(func() map[string][2]string {
	return map[string][2]string{
		// agent check, agent doctor
		"doctor.title":       {"Khám máy: %s", "Examination of %s"},
		"doctor.fine":        {"Tốt", "Fine"},
		"doctor.bad":         {"Có vấn đề", "Trouble"},
		"doctor.unknown":     {"Không đo được", "Not measurable"},
		"doctor.clock":       {"Đồng hồ máy", "Clock of this machine"},
		"doctor.address":     {"Địa chỉ mạng của máy", "Network address"},
		"doctor.gateway":     {"Thiết bị mạng của đơn vị (gateway)", "The unit's router (gateway)"},
		"doctor.dns":         {"Máy chủ tên miền (DNS)", "Name server (DNS)"},
		"doctor.collector":   {"Máy chủ thu thập tập trung", "Central collector"},
		"doctor.identity":    {"Ghi danh với máy chủ thu thập", "Enrolment with the collector"},
		"doctor.journal":     {"Số liệu chờ gửi", "Measurements waiting to be sent"},
		"doctor.disk":        {"Ổ đĩa chứa số liệu", "Disk that holds the measurements"},
		"doctor.noaddress":   {"Máy không có địa chỉ mạng nào ngoài chính nó", "The machine has no network address but its own loopback"},
		"doctor.notime":      {"Giờ trên máy trước ngày phát hành phần mềm", "The clock shows a time before this program was built"},
		"doctor.clockat":     {"%s", "%s"},
		"doctor.notenrolled": {"Chưa ghi danh", "Not enrolled"},
		"doctor.enrolled":    {"%s, máy chủ %s, chứng thư đến %s", "%s, collector %s, certificate until %s"},
		"doctor.waiting":     {"%d bản ghi, cũ nhất từ %s", "%d records, the oldest from %s"},
		"doctor.nowaiting":   {"Không có", "None"},
		"doctor.advice":      {"Việc cần làm: %s", "What to do: %s"},
		"doctor.enroladvice": {"Xin mã ghi danh của huyện rồi chạy: agent enrol --collector URL --token MÃ", "Ask the district for a token, then run: agent enrol --collector URL --token TOKEN"},
		"doctor.cableadvice": {"Kiểm tra dây mạng hoặc Wi-Fi, bật lại thiết bị mạng", "Check the cable or Wi-Fi, restart the router"},
		"doctor.allfine":     {"Không thấy vấn đề gì trên máy này.", "Nothing is wrong on this machine."},
		"doctor.first":       {"Hỏng trước tiên: %s. Hãy xử lý mục này trước, các mục sau thường do nó.", "First to fail: %s. Mend this first; what follows usually comes from it."},

		// the pages shown without a session
		"access.enter": {"Cần liên kết đăng nhập", "A link is needed to enter"},
		"access.gone":  {"Liên kết đã dùng hoặc đã hết hạn", "This link was used or has expired"},
		"access.how":   {"Trên máy chủ thu thập tập trung, chạy lệnh sau để nhận liên kết mới (dùng một lần, trong 15 phút):", "On the central collector, run this command for a fresh link (good once, for 15 minutes):"},
		"access.then":  {"Rồi mở liên kết đó bằng trình duyệt này. Mỗi lần khởi động, máy chủ cũng in ra một liên kết.", "Then open that link in this browser. Each start of the collector prints one, too."},
		// collector
		"collector.ready":  {"Máy chủ thu thập của %s đã sẵn sàng.", "The collector of %s is ready."},
		"collector.board":  {"Bảng theo dõi", "Board"},
		"collector.token":  {"mã truy cập trong", "token in"},
		"collector.agents": {"Tác tử kết nối tới", "Agents connect to"},
		"collector.state":  {"Dữ liệu nằm ở", "State is kept in"},
		"collector.stop":   {"Liên kết dùng một lần, hiệu lực 15 phút; lấy liên kết mới: collector link. Dừng bằng Ctrl-C.", "The link works once, within 15 minutes; for a new one: collector link. Stop with Ctrl-C."},

		// collector availability
		"figures.title":    {"Tính sẵn sàng từ %s đến trước %s", "Availability from %s until before %s"},
		"figures.counted":  {"Tính đến %s; phần sau chưa diễn ra.", "Counted until %s; the rest has not happened yet."},
		"figures.calendar": {"CHÚ Ý: chưa có lịch đầy đủ của năm %s; giờ phục vụ chỉ tính theo ngày lễ cố định.", "NOTE: the calendar of %s is missing or incomplete; service hours rest on fixed holidays only."},
		"figures.head":     {"DỊCH VỤ\tĐƠN VỊ\tLỊCH\tSẴN SÀNG\tĐỘ PHỦ\tHOẠT ĐỘNG\tTRONG ĐÓ SUY GIẢM\tGIÁN ĐOẠN\tKHÔNG XÁC ĐỊNH\tSỐ LẦN", "SERVICE\tUNIT\tCALENDAR\tAVAILABILITY\tCOVERAGE\tUP\tOF IT DEGRADED\tDOWN\tUNKNOWN\tOUTAGES"},
		"figures.none":     {"không có số liệu", "no data"},
		"figures.silent":   {"Không đo được %d dịch vụ (không có giây nào xác định, không tính là hoạt động hay gián đoạn): %s", "Not measured, %d services (no second is known; counted neither as up nor as down): %s"},
		"notice.calendar":  {"Lịch làm việc năm %s chưa đầy đủ: số liệu theo giờ phục vụ có thể sai ở ngày nghỉ bù, ngày hoán đổi. Bổ sung trong calendars của hồ sơ.", "The working calendar of %s is not complete: figures in service hours may be wrong on substitute and swapped days. Complete it in the profile's calendars."},
		"figures.log":      {"Quy tắc %s; theo nhật ký có %d mục, gốc %s…", "Rule %s; from the log of %d leaves, root %s…"},
	}
})
