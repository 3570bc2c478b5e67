package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check/checktest"
)

// A street is pc – gw – isp – core – web, with a name server and neutral hosts behind isp.
type street struct {
	*checktest.World
	ca   *checktest.Authority
	plan string
}

func newStreet(t *testing.T) street {
	t.Helper()
	w := checktest.NewWorld(t)
	for _, s := range []string{"pc", "gw", "isp", "core", "web", "dns"} {
		w.Site(s, s != "pc" && s != "web" && s != "dns")
	}
	join := func(a, b string, n int) {
		w.Join(a, []string{fmt.Sprintf("10.0.%d.2/24", n)}, b, []string{fmt.Sprintf("10.0.%d.1/24", n)})
	}
	join("pc", "gw", 1)
	join("gw", "isp", 2)
	join("isp", "core", 3)
	join("core", "web", 4)
	join("isp", "dns", 5)
	w.IP("pc", "route add default via 10.0.1.1")
	w.IP("gw", "route add default via 10.0.2.1")
	w.IP("isp", "route add default via 10.0.3.1", "route add 10.0.1.0/24 via 10.0.2.2")
	w.IP("core", "route add default via 10.0.3.2")
	w.IP("web", "route add default via 10.0.4.2")
	w.IP("dns", "route add default via 10.0.5.2")
	for i, s := range []string{"pc", "tslcd"} { // the dedicated network
		if i == 0 {
			w.Site("tslcd", true)
			w.Site("noibo", false)
			w.Join("pc", []string{"10.1.1.2/24"}, "tslcd", []string{"10.1.1.1/24"})
			w.Join("tslcd", []string{"10.1.2.2/24"}, "noibo", []string{"10.1.2.1/24"})
		}
		w.IP(s, "route add 10.1.3.0/24 via "+[]string{"10.1.1.1", "10.1.2.1"}[i])
	}
	w.IP("noibo", "addr add 10.1.3.1/32 dev lo", "route add default via 10.1.2.2")
	w.Resolver("pc", "10.0.5.1")
	s := street{World: w, ca: checktest.NewAuthority(t, "dvc.test")}
	s.serveNames(t)
	s.servePages(t)
	s.plan = checktest.WriteFile(t, "plan.yaml", fmt.Appendf(nil, `plan: street
lines: [{path: tslcd, source: 10.1.1.2}]
checks:
  - {id: inet.uplink, kind: uplink, every: 60s, with: {anchors: ["10.0.5.1:81", "10.0.5.1:82", "10.0.5.1:83"]}}
  - {id: inet.captive, kind: captive, every: 60s, with: {url: "http://10.0.5.1:81/"}}
  - {id: dvc.http, kind: http, every: 60s, with: {url: "https://dvc.test/", roots: %[1]s, contains: ["Dịch vụ công"]}}
  - {id: dvc.moved, kind: http, every: 60s, with: {url: "https://dvc.test/chuyen", roots: %[1]s}}
  - {id: dvc.broken, kind: http, every: 60s, with: {url: "https://dvc.test/loi", roots: %[1]s}}
  - {id: dvc.late, kind: http, every: 60s, with: {url: "https://dvc.test/cham", roots: %[1]s}}
  - {id: dvc.old, kind: http, every: 60s, with: {url: "https://dvc.test:8443/", roots: %[1]s}}
  - {id: dvc.forged, kind: http, every: 60s, with: {url: "https://dvc.test:8444/", roots: %[1]s}}
  - {id: thu.gui, kind: smtp, every: 60s, with: {address: "dvc.test:587"}}
  - {id: inet.hijack, kind: hijack, every: 60s, with: {missing: ["khong-co.test"]}}
  - {id: thu.25, kind: smtp, every: 60s, with: {address: "dvc.test:25", alive: ["10.0.4.1:143"], egress: ["10.0.5.1:25", "10.0.3.1:25"]}}
  - {id: noibo.http, kind: http, every: 60s, path: tslcd, with: {url: "http://noi-bo.test/"}}
  - {id: noibo.so, kind: http, every: 60s, path: tslcd, with: {url: "http://10.1.3.1/"}}
  - {id: ba.http, kind: http, every: 60s, with: {url: "https://ba.test/", roots: %[1]s}}
  - {id: dvc.other, kind: http, every: 60s, with: {url: "https://dvc.test:8445/", roots: %[1]s}}
`, s.ca.Roots()))
	return s
}

func (s street) serveNames(t *testing.T) {
	t.Helper()
	s.Do("dns", func() error {
		c, err := net.ListenPacket("udp", "10.0.5.1:53")
		if err != nil {
			return err
		}
		checktest.AnswerNames(t, c, func(m, q *mdns.Msg) bool {
			switch name := strings.ToLower(q.Question[0].Name); {
			case name == "sai-ky.test." && !q.CheckingDisabled:
				m.Rcode = mdns.RcodeServerFailure
			case name == "xn--dchvcng-x0a0689dsha.test." && q.Question[0].Qtype == mdns.TypeA:
				rr, _ := mdns.NewRR(name + " 1 IN A 10.0.4.1")
				m.Answer = append(m.Answer, rr)
			case name == "noi-bo.test." && q.Question[0].Qtype == mdns.TypeA:
				rr, _ := mdns.NewRR(name + " 1 IN A 10.1.3.1")
				m.Answer = append(m.Answer, rr)
			case name == "ba.test." && q.Question[0].Qtype == mdns.TypeA:
				for _, a := range []string{"10.0.4.77", "10.0.4.1", "10.0.4.3"} { // the first is dead
					rr, _ := mdns.NewRR(name + " 1 IN A " + a)
					m.Answer = append(m.Answer, rr)
				}
			case name == "noi-bo.test.", name == "ba.test.":
			case name != "dvc.test." && name != "sai-ky.test.":
				m.Rcode = mdns.RcodeNameError
			case q.Question[0].Qtype == mdns.TypeA:
				rr, _ := mdns.NewRR(name + " 1 IN A 10.0.4.1")
				m.Answer = append(m.Answer, rr)
			}
			return true
		})
		for _, port := range []string{"81", "82", "83"} {
			l, err := net.Listen("tcp", "10.0.5.1:"+port)
			if err != nil {
				return err
			}
			serve(t, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), nil)
		}
		return nil
	})
}

func serve(t *testing.T, l net.Listener, h http.Handler, cert *tls.Certificate) {
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}}
	if cert == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	}
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
}

func (s street) servePages(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loi":
			w.WriteHeader(500)
		case "/chuyen":
			http.Redirect(w, r, "https://khac.test/", http.StatusFound)
		case "/cham":
			select {
			case <-done:
			case <-r.Context().Done():
			}
		default:
			_, _ = io.WriteString(w, "<title>Dịch vụ công</title>"+strings.Repeat("x", 100_000))
		}
	})
	now := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().AddDate(1, 0, 0)
	}
	old := func(c *x509.Certificate) { now(c); c.NotAfter = time.Now().Add(-time.Hour) }
	other := func(c *x509.Certificate) { now(c); c.DNSNames = []string{"khac.test"} }
	three := func(c *x509.Certificate) { now(c); c.DNSNames = []string{"dvc.test", "ba.test"} }
	forger := checktest.NewAuthority(t, "dvc.test")
	for port, greeting := range map[string]string{"25": "554 5.7.1 not you\r\n", "143": "* BYE not now\r\n"} {
		s.Do("web", func() error {
			l, err := net.Listen("tcp", "10.0.4.1:"+port)
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = io.WriteString(c, greeting)
					c.Close()
				}
			}()
			return nil
		})
	}
	s.IP("web", "addr add 10.0.4.3/24 dev core")
	s.Do("web", func() error {
		l, err := net.Listen("tcp", "10.0.4.3:443")
		if err == nil {
			leaf := s.ca.Leaf(nil, three)
			serve(t, l, pages, &leaf)
		}
		return err
	})
	s.Do("noibo", func() error {
		l, err := net.Listen("tcp", "10.1.3.1:80")
		if err == nil {
			serve(t, l, pages, nil)
		}
		return err
	})
	for port, leaf := range map[string]tls.Certificate{"443": s.ca.Leaf(nil, three), "8443": s.ca.Leaf(nil, old), "8444": forger.Leaf(nil, now), "8445": s.ca.Leaf(nil, other)} {
		s.Do("web", func() error {
			l, err := net.Listen("tcp", "10.0.4.1:"+port)
			if err == nil {
				serve(t, l, pages, &leaf)
			}
			return err
		})
	}
}

func rules(hook, rule string) string {
	return "table inet t {\nchain c {\ntype filter hook " + hook + " priority 0\n" + rule + "\n}\n}"
}

// Every stage of the way to a system is broken in turn, in a network of its own, and the doctor names it in one sentence.
func TestDoctorFindsWhereTheWayBreaks(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "agent")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, agent); err != nil {
		t.Fatal(err)
	}
	type run struct {
		name   string
		number int // of the stage; 0 for none
		said   []string
		cmd    *exec.Cmd
		out    bytes.Buffer
	}
	var all []*run
	for _, tc := range []struct {
		name, system string
		spoil        func(s street)
		number       int
		said         []string
	}{
		{"nothing", "dvc.http", nil, 0, []string{"Đường từ máy", "dvc.test", "9. Trang của hệ thống +Tốt", "Không thấy vấn đề gì"}},
		{"the card is off", "dvc.http", func(s street) { s.IP("pc", "link set gw down") }, 1, []string{"Hỏng ở máy tính: mọi cổng mạng"}},
		{"the cable is out", "dvc.http", func(s street) { s.IP("gw", "link set pc down") }, 2, []string{"Hỏng ở mạng nội bộ: máy không có tín hiệu"}},
		{"no address", "dvc.http", func(s street) { s.IP("pc", "addr flush dev gw scope global") }, 2, []string{"không được cấp địa chỉ"}},
		{"no default route", "dvc.http", func(s street) { s.IP("pc", "route del default") }, 3, []string{"không biết đi qua thiết bị nào"}},
		{"no way to IPv6 alone", "2001:db8::1", nil, 3, []string{"máy không có đường đi tới địa chỉ", "Không phải hệ thống hỏng", "mã connect_unreachable"}},
		{"the gateway is off", "dvc.http", func(s street) { s.IP("gw", "addr del 10.0.1.1/24 dev pc") }, 3, []string{"Hỏng ở thiết bị mạng của đơn vị: thiết bị không trả lời", "Tắt thiết bị mạng"}},
		{"the line is cut", "dvc.http", func(s street) { s.Nft("gw", rules("forward", "drop")) }, 4, []string{"Hỏng ở đường truyền của đơn vị", "gọi nhà mạng"}},
		{"a portal", "dvc.http", func(s street) {
			s.Do("gw", func() error {
				l, err := net.Listen("tcp", "10.0.1.1:8080")
				if err == nil {
					serve(t, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						_, _ = io.WriteString(w, "<form><input type=password></form>")
					}), nil)
				}
				return err
			})
			s.Nft("gw", "table ip t {\nchain c {\ntype nat hook prerouting priority dstnat\ntcp dport { 81, 82, 83, 443 } redirect to :8080\n}\n}")
		}, 4, []string{"mạng bắt đăng nhập", "đăng nhập mạng"}},
		{"the dedicated network, while the Internet is cut", "noibo.so", func(s street) { s.Nft("gw", rules("forward", "drop")) }, 0, []string{"Không thấy vấn đề gì"}},
		{"the dedicated network is cut, and the Internet is not", "noibo.http", func(s street) { s.Nft("tslcd", rules("forward", "drop")) }, 4, []string{"Hỏng ở đường truyền TSLCD", "gọi đơn vị quản lý mạng TSLCD"}},
		{"the dedicated network's router is off", "noibo.http", func(s street) { s.IP("tslcd", "addr del 10.1.1.1/24 dev pc") }, 3, []string{"Hỏng ở thiết bị mạng của đơn vị: thiết bị không trả lời"}},
		{"the cable to the dedicated network is out", "noibo.http", func(s street) { s.IP("tslcd", "link set pc down") }, 2, []string{"máy không có tín hiệu"}},
		{"the system on the dedicated network is down", "noibo.http", func(s street) { s.Nft("noibo", rules("input", "tcp dport 80 reject with tcp reset")) }, 7, []string{"từ chối kết nối"}},
		{"one of three addresses is dead", "ba.http", nil, 0, []string{"Không thấy vấn đề gì"}},
		{"port 25 is closed by the carrier", "thu.25", func(s street) { s.Nft("gw", rules("forward", "tcp dport 25 drop")) }, 4, []string{"nhà mạng chặn cổng 25", "587 hoặc 465", "mã egress_blocked"}},
		{"false addresses", "dvc.http", func(s street) {
			s.IP("web", "addr add 10.0.4.9/24 dev core")
			s.Nft("web", "table ip t {\nchain c {\ntype nat hook prerouting priority dstnat\nip daddr 10.0.4.9 tcp dport 443 dnat to 10.0.4.1:8444\n}\n}")
			s.Do("gw", func() error {
				c, err := net.ListenPacket("udp", "10.0.1.1:5353")
				if err != nil {
					return err
				}
				checktest.AnswerNames(t, c, func(m, q *mdns.Msg) bool {
					if q.Question[0].Qtype == mdns.TypeA {
						rr, _ := mdns.NewRR(q.Question[0].Name + " 1 IN A 10.0.4.9")
						m.Answer = append(m.Answer, rr)
					}
					return true
				})
				return nil
			})
			s.Nft("gw", "table ip t {\nchain c {\ntype nat hook prerouting priority dstnat\nudp dport 53 redirect to :5353\n}\n}")
		}, 6, []string{"trả lời sai địa chỉ", "Không nhập mật khẩu", "khong-co.test"}},
		{"the carrier is cut", "dvc.http", func(s street) { s.Nft("isp", rules("forward", "drop")) }, 5, []string{"Hỏng ở mạng của nhà mạng: đường đi đứt sau điểm thứ 2"}},
		{"a black hole", "dvc.http", func(s street) {
			s.IP("isp", "link set core mtu 1400")
			s.IP("core", "link set isp mtu 1400")
			for _, r := range []string{"isp", "core"} {
				s.Nft(r, rules("output", "icmp code frag-needed drop"))
			}
		}, 5, []string{"gói tin lớn bị mất sau điểm thứ 2", "MTU"}},
		{"the name server is off", "dvc.http", func(s street) { s.Nft("dns", rules("input", "udp dport 53 drop")) }, 6, []string{"Hỏng ở máy chủ tên miền"}},
		{"no such name", "https://khong-co.test/", nil, 6, []string{"không có tên này", "mã dns_nxdomain"}},
		{"a name in letters of Vietnamese, and the server refuses", "http://dịchvụcông.test:444/", nil, 7, []string{"từ chối kết nối", "dịchvụcông.test"}},
		{"signatures that do not verify", "https://sai-ky.test/", nil, 6, []string{"chữ ký bảo vệ tên miền (DNSSEC) không khớp", "mã dns_bogus"}},
		{"letters are refused", "thu.gui", nil, 7, []string{"từ chối kết nối", "mã connect_refused"}},
		{"letters are refused, without a plan for it", "dvc.test:465", nil, 7, []string{"từ chối kết nối"}},
		{"the line is cut before letters", "thu.gui", func(s street) { s.Nft("gw", rules("forward", "drop")) }, 4, []string{"Hỏng ở đường truyền của đơn vị"}},
		{"the mail server does not want us", "dvc.test:25", nil, 9, []string{"dịch vụ không chạy đúng", "mã mail_rejected", "554 5.7.1"}},
		{"the mailbox does not want us", "dvc.test:143", nil, 9, []string{"dịch vụ không chạy đúng", "not now"}},
		{"the server refuses", "dvc.http", func(s street) { s.Nft("web", rules("input", "tcp dport 443 reject with tcp reset")) }, 7, []string{"từ chối kết nối"}},
		{"the server is off", "dvc.http", func(s street) { s.IP("web", "addr del 10.0.4.1/24 dev core") }, 7, []string{"máy chủ không trả lời, trong khi đường truyền vẫn thông"}},
		{"expired", "dvc.old", nil, 8, []string{"đã hết hạn", "mã tls_expired"}},
		{"forged", "dvc.forged", nil, 8, []string{"không tin được chứng thư", "Không nhập mật khẩu"}},
		{"another name", "dvc.other", nil, 8, []string{"kết nối mã hóa với trang không đúng", "mã tls_name"}},
		{"the page is broken", "dvc.broken", nil, 9, []string{"trang bị lỗi", "mã http_status", "status 500"}},
		{"the page leads elsewhere", "dvc.moved", nil, 9, []string{"chuyển sang nơi không được phép"}},
		{"no page comes", "dvc.late", nil, 9, []string{"không trả trang về"}},
	} {
		s := newStreet(t)
		if tc.spoil != nil {
			tc.spoil(s)
		}
		r := &run{name: tc.name, number: tc.number, said: tc.said}
		r.cmd = s.Command(t.Context(), "pc", agent, "doctor", tc.system, "--plan", s.plan, "--data", t.TempDir())
		r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
		if err := r.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	for _, r := range all {
		err := r.cmd.Wait()
		code := 0
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			code = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		checkSaid(t, r.name, r.number, code, r.out.String(), r.said)
	}
}

// checkSaid compares what the doctor printed: the stages before the break are fine, those behind it were not looked at.
func checkSaid(t *testing.T, name string, number, code int, out string, said []string) {
	t.Helper()
	if want := min(number, 1); code != want {
		t.Errorf("%s: exit code %d, want %d\n%.1500s", name, code, want, out)
		return
	}
	var lines []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, technical) {
			lines = append(lines, line)
		}
	}
	checkVietnamese(t, name, out)
	for i := 1; i <= int(pastAll); i++ {
		want := "Tốt"
		switch {
		case i == number:
			want = "Có vấn đề"
		case number > 0 && i > number:
			want = "Chưa xét"
		}
		if len(lines) < i+2 || !strings.Contains(lines[i+1], want) {
			t.Errorf("%s: stage %d is not %q:\n%.1500s", name, i, want, out)
			return
		}
	}
	for _, s := range said {
		plain := strings.Join(strings.Fields(strings.ReplaceAll(out, " +", " ")), " ")
		if !strings.Contains(plain, strings.ReplaceAll(s, " +", " ")) {
			t.Errorf("%s: %q is not said:\n%.1500s", name, s, out)
		}
	}
}

// technical begins a line with what a result says of itself: data, in English.
const technical = "      Chi tiết kỹ thuật: "

// checkVietnamese finds English words outside of such lines, and of the code of a reason, which is read out as it is.
func checkVietnamese(t *testing.T, name, out string) {
	t.Helper()
	english := regexp.MustCompile(`(?i)\b(the|not|is|of|with|for|cannot|refused|status|default|certificate|timeout|connect|connection|closed|reset|host|answers?|no (such|default|answer))\b`)
	for line := range strings.Lines(out) {
		said, _, _ := strings.Cut(line, ", mã ")
		if e := english.FindString(said); e != "" && !strings.HasPrefix(line, technical) {
			t.Errorf("%s: %q stands among the Vietnamese:\n%.300s", name, e, line)
		}
	}
}

// An examination of a machine that knows of no router, or whose router is off, is Vietnamese as well.
func TestDoctorExaminesAMachineWithoutGateway(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	agent := filepath.Join(t.TempDir(), "agent")
	if err := os.Symlink(self, agent); err != nil {
		t.Fatal(err)
	}
	w := checktest.NewWorld(t)
	w.Site("pc", false)
	w.Site("gw", true)
	w.Join("pc", []string{"10.0.1.2/24"}, "gw", []string{"10.0.1.1/24"})
	for _, tc := range []struct {
		route string
		said  []string
	}{
		{"", []string{"Không có đường tới máy chủ (máy không biết đi qua thiết bị nào)", "khởi động lại máy"}},
		{"route add default via 10.0.1.9", []string{"Thiết bị mạng của đơn vị", technical + "gateway 10.0.1.9", "Tắt thiết bị mạng"}},
	} {
		if tc.route != "" {
			w.IP("pc", tc.route)
		}
		out, err := w.Command(t.Context(), "pc", agent, "doctor", "--data", t.TempDir()).CombinedOutput()
		if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != exitFailed {
			t.Fatalf("%v\n%.1500s", err, out)
		}
		checkVietnamese(t, tc.route, string(out))
		for _, s := range tc.said {
			if !strings.Contains(strings.ToLower(string(out)), strings.ToLower(s)) {
				t.Errorf("%q is not said:\n%.1500s", s, out)
			}
		}
	}
}
