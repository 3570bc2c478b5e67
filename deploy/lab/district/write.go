package district

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// record is what every entry of the profile carries.
const record = `valid_from: 2023-01-01, valid_to: , source: "this lab", verified: true`

type writer struct {
	communes []Commune
	carriers map[string]string // by unit
	e        Endpoints
	every    time.Duration
}

func (w *writer) units() string {
	var b strings.Builder
	fmt.Fprintf(&b, "district: %s\n\nunits:\n", Home)
	fmt.Fprintf(&b, "  - {id: %s, kind: huyen, names: [{vi: \"Huyện Tứ Kỳ (phòng thử)\", en: Tứ Kỳ District (lab)}], %s}\n", Home, record)
	for _, c := range w.communes {
		fmt.Fprintf(&b, "  - {id: %s, kind: xa, names: [{vi: %q, en: %q}], parents: [{unit: %s}], %s}\n", c.ID, c.VI, c.EN, Home, record)
	}
	return b.String()
}

func (w *writer) machines() string {
	var b strings.Builder
	fmt.Fprintf(&b, "machines:\n  - {id: %s, unit: %s, role: collector, %s}\n", Collector, Home, record)
	fmt.Fprintf(&b, "  - {id: %s, unit: %s, role: probe, %s}\n", HomeProbe, Home, record)
	for _, c := range w.communes {
		fmt.Fprintf(&b, "  - {id: %s, unit: %s, role: probe, %s}\n", c.Machine, c.ID, record)
	}
	return b.String()
}

func (w *writer) lines() string {
	var b strings.Builder
	b.WriteString("lines:\n")
	line := func(unit, path, carrier string, anchors []string) {
		if len(anchors) > 0 {
			fmt.Fprintf(&b, "  - {id: %s-%s, unit: %s, path: %s, carrier: %q, seal: 8s, anchors: [%s], %s}\n", unit, path, unit, path, carrier, quoted(anchors), record)
		}
	}
	for _, u := range w.unitIDs() {
		line(u, "internet", w.carriers[u], w.e.Internet)
		line(u, "tslcd", "Cục Bưu điện Trung ương", w.e.TSLCD)
	}
	if len(w.e.Internet)+len(w.e.TSLCD) == 0 {
		return "lines: []\n"
	}
	return b.String()
}

func (w *writer) unitIDs() []string {
	ids := []string{Home}
	for _, c := range w.communes {
		ids = append(ids, c.ID)
	}
	return ids
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return strings.Join(out, ", ")
}

func (w *writer) offices() string {
	var b strings.Builder
	b.WriteString("operators:\n")
	for _, o := range [][3]string{
		{"don_vi", "Đơn vị sử dụng", "The unit itself"}, {"huyen", "Đơn vị vận hành giám sát", "Operator of this monitoring"},
		{"tinh", "Sở Khoa học và Công nghệ", "Department of Science and Technology"}, {"vpcp", "Văn phòng Chính phủ", "Government Office"},
		{"bcy", "Ban Cơ yếu Chính phủ", "Government Cipher Committee"}, {"cuc_bdtw", "Cục Bưu điện Trung ương", "Central Post Office"},
		{"nha_mang", "Nhà cung cấp dịch vụ Internet", "Internet provider"}, {"nha_cung_cap", "Đơn vị vận hành cổng thông tin điện tử", "Operator of the portal"},
	} {
		fmt.Fprintf(&b, "  - {id: %s, name: {vi: %q, en: %q}, %s}\n", o[0], o[1], o[2], record)
	}
	contacts := ""
	if w.e.Webhook != "" {
		contacts = fmt.Sprintf("{kind: webhook, value: %q, %s}", w.e.Webhook, record)
	}
	if w.e.Letters != "" {
		contacts += fmt.Sprintf(", {kind: mail, value: %q, %s}", w.e.Letters, record)
	}
	b.WriteString("\noffices:\n")
	fmt.Fprintf(&b, "  - {id: VHTT, name: {vi: \"Phòng Văn hóa và Thông tin\", en: \"Culture and Information Office\"}, unit: %s, contacts: [%s], %s}\n", Home, contacts, record)
	return b.String()
}

// A service of the lab, before its hosts are filled in.
type service struct {
	id, vi, en, operator, watch string
	depends                     []string
	checks                      []string
}

// check writes one check. It decides, since in a lab each of them is there for its own sake.
func (w *writer) check(id, kind, path, with string) string {
	return fmt.Sprintf("{id: %s, kind: %s, every: %s, timeout: 8s, confirm: 0, path: %s, decides: true, with: {%s}}", id, kind, w.every, path, with)
}

// explain writes one check that explains and has no say in the accounts.
func (w *writer) explain(id, kind, with string) string {
	return fmt.Sprintf("{id: %s, kind: %s, every: %s, timeout: 8s, confirm: 0, path: internet, with: {%s}}", id, kind, w.every, with)
}

// names checks that the resolver knows the portal. What else the names show explains: the answer proven by its signatures, the
// district's zone at its own servers, and whether somebody forges answers.
func (w *writer) names() []string {
	server := fmt.Sprintf("server: %q", w.e.Resolver)
	const portal = `name: cong.tuky.test, answers: ["${cong_h.address}"]`
	checks := []string{w.check("dns", "dns", "internet", server+", type: A, "+portal), w.explain("gia_mao", "hijack", server+`, missing: ["{random}.tuky.test"], `+portal)}
	if len(w.e.Keys) == 0 {
		return checks
	}
	anchors := fmt.Sprintf("%s, anchors: [%s]", server, quoted(w.e.Keys))
	return append(checks, w.explain("chung_thuc", "dns", anchors+", "+portal), w.explain("vung", "zone", anchors+", name: tuky.test, grace: 0s"))
}

func (w *writer) web(id string, s Web, more string) string {
	with := fmt.Sprintf("url: %q, roots: %q, warn_days: 1", s.URL, w.e.Roots)
	if s.Name != "" {
		with += fmt.Sprintf(", server_name: %q", s.Name)
	}
	return w.check(id, "http", "internet", with+`, absent: ["bảo trì", "Hacked"]`+more)
}

func (w *writer) services() string {
	var b strings.Builder
	b.WriteString("services:\n")
	for _, s := range w.all() {
		fmt.Fprintf(&b, "  - id: %s\n    name: {vi: %q, en: %q}\n    operator: %s\n    owner: VHTT\n    valid_from: 2023-01-01\n    valid_to:\n    source: this lab\n    verified: true\n", s.id, s.vi, s.en, s.operator)
		fmt.Fprintf(&b, "    season:\n    hours: 24x7\n    severity: critical\n    depends: [%s]\n    quorum: {units: 1, carriers: 1}\n    watch: %s\n    checks:\n", strings.Join(s.depends, ", "), s.watch)
		for _, c := range s.checks {
			fmt.Fprintf(&b, "      - %s\n", c)
		}
	}
	return b.String()
}

// all lists the services that the lab has addresses for.
func (w *writer) all() []service {
	const unit = "one_per_unit"
	e := w.e
	out := []service{
		{"thu_thap", "Máy chủ thu thập tập trung", "Central collector", "huyen", "role:collector", nil, []string{w.check("tcp", "tcp", "lan", `address: "${collector.agents}"`)}},
	}
	add := func(when bool, s service) {
		if when {
			out = append(out, s)
		}
	}
	add(len(e.Disks) > 0, service{"pc", "Máy trạm", "Workstation", "don_vi", unit, nil, []string{w.check("host", "host", "lan", `disk_paths: ["${pc.disk}"], mem_warn: 1`)}})
	add(e.Gateway, service{"lan", "Mạng nội bộ", "Local network", "don_vi", unit, nil, []string{w.check("gateway", "gateway", "lan", "")}})
	lan := []string(nil)
	if e.Gateway {
		lan = []string{"lan"}
	}
	add(len(e.Internet) > 0, service{"inet", "Đường truyền Internet", "Internet line", "nha_mang", unit, lan, w.internet()})
	add(w.target() != "", service{"inet_cl", "Chất lượng đường truyền Internet", "Quality of the Internet line", "nha_mang", unit, []string{"inet"}, []string{w.check("ping", "ping", "internet", fmt.Sprintf("host: %q, count: 20, interval: 50ms, loss_warn: 0.1, slow: 300ms", w.target()))}})
	add(len(e.TSLCD) > 0, service{"tslcd", "Mạng truyền số liệu chuyên dùng", "Dedicated network", "cuc_bdtw", unit, lan, []string{w.check("uplink", "uplink", "tslcd", `anchors: "${line.anchors}"`)}})
	add(e.Resolver != "", service{"dns_local", "Phân giải tên miền", "Name resolution", "tinh", unit, nil,
		w.names()})
	names := []string(nil)
	if e.Resolver != "" {
		names = []string{"dns_local"}
	}
	add(e.Portal.URL != "", service{"cong_h", "Cổng TTĐT huyện", "District portal", "nha_cung_cap", unit, names, []string{w.web("http", e.Portal, `, contains: ["Tứ Kỳ"]`)}})
	add(len(e.Communes) > 0, service{"cong_x", "Trang TTĐT xã", "Commune websites", "tinh", unit, names,
		[]string{w.web("http", Web{URL: "${cong_x.url}", Name: e.communeName()}, "")}})
	add(e.Province.URL != "", service{"dvc_t", "Cổng Dịch vụ công của tỉnh", "Provincial service portal", "tinh", unit, names, w.portal(e.Province)})
	add(e.National.URL != "", service{"dvc_q", "Cổng Dịch vụ công quốc gia", "National service portal", "vpcp", unit, names, w.portal(e.National)})
	add(e.Payment.URL != "", service{"thanhtoan", "Thanh toán trực tuyến", "Online payment", "vpcp", unit, names, []string{w.web("http", e.Payment, "")}})
	add(e.OneStop.URL != "", service{"tthc", "Hệ thống một cửa điện tử", "One-stop shop", "tinh", unit, names, w.oneStop()})
	add(e.Mail.IMAP != "", service{"mail", "Thư điện tử công vụ", "Official e-mail", "tinh", unit, names, w.mail()})
	add(e.Post.SMTP != "", service{"thu_tinh", "Thư điện tử của tỉnh", "The province's e-mail", "tinh", unit, names, w.post()})
	add(e.Signature.OCSP != "", service{"kyso_usb", "Chữ ký số chuyên dùng Chính phủ", "Government digital signature", "bcy", unit, nil, w.signature()})
	add(e.Signs, service{"kyso_may", "Phần mềm ký số trên máy trạm", "Signing program on workstations", "don_vi", unit, nil, []string{w.check("dich_vu", "signservice", "lan", "")}})
	add(e.Trial.Module != "", service{"ky_thu", "Ký số thử trọn vẹn", "The whole act of signing", "bcy", unit, []string{"kyso_usb"}, []string{w.trial()}})
	add(e.Mobile.URL != "", service{"kyso_dd", "Ký số trên di động", "Signatures by mobile phone", "bcy", unit, nil, []string{w.mobile()}})
	add(len(e.Clocks) > 0, service{"ntp", "Đồng bộ thời gian", "Time synchronisation", "don_vi", unit, nil, []string{w.check("ntp", "ntp", "internet", fmt.Sprintf("servers: [%s], need: 2", quoted(e.Clocks)))}})
	add(e.Messages != "", service{"tin_nhan", "Cổng tin nhắn SMS và Zalo", "Gateway of messages to telephones", "nha_mang", "district", nil, []string{w.check("tcp", "tcp", "internet", fmt.Sprintf("address: %q", e.Messages))}})
	add(len(e.Printers) > 0, service{"may_in", "Máy in mạng", "Network printer", "don_vi", unit, nil, []string{w.check("tcp", "tcp", "lan", `address: "${may_in.address}"`)}})
	return out
}

func (e *Endpoints) communeName() string {
	for _, w := range e.Communes {
		return w.Name
	}
	return ""
}

// internet checks a line by neutral targets, by its way and what fits through it, and by an answer that is known beforehand. Only
// kinds that judge lines may decide here: others are not asked of a line that is down.
func (w *writer) internet() []string {
	checks := []string{w.check("uplink", "uplink", "internet", `anchors: "${line.anchors}", slow: 300ms`)}
	if host := w.target(); host != "" {
		checks = append(checks, w.check("duong", "path", "internet", fmt.Sprintf("host: %q, wait: 1s", host)))
	}
	if w.e.Known != "" {
		checks = append(checks, w.check("chan", "captive", "internet", fmt.Sprintf("url: %q, status: [301]", w.e.Known)))
	}
	return checks
}

// target is the host of the first neutral target, "" without one.
func (w *writer) target() string {
	if len(w.e.Internet) == 0 {
		return ""
	}
	host, _, err := net.SplitHostPort(w.e.Internet[0])
	if err != nil {
		return ""
	}
	return host
}

// portal checks a portal of public services: its page, and its login form where it has one.
func (w *writer) portal(s Web) []string {
	checks := []string{w.web("http", s, "")}
	if w.e.LogIn != "" {
		with := fmt.Sprintf("url: %q, roots: %q, warn_days: 1, fields: [taikhoan, matkhau, captcha], captcha: /captcha.png", strings.TrimSuffix(s.URL, "/")+"/dang-nhap", w.e.Roots)
		checks = append(checks, w.check("dang_nhap", "loginpage", "internet", with))
	}
	return checks
}

// post checks the mail of the province, as servers of others see it.
func (w *writer) post() []string {
	m := w.e.Post
	return []string{w.check("nhan", "smtp", "internet", fmt.Sprintf("address: %q, starttls: required, roots: %q, warn_days: 1, server_name: %q", m.SMTP, w.e.Roots, m.ServerName)),
		w.check("ban_ghi", "maildns", "internet", fmt.Sprintf("name: %q, server: %q", m.Domain, w.e.Resolver))}
}

// oneStop checks the page, and the look-up of a dossier as an officer does it.
func (w *writer) oneStop() []string {
	e := w.e
	page := w.web("trang", e.OneStop, "")
	if e.LogIn == "" {
		return []string{page, w.web("tra_cuu", Web{URL: strings.TrimSuffix(e.OneStop.URL, "/") + "/tra-cuu?ma=H23.298-261123-0001", Name: e.OneStop.Name}, `, contains: ["đã tiếp nhận"]`)}
	}
	steps := []string{
		`{name: mở trang, get: /dang-nhap, inputs: {token: __RequestVerificationToken}}`,
		fmt.Sprintf(`{name: đăng nhập, post: /dang-nhap, form: {taikhoan: %q, matkhau: {secret: %s}, __RequestVerificationToken: "$${token}"}, contains: ["Xin chào"]}`, e.LogIn, LogInSecret),
		`{name: tra cứu hồ sơ, get: "/tra-cuu?ma=H23.298-261123-0001", contains: ["Đang xử lý"]}`,
	}
	return []string{page, w.check("tra_cuu", "journey", "internet",
		fmt.Sprintf("url: %q, roots: %q, warn_days: 1, approved: \"LAB-01\", steps: [%s]", e.OneStop.URL, e.Roots, strings.Join(steps, ", ")))}
}

func (w *writer) mail() []string {
	m := w.e.Mail
	tls := fmt.Sprintf(`, roots: %q, warn_days: 1, server_name: %q`, w.e.Roots, m.ServerName)
	checks := []string{w.check("gui", "smtp", "internet", fmt.Sprintf(`address: %q, starttls: required`, m.SMTP)+tls),
		w.check("nhan", "imap", "internet", fmt.Sprintf(`address: %q`, m.IMAP)+tls),
		w.check("ban_ghi", "maildns", "internet", fmt.Sprintf(`name: %q, server: %q`, m.Domain, w.e.Resolver))}
	if len(w.e.Boxes) > 0 {
		checks = append(checks, w.check("vong", "mailloop", "internet", fmt.Sprintf(`address: "${thu.gui}", imap: "${thu.nhan}", mailbox: "${thu.hop}", user: "${thu.hop}", password: {secret: %s}, key: {secret: %s}, peers: "${loop.peers}", each: 1, pace: 20s, daily: 20000, late: 20s, lost: 30s, roots: %q, warn_days: 1`, BoxSecret, LoopSecret, w.e.Roots)))
	}
	return checks
}

func (w *writer) signature() []string {
	s := w.e.Signature
	checks := []string{
		w.check("dau_thoi_gian", "tsa", "internet", fmt.Sprintf("url: %q, roots: %q", s.TSA, s.Root)),
		w.check("ocsp", "ocsp", "internet", fmt.Sprintf("url: %q, certificate: %q, issuer: %q", s.OCSP, s.Certificate, s.Issuer)),
		w.check("thu_hoi", "crl", "internet", fmt.Sprintf("url: %q, issuer: %q", s.CRL, s.Issuer)),
	}
	if s.TrustList != "" {
		checks = append(checks, w.check("ctl", "trustlist", "internet", fmt.Sprintf("url: %q, roots: %q", s.TrustList, s.Root)))
	}
	return checks
}

// trial signs with the machine's token, and has the signature stamped.
func (w *writer) trial() string {
	e := w.e
	return w.check("ky", "sign", "internet", fmt.Sprintf(`module: %q, token: %q, pin: {secret: %s}, certificate: "${ky_thu.chung_thu}", tsa: %q, roots: %q`,
		e.Trial.Module, e.Trial.Token, PINSecret, e.Signature.TSA, e.Signature.Root))
}

// mobile asks the service of signatures by mobile phone for a state.
func (w *writer) mobile() string {
	m := w.e.Mobile
	return w.check("trang_thai", "mobilepki", "internet", fmt.Sprintf(`url: %q, roots: %q, warn_days: 1, client_cert: "${kyso_dd.chung_thu}", client_key: "${kyso_dd.khoa}", call: status, ap_id: %q, ap_password: {secret: %s}, approved: "LAB-02", slow: %s`,
		m.URL, w.e.Roots, m.AP, APSecret, MobileSlow))
}

func (w *writer) parameters() string {
	var b strings.Builder
	fmt.Fprintf(&b, "parameters:\n  - {id: collector.agents, builtin: true, note: \"address for agents\", %s}\n", record)
	if w.e.PortalIP != "" {
		fmt.Fprintf(&b, "  - {id: cong_h.address, value: %q, note: \"address behind the portal's name\", %s}\n", w.e.PortalIP, record)
	}
	byUnit := func(id string, values map[string]string) {
		if len(values) == 0 {
			return
		}
		fmt.Fprintf(&b, "  - id: %s\n    note: by unit\n    valid_from: 2023-01-01\n    valid_to:\n    source: this lab\n    verified: true\n    values:\n", id)
		for _, u := range slices.Sorted(maps.Keys(values)) {
			fmt.Fprintf(&b, "      - {unit: %s, value: %q}\n", u, values[u])
		}
	}
	sites := map[string]string{}
	for u, s := range w.e.Communes {
		sites[u] = s.URL
	}
	byUnit("cong_x.url", sites)
	byUnit("may_in.address", w.e.Printers)
	byUnit("pc.disk", w.e.Disks)
	byUnit("ky_thu.chung_thu", w.e.Trial.Certificates)
	byUnit("kyso_dd.chung_thu", w.e.Mobile.Certificates)
	byUnit("kyso_dd.khoa", w.e.Mobile.Keys)
	boxes, out, in := map[string]string{}, map[string]string{}, map[string]string{}
	for u, b := range w.e.Boxes {
		boxes[u], out[u], in[u] = b.Address, b.Submission, b.IMAP
	}
	byUnit("thu.hop", boxes)
	byUnit("thu.gui", out)
	byUnit("thu.nhan", in)
	return b.String()
}
