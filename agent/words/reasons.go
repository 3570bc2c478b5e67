package words

import (
	"sync"

	"egovmon/agent/check"
)

type both struct{ vi, en Text }

// reasons is the catalogue of the closed list, made once.
var reasons = sync.OnceValue(func() map[check.Reason]both {
	m := map[check.Reason]both{}
	add := func(r check.Reason, vi, en Text) { m[r] = both{vi, en} }

	add(check.OK, Text{"Bình thường", "", ""}, Text{"Working", "", ""})

	add(check.Slow, Text{"Trả lời chậm", "Người dùng phải chờ lâu.", "Theo dõi; nếu kéo dài, báo đơn vị vận hành hệ thống."},
		Text{"Answers slowly", "People wait.", "Watch; if it lasts, tell the operator."})
	add(check.PacketLoss, Text{"Mất gói tin trên đường truyền", "Trang tải chậm, họp trực tuyến giật hình.", "Kiểm tra dây mạng, thiết bị mạng; báo nhà mạng."},
		Text{"Packets are lost on the line", "Pages load slowly, video calls stutter.", "Check cables and router; call the carrier."})
	add(check.PathMTU, Text{"Gói tin lớn không đi qua được", "Đăng nhập được nhưng tải tệp, gửi hồ sơ bị treo.", "Báo nhà mạng hoặc đơn vị quản lý mạng TSLCD kiểm tra MTU."},
		Text{"Large packets do not pass", "Log-in works, uploads hang.", "Ask the carrier or the TSLCD operator to check the MTU."})
	add(check.CertExpiring, Text{"Chứng thư số của trang sắp hết hạn", "Khi hết hạn, trình duyệt sẽ chặn trang.", "Báo đơn vị vận hành gia hạn chứng thư số."},
		Text{"The certificate expires soon", "When it does, browsers will block the page.", "Ask the operator to renew it."})
	add(check.SignatureExpiring, Text{"Chữ ký sắp hết hạn", "Khi hết hạn, tên miền hoặc văn bản không kiểm tra được.", "Báo đơn vị quản lý tên miền hoặc người ký."},
		Text{"A signature expires soon", "Then the domain or document can no longer be verified.", "Tell the domain's operator or the signer."})
	add(check.WeakTLS, Text{"Mã hóa yếu, phiên bản cũ", "Kết nối dễ bị nghe lén.", "Báo đơn vị vận hành tắt phiên bản TLS cũ."},
		Text{"Weak, outdated encryption", "The connection may be overheard.", "Ask the operator to switch old TLS versions off."})
	add(check.Partial, Text{"Một phần không trả lời", "Một số chức năng hoặc máy chủ không dùng được.", "Xem chi tiết phần nào hỏng; báo đơn vị vận hành."},
		Text{"Part of it does not answer", "Some functions or servers cannot be used.", "See which part in the details; tell the operator."})
	add(check.Stale, Text{"Dữ liệu cũ, không được cập nhật", "Số liệu, tin bài hoặc bản sao lưu không còn mới.", "Báo người phụ trách cập nhật."},
		Text{"Nothing new for too long", "Figures, news or backups are out of date.", "Tell whoever keeps it up to date."})
	add(check.ClockSkew, Text{"Đồng hồ lệch", "Ký số, đăng nhập và nhật ký có thể sai giờ.", "Bật đồng bộ thời gian trên máy."},
		Text{"A clock is off", "Signing, log-in and logs may go wrong.", "Switch time synchronisation on."})
	add(check.LowResource, Text{"Máy hoặc đường truyền sắp hết tài nguyên", "Máy hoặc mạng chạy chậm, hoặc không lưu được.", "Dọn ổ đĩa, đóng bớt chương trình; đường truyền đầy thì xin nâng dung lượng; báo cán bộ CNTT."},
		Text{"The machine or the line runs short of resources", "It is slow or cannot save.", "Free disk space, close programs; ask for more capacity when the line is full; tell IT staff."})
	add(check.Quota, Text{"Sắp hết dung lượng được cấp", "Sắp không nhận được thư hoặc tệp mới.", "Dọn bớt hoặc xin cấp thêm dung lượng."},
		Text{"A quota is nearly used up", "New mail or files will soon be refused.", "Clean up or ask for more space."})
	add(check.DNSLame, Text{"Máy chủ tên miền không phụ trách tên miền", "Có lúc không mở được trang.", "Báo đơn vị quản lý tên miền."},
		Text{"A name server does not serve the zone", "The site sometimes cannot be opened.", "Tell the domain's operator."})
	add(check.DNSInconsistent, Text{"Các máy chủ tên miền trả lời khác nhau", "Có nơi mở được, có nơi không; có thể bị chuyển hướng trái phép.", "Báo cán bộ CNTT kiểm tra ngay máy chủ DNS."},
		Text{"Name servers disagree", "Some can open it, some cannot; it may be hijacked.", "Have IT staff check the DNS servers now."})
	add(check.STARTTLSMissing, Text{"Máy chủ thư không mã hóa", "Thư và mật khẩu có thể bị đọc trộm.", "Báo đơn vị vận hành thư điện tử công vụ."},
		Text{"The mail server offers no encryption", "Letters and passwords may be read on the way.", "Tell the operator of official e-mail."})
	add(check.MailLate, Text{"Thư đến chậm", "Văn bản, thông báo qua thư đến muộn.", "Báo đơn vị vận hành thư điện tử công vụ."},
		Text{"Mail arrives late", "Notices sent by mail come late.", "Tell the operator of official e-mail."})
	add(check.MailAuth, Text{"Thư không qua được kiểm tra xác thực", "Thư công vụ có thể bị coi là thư rác hoặc bị giả mạo.", "Báo đơn vị quản lý tên miền sửa SPF, DKIM, DMARC."},
		Text{"Mail fails authentication", "Official mail may land in spam or be forged.", "Ask the domain's operator to mend SPF, DKIM, DMARC."})
	add(check.ContentChanged, Text{"Nội dung trang thay đổi bất thường", "Trang có thể đã bị sửa trái phép.", "Mở trang kiểm tra; nếu bị sửa, báo đơn vị chuyên trách."},
		Text{"The page changed unexpectedly", "It may have been defaced.", "Look at the page; if defaced, tell the security unit."})
	add(check.RevocationStale, Text{"Danh sách thu hồi chứng thư số quá hạn", "Phần mềm ký số có thể báo lỗi.", "Báo đơn vị cung cấp chứng thư số."},
		Text{"Revocation data is out of date", "Signing software may refuse.", "Tell the certificate authority."})
	add(check.TrustlistStale, Text{"Danh sách tin cậy quá hạn", "Phần mềm ký số có thể báo lỗi.", "Báo đơn vị cung cấp chứng thư số."},
		Text{"The trust list is out of date", "Signing software may refuse.", "Tell the certificate authority."})
	add(check.TSASkew, Text{"Dấu thời gian lệch giờ", "Chữ ký số có thể mang sai thời điểm.", "Kiểm tra đồng hồ máy; báo đơn vị cấp dấu thời gian."},
		Text{"Time stamps differ from our clock", "Signatures may carry a wrong time.", "Check this machine's clock; tell the time-stamp authority."})
	add(check.ControlPartial, Text{"Biện pháp an toàn đạt một phần", "", "Xem phần chưa đạt và bổ sung."},
		Text{"A security control is met in part", "", "See what is missing and complete it."})
	add(check.EvidenceExpiring, Text{"Minh chứng sắp hết hạn", "", "Chuẩn bị văn bản thay thế."},
		Text{"A piece of evidence expires soon", "", "Prepare the document that follows it."})

	add(check.NoUplink, Text{"Đường truyền của đơn vị bị mất", "Đơn vị không truy cập được dịch vụ bên ngoài; chưa kết luận được dịch vụ hỏng hay không.", "Kiểm tra thiết bị mạng của đơn vị; gọi nhà mạng."},
		Text{"The unit's own line is out", "Nothing outside can be reached; the service itself cannot be judged.", "Check the unit's router; call the carrier."})
	add(check.NoPermission, Text{"Tác tử không đủ quyền để đo", "", "Cấp quyền theo hướng dẫn cài đặt."},
		Text{"The agent lacks the right to look", "", "Grant it as the guide says."})
	add(check.NotSupported, Text{"Máy này không đo được mục này", "", "Đo từ máy khác hoặc xác nhận bằng văn bản."},
		Text{"This machine cannot measure this", "", "Measure from another, or attest by document."})
	add(check.NotConfigured, Text{"Chưa cấu hình", "", "Điền tham số còn thiếu vào hồ sơ của huyện."},
		Text{"Not configured", "", "Fill in the missing parameter in the profile."})
	add(check.Misconfigured, Text{"Cấu hình sai", "", "Sửa tham số theo thông báo chi tiết."},
		Text{"Configured wrongly", "", "Correct the parameter as the detail says."})
	add(check.Internal, Text{"Lỗi của phần mềm giám sát", "", "Gửi thông báo chi tiết cho người phát triển."},
		Text{"A fault of the monitor itself", "", "Send the detail to the developers."})
	add(check.Blocked, Text{"Điểm đo bị chặn", "Người dùng có thể vẫn truy cập được.", "Đề nghị đơn vị vận hành cho phép điểm đo."},
		Text{"The probe is blocked", "Users may still get through.", "Ask the operator to let the probe in."})
	add(check.EgressBlocked, Text{"Nhà mạng chặn cổng này", "", "Không phải sự cố; đo từ máy chủ thay cho máy trạm."},
		Text{"The carrier blocks this port", "", "Not a fault; measure from a server instead."})
	add(check.TokenAbsent, Text{"Chưa cắm thiết bị ký số", "Không ký số được trên máy này.", "Cắm thiết bị lưu khóa bí mật."},
		Text{"No signing token is plugged in", "Nothing can be signed on this machine.", "Plug the token in."})
	add(check.ClockUnset, Text{"Đồng hồ máy chưa đúng", "", "Đặt lại ngày giờ; thay pin CMOS nếu máy hay quên giờ."},
		Text{"The machine's clock was wrong", "", "Set date and time; replace the battery if it keeps forgetting."})
	add(check.DataLost, Text{"Số liệu bị mất: ổ đĩa đầy hoặc hỏng", "", "Dọn ổ đĩa của máy; nếu còn chỗ trống, kiểm tra ổ đĩa."},
		Text{"Measurements were lost: the disk is full or damaged", "", "Free disk space; if there is room, test the disk."})
	add(check.MissedSuspended, Text{"Máy ngủ, không đo", "", "Tắt chế độ ngủ nếu máy là điểm đo thường trực."},
		Text{"Not measured: the machine slept", "", "Switch sleep off if it is a permanent probe."})
	add(check.MissedOverrun, Text{"Không kịp đo", "", "Giảm số phép kiểm tra hoặc tăng chu kỳ."},
		Text{"Not measured: too busy", "", "Plan fewer checks or longer intervals."})
	add(check.MissedClockJump, Text{"Không đo do đồng hồ bị chỉnh", "", "Bật đồng bộ thời gian."},
		Text{"Not measured: the clock jumped", "", "Switch time synchronisation on."})
	add(check.MissedStopped, Text{"Tác tử giám sát dừng", "", "Kiểm tra nguồn điện và dịch vụ giám sát trên máy."},
		Text{"Not measured: the agent was stopped", "", "Check power and the agent's service."})
	add(check.MissedShutdown, Text{"Máy đã tắt", "", "Bình thường ngoài giờ làm việc."},
		Text{"Not measured: the machine was shut down", "", "Normal outside office hours."})
	add(check.EvidenceMissing, Text{"Chưa có minh chứng", "", "Nhập văn bản minh chứng."},
		Text{"No evidence was entered", "", "Enter the document."})
	add(check.EvidenceExpired, Text{"Minh chứng đã hết hạn", "", "Nhập văn bản còn hiệu lực."},
		Text{"The evidence has expired", "", "Enter a document that is in force."})
	add(check.ClockUnproven, Text{"Đồng hồ máy đo chưa được xác nhận", "", "Bật đồng bộ thời gian trên máy đo."},
		Text{"The probe's clock is not confirmed", "", "Switch time synchronisation on at the probe."})
	add(check.NotPlanned, Text{"Không có trong kế hoạch đo", "", "Ghi danh máy đo ở đủ đơn vị sử dụng, hoặc bổ sung phép kiểm tra vào hồ sơ của huyện."},
		Text{"No plan covered it", "", "Enrol a probe in enough of the units that use it, or add a check to the profile."})
	add(check.Silent, Text{"Chưa nhận được số liệu", "", "Kiểm tra máy đo có bật và có mạng không."},
		Text{"Nothing has arrived", "", "See whether the probe is on and has a network."})
	add(check.IdentityCloned, Text{"Hai máy dùng chung một danh tính", "", "Ghi danh lại một trong hai máy."},
		Text{"Two machines use one identity", "", "Enrol one of them anew."})

	site := "Người dân và cán bộ không mở được trang."
	siteEN := "Citizens and officers cannot open it."
	add(check.DNSNXDomain, Text{"Tên miền không tồn tại", site, "Kiểm tra tên miền có gõ đúng, còn hạn; báo đơn vị quản lý tên miền."},
		Text{"The name does not exist", siteEN, "Check spelling and registration; tell the domain's operator."})
	add(check.DNSServfail, Text{"Máy chủ tên miền báo lỗi", site, "Thử máy chủ DNS khác; báo đơn vị quản lý tên miền."},
		Text{"The name server fails", siteEN, "Try another resolver; tell the domain's operator."})
	add(check.DNSRefused, Text{"Máy chủ tên miền từ chối", site, "Kiểm tra máy đang dùng đúng máy chủ DNS."},
		Text{"The name server refuses", siteEN, "Check which resolver this machine uses."})
	add(check.DNSTimeout, Text{"Máy chủ tên miền không trả lời", "Hầu hết trang web đều không mở được.", "Kiểm tra đường truyền và máy chủ DNS."},
		Text{"No name server answers", "Most sites cannot be opened.", "Check the line and the resolver."})
	add(check.DNSEmpty, Text{"Tên miền chưa có địa chỉ", site, "Báo đơn vị quản lý tên miền bổ sung bản ghi."},
		Text{"The name has no such record", siteEN, "Ask the domain's operator to add it."})
	add(check.DNSMismatch, Text{"Tên miền trỏ sai địa chỉ", "Người dùng có thể bị đưa tới trang khác.", "Báo ngay đơn vị quản lý tên miền và đơn vị chuyên trách."},
		Text{"The name leads elsewhere", "People may be led to another site.", "Tell the domain's operator and the security unit now."})
	add(check.DNSBogus, Text{"Chữ ký DNSSEC không hợp lệ", site, "Báo đơn vị quản lý tên miền."},
		Text{"DNSSEC validation fails", siteEN, "Tell the domain's operator."})
	add(check.ConnectRefused, Text{"Máy chủ từ chối kết nối", "Dịch vụ không chạy, không ai dùng được.", "Báo đơn vị vận hành khởi động lại dịch vụ."},
		Text{"The server refuses connections", "The service is not running.", "Ask the operator to start it."})
	add(check.ConnectTimeout, Text{"Không kết nối được", site, "Kiểm tra đường truyền; nếu nơi khác cũng vậy, báo đơn vị vận hành."},
		Text{"No connection", siteEN, "Check the line; if others cannot either, tell the operator."})
	add(check.ConnectUnreachable, Text{"Không có đường tới máy chủ", site, "Kiểm tra thiết bị mạng và cấu hình định tuyến."},
		Text{"There is no way to the server", siteEN, "Check router and routes."})
	add(check.ConnectReset, Text{"Kết nối bị ngắt giữa chừng", "Thao tác bị mất, phải làm lại.", "Báo đơn vị vận hành; kiểm tra tường lửa."},
		Text{"The connection is cut off", "Work is lost and must be redone.", "Tell the operator; check the firewall."})
	add(check.TLSHandshake, Text{"Không thiết lập được kết nối mã hóa", site, "Báo đơn vị vận hành."},
		Text{"No encrypted connection", siteEN, "Tell the operator."})
	add(check.TLSExpired, Text{"Chứng thư số của trang đã hết hạn", "Trình duyệt chặn trang.", "Báo đơn vị vận hành gia hạn ngay."},
		Text{"The certificate has expired", "Browsers block the page.", "Have the operator renew it now."})
	add(check.TLSNotYetValid, Text{"Chứng thư số của trang chưa có hiệu lực", "Trình duyệt chặn trang.", "Kiểm tra đồng hồ máy; báo đơn vị vận hành."},
		Text{"The certificate is not yet valid", "Browsers block the page.", "Check this machine's clock; tell the operator."})
	add(check.TLSName, Text{"Chứng thư số không đúng tên miền", "Trình duyệt cảnh báo hoặc chặn trang.", "Báo đơn vị vận hành cài đúng chứng thư số."},
		Text{"The certificate is for another name", "Browsers warn or block.", "Ask the operator to install the right one."})
	add(check.TLSUntrusted, Text{"Chứng thư số không được tin cậy", "Trình duyệt cảnh báo hoặc chặn trang.", "Báo đơn vị vận hành cài đủ chuỗi chứng thư số."},
		Text{"The certificate is not trusted", "Browsers warn or block.", "Ask the operator to install the whole chain."})
	add(check.TLSRevoked, Text{"Chứng thư số của trang đã bị thu hồi", "Trình duyệt chặn trang.", "Báo ngay đơn vị vận hành."},
		Text{"The certificate was revoked", "Browsers block the page.", "Tell the operator now."})
	add(check.TLSProtocol, Text{"Chỉ hỗ trợ TLS cũ đã bị cấm", "Trình duyệt mới không mở được trang.", "Báo đơn vị vận hành nâng cấp."},
		Text{"Only forbidden, old TLS versions", "Current browsers cannot open it.", "Ask the operator to upgrade."})
	add(check.Timeout, Text{"Không trả lời trong thời gian cho phép", "Trang quay mãi không tải xong.", "Nếu nơi khác cũng vậy, báo đơn vị vận hành."},
		Text{"No answer in time", "The page never finishes loading.", "If others see it too, tell the operator."})
	add(check.Protocol, Text{"Trả lời sai giao thức", "Phần mềm báo lỗi khi kết nối.", "Báo đơn vị vận hành."},
		Text{"The answer breaks its protocol", "Programs report errors.", "Tell the operator."})
	add(check.HTTPStatus, Text{"Trang báo lỗi", "Người dân và cán bộ thấy trang lỗi.", "Báo đơn vị vận hành, kèm mã lỗi."},
		Text{"The page answers with an error", "People see an error page.", "Tell the operator, with the code."})
	add(check.HTTPRedirect, Text{"Trang chuyển hướng sai", "Không vào được trang cần dùng.", "Báo đơn vị vận hành."},
		Text{"The page redirects wrongly", "The wanted page cannot be reached.", "Tell the operator."})
	add(check.Auth, Text{"Tài khoản giám sát không đăng nhập được", "", "Kiểm tra mật khẩu của tài khoản giám sát."},
		Text{"The monitoring account cannot log in", "", "Check its password."})
	add(check.TooLarge, Text{"Trả lời quá lớn", "", "Kiểm tra trang có trả đúng nội dung không."},
		Text{"The answer is too large", "", "See whether the page returns what it should."})
	add(check.Truncated, Text{"Trả lời bị cắt cụt", "Trang hiện thiếu.", "Báo đơn vị vận hành."},
		Text{"The answer stops short", "The page is incomplete.", "Tell the operator."})
	add(check.CaptivePortal, Text{"Bị chuyển sang trang chặn hoặc trang đăng nhập mạng", "Máy trong đơn vị không vào được Internet thật.", "Đăng nhập lại mạng hoặc gọi nhà mạng."},
		Text{"A block or log-in page answers instead", "The unit has no real Internet.", "Log in to the network again or call the carrier."})
	add(check.ContentMissing, Text{"Trang thiếu nội dung phải có", "Trang mở được nhưng không dùng được.", "Mở trang kiểm tra; báo đơn vị vận hành."},
		Text{"What must be on the page is not", "It opens but cannot be used.", "Look at the page; tell the operator."})
	add(check.ContentForbidden, Text{"Trang có nội dung không được có", "Trang đang bảo trì, bị chặn hoặc bị sửa trái phép.", "Mở trang kiểm tra; báo đơn vị vận hành."},
		Text{"What must not be on the page is", "It is in maintenance, blocked or defaced.", "Look at the page; tell the operator."})
	add(check.MailRejected, Text{"Máy chủ thư từ chối", "Không gửi hoặc không đọc được thư điện tử công vụ.", "Báo đơn vị vận hành thư điện tử công vụ, kèm câu trả lời của máy chủ trong chi tiết."},
		Text{"The mail server refuses", "Official mail cannot be sent or read.", "Tell the operator of official e-mail, with the server's answer in the detail."})
	add(check.MailLost, Text{"Thư gửi đi không tới nơi", "Văn bản gửi qua thư bị mất.", "Báo đơn vị vận hành thư điện tử công vụ; gửi bằng kênh khác."},
		Text{"Mail does not arrive", "What is sent by mail is lost.", "Tell the operator of official e-mail; use another channel."})
	add(check.MailAltered, Text{"Thư tới nơi nhưng bị thay đổi", "Tệp đính kèm có thể bị hỏng hoặc bị sửa.", "Báo đơn vị vận hành thư điện tử công vụ."},
		Text{"Mail arrives changed", "Attachments may be damaged or altered.", "Tell the operator of official e-mail."})
	add(check.Revoked, Text{"Chứng thư số đã bị thu hồi", "Không ký số được bằng chứng thư này.", "Xin cấp lại chứng thư số."},
		Text{"The certificate was revoked", "It can no longer sign.", "Apply for a new one."})
	add(check.RevocationInvalid, Text{"Thông tin thu hồi chứng thư số không hợp lệ", "Phần mềm ký số có thể báo lỗi.", "Báo đơn vị cung cấp chứng thư số."},
		Text{"Revocation data does not verify", "Signing software may refuse.", "Tell the certificate authority."})
	add(check.TSAInvalid, Text{"Dấu thời gian không hợp lệ", "Văn bản ký không có dấu thời gian tin cậy.", "Báo đơn vị cấp dấu thời gian."},
		Text{"The time stamp does not verify", "Signed documents lack a trusted time.", "Tell the time-stamp authority."})
	add(check.SignatureInvalid, Text{"Chữ ký số không hợp lệ", "Văn bản ký ra không được chấp nhận.", "Báo cán bộ CNTT kiểm tra dịch vụ ký số."},
		Text{"The signature does not verify", "Signed documents are not accepted.", "Have IT staff check the signing service."})
	add(check.PINRefused, Text{"Thiết bị ký số từ chối mã PIN", "Thử sai nhiều lần sẽ khóa thiết bị.", "Không thử lại; kiểm tra mã PIN của thiết bị giám sát."},
		Text{"The token refused the PIN", "More wrong tries lock the token.", "Do not try again; check the PIN of the monitoring token."})
	add(check.ControlFail, Text{"Biện pháp an toàn không đạt", "", "Khắc phục theo hướng dẫn của biện pháp."},
		Text{"A security control is not met", "", "Mend it as the control's guide says."})
	return m
})
