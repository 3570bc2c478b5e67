package fault

import (
	"fmt"
	"slices"
	"strings"
)

// A Text is what people read, Vietnamese first.
type Text struct{ VI, EN string }

// A Cause is the sort of thing that is really broken: the classes of the confusion matrix.
type Cause string

// The causes.
const (
	Portal      Cause = "portal"      // one web site
	Backend     Cause = "backend"     // what many sites share
	Certificate Cause = "certificate" // what a web site shows of itself
	Line        Cause = "line"        // one unit's own line
	Carrier     Cause = "carrier"     // many units' lines at once
	Dedicated   Cause = "dedicated"   // the dedicated network (TSLCD)
	LAN         Cause = "lan"         // one unit's own network
	Names       Cause = "names"       // a resolver or a zone
	Mail        Cause = "mail"
	Signature   Cause = "signature" // revocation and time stamps
	PC          Cause = "pc"        // the measuring machine itself
	Centre      Cause = "centre"    // the collector
)

// Scope says where a fault strikes.
type Scope int

// The scopes.
const (
	Everywhere Scope = iota // one thing that all share
	OneUnit                 // one commune, which can be chosen
)

// A Fault is one thing that can be broken. The catalogue's entries are never edited.
type Fault struct {
	Name  string // what people type
	Title Text
	Cause Cause
	Scope Scope
	// Owner is the operator in the lab's profile who can mend it.
	Owner string
	// Component is what an incident should name: a service's id; "line" for the unit's line; "fleet" for most units at
	// once; "" when there is nothing to tell anybody, since nobody's service is down.
	Component string
	// Hurts lists the services that are down, or cannot be measured, while it lasts; "*" is all that the unit uses.
	Hurts []string
	// Down: some service is really down for its users, in a unit or as a whole.
	Down bool
}

// Components other than services.
const (
	TheLine  = "line"
	TheFleet = "fleet"
)

// All lists the catalogue, in the order in which people are shown it.
func All() []Fault {
	web := func(name, service, vi, en string, cause Cause, owner string) Fault {
		return Fault{Name: name, Title: Text{vi, en}, Cause: cause, Owner: owner, Component: service, Hurts: []string{service}, Down: true}
	}
	names := []string{"dns_local", "cong_h", "cong_x", "dvc_t", "dvc_q", "thanhtoan", "tthc"}
	whole := append(slices.Clone(names), "mail", "thu_tinh") // letters go by name, too
	fs := []Fault{
		web("portal-stopped", "cong_h", "Cổng TTĐT huyện: tiến trình dừng", "district portal: process stopped", Portal, "nha_cung_cap"),
		web("portal-maintenance", "cong_h", "Cổng TTĐT huyện: hiện \"đang bảo trì\", mã 200", "district portal: \"under maintenance\" with status 200", Portal, "nha_cung_cap"),
		web("portal-defaced", "cong_h", "Cổng TTĐT huyện: bị thay nội dung", "district portal: defaced", Portal, "nha_cung_cap"),
		web("portal-cert-expired", "cong_h", "Cổng TTĐT huyện: chứng thư hết hạn", "district portal: certificate expired", Certificate, "nha_cung_cap"),
		web("portal-cert-name", "cong_h", "Cổng TTĐT huyện: chứng thư của tên khác", "district portal: certificate of another name", Certificate, "nha_cung_cap"),
		web("portal-cert-chain", "cong_h", "Cổng TTĐT huyện: thiếu chứng thư trung gian", "district portal: chain without the intermediate", Certificate, "nha_cung_cap"),
		web("backend-down", "cong_x", "Máy chủ chung của các trang TTĐT xã dừng", "the communes' shared web backend is down", Backend, "tinh"),
		web("national-portal-down", "dvc_q", "Cổng Dịch vụ công quốc gia: tiến trình dừng", "national service portal: process stopped", Portal, "vpcp"),
		web("lookup-fails", "tthc", "Một cửa: đăng nhập được, tra cứu hồ sơ lỗi", "one-stop shop: log-in works, look-up fails", Portal, "tinh"),
		{Name: "line-cut", Title: Text{"Đứt đường Internet của một xã", "a commune's Internet line is cut"}, Cause: Line, Scope: OneUnit, Owner: "nha_mang", Component: TheLine, Hurts: []string{"inet"}, Down: true},
		{Name: "tslcd-line-cut", Title: Text{"Đứt đường TSLCD của một xã", "a commune's line of the dedicated network is cut"}, Cause: Line, Scope: OneUnit, Owner: "cuc_bdtw", Component: TheLine, Hurts: []string{"tslcd"}, Down: true},
		{Name: "both-lines-cut", Title: Text{"Đứt cả hai đường của một xã", "both lines of a commune are cut"}, Cause: Line, Scope: OneUnit, Owner: "nha_mang", Component: TheLine, Hurts: []string{"*"}, Down: true},
		{Name: "lan-down", Title: Text{"Thiết bị mạng LAN của xã tắt", "a commune's gateway is switched off"}, Cause: LAN, Scope: OneUnit, Owner: "don_vi", Component: TheLine, Hurts: []string{"*"}, Down: true},
		{Name: "carrier-down", Title: Text{"Nhà mạng A ngừng: các xã dùng nhà mạng A mất Internet", "carrier A is down"}, Cause: Carrier, Owner: "nha_mang", Component: "inet", Hurts: []string{"inet"}, Down: true},
		{Name: "tslcd-down", Title: Text{"Mạng TSLCD ngừng, Internet vẫn chạy", "the dedicated network is down, the Internet works"}, Cause: Dedicated, Owner: "cuc_bdtw", Component: "tslcd", Hurts: []string{"tslcd"}, Down: true},
		{Name: "line-loss", Title: Text{"Đường Internet của xã mất gói 20 %", "a commune's Internet line loses 20 %"}, Cause: Line, Scope: OneUnit, Owner: "nha_mang", Hurts: []string{"inet_cl"}},
		{Name: "line-delay", Title: Text{"Đường Internet của xã trễ 800 ms", "a commune's Internet line is 800 ms late"}, Cause: Line, Scope: OneUnit, Owner: "nha_mang", Hurts: []string{"inet", "inet_cl"}},
		{Name: "mtu-black-hole", Title: Text{"Gói lớn biến mất trên đường Internet của xã (MTU)", "large packets vanish on a commune's Internet line (MTU black hole)"}, Cause: Line, Scope: OneUnit, Owner: "nha_mang", Component: TheLine, Hurts: []string{"cong_h", "cong_x", "dvc_t", "dvc_q", "thanhtoan", "tthc"}, Down: true},
		{Name: "captive-portal", Title: Text{"Trang đăng nhập Wi-Fi chặn web của xã (captive portal)", "a captive portal stands before a commune's web"}, Cause: LAN, Scope: OneUnit, Owner: "don_vi", Component: TheLine, Hurts: []string{"cong_h", "cong_x", "dvc_t", "dvc_q", "thanhtoan", "tthc"}, Down: true},
		{Name: "resolver-dead", Title: Text{"Máy phân giải tên miền ngừng", "the resolver is dead"}, Cause: Names, Owner: "tinh", Component: "dns_local", Hurts: whole, Down: true},
		{Name: "resolver-lies", Title: Text{"Máy phân giải tên miền trả lời sai", "the resolver lies"}, Cause: Names, Owner: "tinh", Component: "dns_local", Hurts: names, Down: true},
		{Name: "zone-servfail", Title: Text{"Vùng tên miền của huyện trả SERVFAIL", "the district's zone is SERVFAIL"}, Cause: Names, Owner: "tinh", Component: "dns_local", Hurts: []string{"dns_local", "cong_h", "cong_x", "mail"}, Down: true},
		{Name: "zone-lame", Title: Text{"Máy chủ tên miền không nhận vùng của huyện", "the name server does not speak for the district's zone (lame)"}, Cause: Names, Owner: "tinh", Component: "dns_local", Hurts: []string{"dns_local", "cong_h", "cong_x", "mail"}, Down: true},
		{Name: "dnssec-bogus", Title: Text{"Chữ ký DNSSEC của vùng huyện sai", "the district's zone is DNSSEC bogus"}, Cause: Names, Owner: "tinh", Component: "dns_local", Hurts: []string{"dns_local", "cong_h", "cong_x", "mail"}, Down: true},
		{Name: "mail-queue-stuck", Title: Text{"Thư kẹt trong hàng đợi", "mail stays in the queue"}, Cause: Mail, Owner: "tinh", Component: "mail", Hurts: []string{"mail"}, Down: true},
		{Name: "imap-refuses", Title: Text{"Máy chủ IMAP từ chối", "IMAP refuses"}, Cause: Mail, Owner: "tinh", Component: "mail", Hurts: []string{"mail"}, Down: true},
		// Letters still go; that they go unencrypted is starttls_missing, which degrades and takes nothing down.
		{Name: "starttls-stripped", Title: Text{"STARTTLS bị gỡ", "STARTTLS is stripped"}, Cause: Mail, Owner: "tinh", Hurts: []string{"mail"}},
		{Name: "spf-broken", Title: Text{"Bản ghi SPF hỏng", "the SPF record is broken"}, Cause: Mail, Owner: "tinh", Hurts: []string{"mail"}},
		{Name: "crl-stale", Title: Text{"Danh sách thu hồi (CRL) quá hạn", "the CRL is stale"}, Cause: Signature, Owner: "bcy", Hurts: []string{"kyso_usb"}},
		{Name: "ocsp-revoked", Title: Text{"OCSP trả lời: đã thu hồi", "OCSP says revoked"}, Cause: Signature, Owner: "bcy", Component: "kyso_usb", Hurts: []string{"kyso_usb"}, Down: true},
		{Name: "tsa-clock", Title: Text{"Đồng hồ của dịch vụ dấu thời gian sai", "the time-stamping service's clock is wrong"}, Cause: Signature, Owner: "bcy", Hurts: []string{"kyso_usb", "ky_thu"}},
		{Name: "tsa-dead", Title: Text{"Dịch vụ dấu thời gian ngừng", "the time-stamping service is dead"}, Cause: Signature, Owner: "bcy", Component: "kyso_usb", Hurts: []string{"kyso_usb", "ky_thu"}, Down: true},
		{Name: "token-gone", Title: Text{"Token ký số của xã bị rút ra", "a commune's signing token is unplugged"}, Cause: Signature, Scope: OneUnit, Owner: "don_vi", Hurts: []string{"ky_thu"}}, // whose own it is to plug it in: unknown
		{Name: "token-pin-wrong", Title: Text{"Mã PIN của token ký số của xã sai", "the PIN of a commune's signing token is wrong"}, Cause: Signature, Scope: OneUnit, Owner: "don_vi", Component: "ky_thu", Hurts: []string{"ky_thu"}, Down: true},
		{Name: "sign-cert-expired", Title: Text{"Chứng thư ký số của xã hết hạn", "a commune's signing certificate has expired"}, Cause: Signature, Scope: OneUnit, Owner: "don_vi", Component: "ky_thu", Hurts: []string{"ky_thu"}, Down: true},
		{Name: "sign-cert-revoked", Title: Text{"Chứng thư ký số của xã bị thu hồi", "a commune's signing certificate is revoked"}, Cause: Signature, Scope: OneUnit, Owner: "don_vi", Component: "ky_thu", Hurts: []string{"ky_thu"}, Down: true},
		{Name: "mpki-down", Title: Text{"Dịch vụ ký số trên di động ngừng", "the service of signatures by mobile phone is down"}, Cause: Signature, Owner: "bcy", Component: "kyso_dd", Hurts: []string{"kyso_dd"}, Down: true},
		{Name: "mpki-maintenance", Title: Text{"Dịch vụ ký số trên di động báo đang bảo trì", "the service of signatures by mobile phone says that it is under maintenance"}, Cause: Signature, Owner: "bcy", Component: "kyso_dd", Hurts: []string{"kyso_dd"}, Down: true},
		{Name: "mpki-refused", Title: Text{"Dịch vụ ký số trên di động từ chối chứng thư TLS của một xã", "the service of signatures by mobile phone refuses a commune's TLS certificate"}, Cause: Signature, Scope: OneUnit, Owner: "bcy", Component: "kyso_dd", Hurts: []string{"kyso_dd"}, Down: true},
		{Name: "mpki-slow", Title: Text{"Dịch vụ ký số trên di động chậm", "the service of signatures by mobile phone is slow"}, Cause: Signature, Owner: "bcy", Hurts: []string{"kyso_dd"}},
		{Name: "printer-off", Title: Text{"Máy in mạng của xã tắt", "a commune's network printer is off"}, Cause: LAN, Scope: OneUnit, Owner: "don_vi", Component: "may_in", Hurts: []string{"may_in"}, Down: true},
		{Name: "pc-clock", Title: Text{"Đồng hồ một máy lệch 5 phút", "one PC's clock is 5 min off"}, Cause: PC, Scope: OneUnit, Owner: "don_vi", Hurts: []string{"*"}},
		{Name: "pc-off", Title: Text{"Máy của xã được tắt đúng cách", "a commune's PC is switched off cleanly"}, Cause: PC, Scope: OneUnit, Owner: "don_vi", Hurts: []string{"*"}},
		{Name: "power-cut", Title: Text{"Mất điện ở xã", "power cut at a commune"}, Cause: PC, Scope: OneUnit, Owner: "don_vi", Component: TheLine, Hurts: []string{"*"}},
		{Name: "disk-full", Title: Text{"Đầy ổ đĩa trên máy của xã", "a commune's PC has a full disk"}, Cause: PC, Scope: OneUnit, Owner: "don_vi", Hurts: []string{"pc"}},
		{Name: "collector-away", Title: Text{"Máy chủ thu thập dừng", "the collector is away"}, Cause: Centre, Owner: "huyen", Component: "thu_thap"},
	}
	return fs
}

// Find returns the fault of a name. The error names the nearest one.
func Find(name string) (Fault, error) {
	all := All()
	if i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name }); i >= 0 {
		return all[i], nil
	}
	near := slices.MinFunc(all, func(a, b Fault) int { return distance(name, a.Name) - distance(name, b.Name) })
	return Fault{}, fmt.Errorf("there is no fault %.60q: did you mean %s? `lab faults` lists them all", name, near.Name)
}

// distance is how many letters must be put in, left out or changed to make one word of the other.
func distance(a, b string) int {
	if len(a) > 60 {
		a = a[:60]
	}
	a = strings.ToLower(a)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			corner, row[j+1] = row[j+1], min(corner+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
