package verdict

import (
	"fmt"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// An Entry says what to do about one sort of thing that is broken in one way: a page of the runbook.
type Entry struct {
	Title  string // what is broken, and how it shows
	Impact string // what citizens or officers cannot do meanwhile
	First  string // the first step of whoever is on duty
	Then   string // what the reason asks for besides; "" for nothing
	Call   string // whom to call
}

// A part is what the runbook says of a kind of component, whatever the reason.
type part struct{ what, impact, first, call string }

// Runbook returns the page for a kind of component and a reason. What the catalogue of reasons says of impact and of the next
// step is used; where it says nothing of the impact, the kind's own text stands in.
func Runbook(l words.Lang, k Kind, r check.Reason) Entry {
	p := parts(l)[k]
	t := words.Reason(l, r)
	e := Entry{Title: p.what + ": " + t.Title, Impact: t.Impact, First: p.first, Then: t.Action, Call: p.call}
	if e.Impact == "" || k == OfFleet {
		e.Impact = p.impact
	}
	return e
}

// PartName is what the runbook calls a kind of component.
func PartName(l words.Lang, k Kind) string { return parts(l)[k].what }

// Reasons lists the reasons by which a kind of component can be broken: those of its layers, in the order of the closed list,
// and silence where that is all that is known.
func (k Kind) Reasons() (out []check.Reason) {
	t := traits()[k]
	for _, r := range check.Reasons() {
		switch {
		case k == OfFleet, k == OfLine && r == check.Silent:
			if r == check.Silent {
				out = append(out, r)
			}
		case r != check.NoUplink && r.State() != check.Down:
		case t.weight[layerOf(r)] > 0:
			out = append(out, r)
		}
	}
	return out
}

// parts is the catalogue of the runbook by kind of component.
func parts(l words.Lang) map[Kind]part {
	if l == words.EN {
		return map[Kind]part{
			OfService:     {"A system as a whole", "Nobody in the district can use the system.", "Open the system from another line (a telephone's) to be sure.", "The operator named in the incident; then the office that owns the system tells the communes."},
			OfLine:        {"A unit's line", "The unit reaches nothing that lies outside by this line.", "Ask the unit to look at power and lamps of the modem, and to restart it once.", "The unit's contact, then the carrier's hotline with the contract number."},
			OfFleet:       {"Most machines at once", "It is not known how the systems are; nothing may be wrong with them.", "Look at the collector's own line, its disk and its service before anything else.", "The district's IT staff; do not call the communes."},
			OfMachine:     {"A measuring machine", "The machine's own work suffers; what it measures is doubtful.", "Look at the machine's clock, its certificates and its token.", "The unit's IT contact."},
			OfLAN:         {"A unit's own network", "Nobody in the unit gets out, whatever the line does.", "Ask the unit whether the gateway and the switch have power, and whether other machines have the same.", "The unit's IT contact; then whoever set the network up."},
			OfAccess:      {"What stands between a unit and the web", "The unit's browsers cannot open some or all pages.", "Open a page by hand on a machine of the unit: a log-in page, a warning or a page that hangs tells what it is.", "The unit's IT contact for a firewall, a proxy or Wi-Fi; the carrier when large packets vanish."},
			OfSite:        {"A system as one unit has it", "This unit alone cannot use it.", "Open the unit's own address from another unit.", "The unit that owns the address, then who hosts it."},
			OfCarrier:     {"A carrier", "All units of this carrier are without their line.", "Compare with units of other carriers on the board; ask by telephone, not by e-mail.", "The carrier's hotline, once for all units; tell the communes that it is known."},
			OfResolver:    {"A resolver", "Pages do not open by name although lines and systems work.", "Ask another resolver for the same name.", "Who runs the resolver; a unit may set another one meanwhile."},
			OfZone:        {"A domain", "Everything below this name is out of reach, e-mail with it.", "Look at the domain's own name servers, its signatures and its date of expiry.", "Who manages the domain (registrar, provincial centre)."},
			OfCertificate: {"A server's certificate", "Browsers refuse the page; nobody should click the warning away.", "Look at the certificate's dates, names and chain in a browser.", "Who runs the server, to renew or complete the certificate."},
			OfAuthority:   {"An issuer of certificates", "Systems with its certificates are refused, signatures cannot be verified.", "Compare systems with certificates of this issuer with others on the board.", "The issuer's support; then the operators of the systems that it hurts."},
			OfPlatform:    {"A host of several systems", "All systems on this host are down together.", "See in the incident which systems share it; look whether the host itself answers.", "Who runs the host, once for all of its systems."},
			OfBackend:     {"A server behind several names", "All sites behind this address are down together.", "See in the incident which systems share it; look whether the address itself answers.", "Who hosts the sites, once for all of them."},
			OfNetwork:     {"A network on the way", "Several systems are out of reach though they work.", "Run `agent doctor` on a machine of two units and compare where the way ends.", "The carrier, with both ways."},
		}
	}
	return map[Kind]part{
		OfService:     {"Cả một hệ thống", "Không ai trong huyện dùng được hệ thống.", "Mở thử hệ thống bằng đường truyền khác (mạng điện thoại) cho chắc chắn.", "Đơn vị vận hành nêu trong sự cố; sau đó phòng chủ quản báo các xã."},
		OfLine:        {"Đường truyền của một đơn vị", "Đơn vị không ra ngoài được bằng đường này.", "Hỏi đơn vị nguồn điện và đèn của modem, khởi động lại modem một lần.", "Đầu mối của đơn vị, rồi tổng đài nhà mạng, kèm số hợp đồng."},
		OfFleet:       {"Phần lớn máy cùng lúc", "Không biết các hệ thống ra sao; có thể không hệ thống nào hỏng.", "Xem đường truyền, ổ đĩa và dịch vụ của chính máy chủ thu thập trước tiên.", "Cán bộ CNTT của huyện; chưa gọi các xã."},
		OfMachine:     {"Máy đo", "Việc trên máy này bị ảnh hưởng; số liệu của nó đáng ngờ.", "Xem đồng hồ, chứng thư gốc và thiết bị ký số của máy.", "Cán bộ CNTT của đơn vị."},
		OfLAN:         {"Mạng nội bộ của một đơn vị", "Cả đơn vị không ra ngoài được, dù đường truyền vẫn tốt.", "Hỏi đơn vị thiết bị mạng có điện không, máy khác có bị không.", "Cán bộ CNTT của đơn vị; rồi bên lắp đặt mạng."},
		OfAccess:      {"Chặng giữa đơn vị và web", "Trình duyệt của đơn vị không mở được một số hoặc mọi trang.", "Mở thử một trang trên máy của đơn vị: trang đăng nhập, trang cảnh báo hay trang treo cho biết nguyên nhân.", "Cán bộ CNTT của đơn vị nếu là tường lửa, proxy, Wi-Fi; nhà mạng nếu mất gói tin lớn."},
		OfSite:        {"Hệ thống ở riêng một đơn vị", "Riêng đơn vị này không dùng được.", "Mở thử địa chỉ riêng của đơn vị từ một đơn vị khác.", "Đơn vị chủ quản địa chỉ, rồi nơi đặt máy chủ."},
		OfCarrier:     {"Nhà mạng", "Mọi đơn vị dùng nhà mạng này mất đường truyền.", "So với các đơn vị dùng nhà mạng khác trên bảng; hỏi bằng điện thoại, không bằng thư.", "Tổng đài nhà mạng, một lần cho mọi đơn vị; báo các xã là đã biết."},
		OfResolver:    {"Máy phân giải tên miền", "Không mở được trang theo tên, dù đường truyền và hệ thống vẫn chạy.", "Hỏi cùng tên miền ở một máy phân giải khác.", "Bên vận hành máy phân giải; trong lúc chờ, đơn vị có thể đặt máy khác."},
		OfZone:        {"Tên miền", "Mọi thứ dưới tên miền này không truy cập được, kể cả thư.", "Xem máy chủ tên miền, chữ ký DNSSEC và ngày hết hạn của tên miền.", "Đơn vị quản lý tên miền (nhà đăng ký, trung tâm của tỉnh)."},
		OfCertificate: {"Chứng thư số của máy chủ", "Trình duyệt chặn trang; không ai nên bấm bỏ qua cảnh báo.", "Xem thời hạn, tên và chuỗi của chứng thư trong trình duyệt.", "Đơn vị vận hành máy chủ, để gia hạn hoặc bổ sung chứng thư."},
		OfAuthority:   {"Đơn vị cấp chứng thư", "Các hệ thống dùng chứng thư của nơi này bị chặn, chữ ký không kiểm tra được.", "So các hệ thống dùng chứng thư của nơi này với hệ thống khác trên bảng.", "Bộ phận hỗ trợ của nơi cấp; rồi đơn vị vận hành các hệ thống bị ảnh hưởng."},
		OfPlatform:    {"Máy chủ của nhiều hệ thống", "Mọi hệ thống trên máy chủ này cùng gián đoạn.", "Xem trong sự cố những hệ thống nào dùng chung; thử xem chính máy chủ có trả lời không.", "Đơn vị vận hành máy chủ, một lần cho mọi hệ thống."},
		OfBackend:     {"Máy chủ đứng sau nhiều tên", "Mọi trang sau địa chỉ này cùng gián đoạn.", "Xem trong sự cố những hệ thống nào dùng chung; thử xem chính địa chỉ có trả lời không.", "Nơi đặt máy chủ của các trang, một lần cho tất cả."},
		OfNetwork:     {"Mạng trung gian", "Nhiều hệ thống không tới được dù vẫn chạy.", "Chạy `agent doctor` trên máy của hai đơn vị, so xem đường đi dừng ở đâu.", "Nhà mạng, kèm hai kết quả."},
	}
}

// WriteRunbook writes the catalogue as a page of Markdown: a chapter for each kind of component, under its name as an anchor,
// with a table of the reasons by which it can be broken.
func WriteRunbook(l words.Lang) string {
	say := func(key string) string { return words.Say(l, "runbook."+key) }
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Code generated by go test ./deploy/prometheus -update; DO NOT EDIT. -->\n\n# %s\n\n%s\n", say("title"), say("about"))
	cell := strings.NewReplacer("|", "/", "\n", " ")
	for _, k := range Kinds() {
		p := parts(l)[k]
		fmt.Fprintf(&b, "\n## %s\n\n**%s.** %s\n\n- %s: %s\n- %s: %s\n\n", k, p.what, p.impact, say("first"), p.first, say("call"), p.call)
		fmt.Fprintf(&b, "| %s | %s | %s |\n|---|---|---|\n", say("reason"), say("impact"), say("then"))
		for _, r := range k.Reasons() {
			e := Runbook(l, k, r)
			fmt.Fprintf(&b, "| %s (`%s`) | %s | %s |\n", cell.Replace(words.Reason(l, r).Title), r, cell.Replace(e.Impact), cell.Replace(e.Then))
		}
	}
	return b.String()
}
