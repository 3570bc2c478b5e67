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
	}
})
