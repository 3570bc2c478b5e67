package figures

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A talk answers one line of a conversation; "" says that nothing is answered. It never sees the lines of a letter.
type talk func(line string, secure bool) string

// converse greets and answers lines until the other side goes. After an answer that begins with "220 go" comes the
// handshake, and what follows "354" is a letter, up to a lone dot.
func converse(l net.Listener, cert tls.Certificate, greeting string, answer talk) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			_, secure := conn.(*tls.Conn)
			in := bufio.NewReader(conn)
			said, letter := greeting, false
			for {
				if _, err := conn.Write([]byte(said)); err != nil {
					return
				}
				if strings.HasPrefix(said, "220 go") {
					conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
					in, secure = bufio.NewReader(conn), true
				}
				line, err := in.ReadString('\n')
				for letter = strings.HasPrefix(said, "354"); letter && err == nil && line != ".\r\n"; {
					line, err = in.ReadString('\n')
				}
				if err != nil {
					return
				}
				said = answer(strings.TrimSpace(line), secure)
			}
		}()
	}
}

func speakSMTP(line string, secure bool) string {
	switch verb, _, _ := strings.Cut(line, " "); {
	case verb == "EHLO" && secure:
		return "250-x\r\n250-SIZE 100000\r\n250-DSN\r\n250 AUTH PLAIN\r\n"
	case verb == "EHLO":
		return "250-x\r\n250 STARTTLS\r\n"
	case verb == "STARTTLS":
		return "220 go\r\n"
	case verb == "AUTH":
		return "235 in\r\n"
	case verb == "DATA":
		return "354 go\r\n"
	default:
		return "250 done\r\n"
	}
}

func speakIMAP(line string, _ bool) string {
	tag, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.HasPrefix(rest, "CAPABILITY"):
		return "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR MOVE UIDPLUS\r\n" + tag + " OK done\r\n"
	case strings.HasPrefix(rest, "SELECT INBOX"):
		return "* 0 EXISTS\r\n" + tag + " OK done\r\n"
	case strings.HasPrefix(rest, "SELECT"):
		return tag + " NO there is no such folder\r\n"
	case strings.HasPrefix(rest, "UID SEARCH"):
		return "* SEARCH\r\n" + tag + " OK done\r\n"
	default:
		return tag + " OK done\r\n"
	}
}

func speakPOP(line string, _ bool) string {
	if line == "CAPA" {
		return "+OK\r\nUIDL\r\nSASL PLAIN\r\n.\r\n"
	}
	return "+OK\r\n"
}

// letters runs servers of mail, and says where they are.
func letters(p *peers, cert tls.Certificate) error {
	for _, s := range []struct {
		at       *string
		implicit bool
		greeting string
		answer   talk
	}{{&p.SMTP, false, "220 hi\r\n", speakSMTP}, {&p.IMAP, true, "* OK hi\r\n", speakIMAP}, {&p.POP3, true, "+OK hi\r\n", speakPOP}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*s.at = l.Addr().String()
		if s.implicit {
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
		}
		go converse(l, cert, s.greeting, s.answer)
	}
	return nil
}

// clock is a server of time that is right.
func clock(p *peers) error {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.NTP = c.LocalAddr().String()
	go func() {
		q := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(q)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			now := time.Now()
			stamp := uint64(now.Unix()+2208988800)<<32 | uint64(now.Nanosecond())<<32/1e9
			a := make([]byte, 48)
			a[0], a[1], a[2], a[3] = 4<<3|4, 2, 6, 0xec
			binary.BigEndian.PutUint32(a[8:], 1<<8)
			copy(a[12:], []byte{127, 0, 0, 1})
			copy(a[24:32], q[40:48])
			for _, at := range []int{16, 32, 40} {
				binary.BigEndian.PutUint64(a[at:], stamp)
			}
			_, _ = c.WriteTo(a, from)
		}
	}()
	return nil
}

// zoneRecords are what the name server of the peers says of its zone; of other names it says the address that it is
// asked for.
func zoneRecords(q dns.Question) (answer []string, known bool) {
	all := []string{
		"tuky.test. 60 SOA ns.tuky.test. root.tuky.test. 1 3600 600 86400 60",
		"tuky.test. 60 NS ns.tuky.test.",
		"tuky.test. 60 MX 10 mail.tuky.test.",
		"tuky.test. 60 TXT \"v=spf1 mx -all\"",
		"_dmarc.tuky.test. 60 TXT \"v=DMARC1; p=reject\"",
	}
	name := strings.ToLower(q.Name)
	i := slices.IndexFunc(all, func(r string) bool { return strings.HasPrefix(r, name+" 60 "+dns.TypeToString[q.Qtype]+" ") })
	switch {
	case i >= 0:
		return all[i : i+1], true
	case strings.HasPrefix(name, "missing"):
		return nil, false
	case q.Qtype == dns.TypeA && name == "ns.tuky.test.":
		return []string{name + " 60 A " + zoneAddress}, true
	case q.Qtype == dns.TypeA:
		return []string{name + " 60 A 192.0.2.1"}, true
	default:
		return nil, true
	}
}

// zoneAddress is where the zone's own server is asked, on port 53, which takes root.
const zoneAddress = "127.77.0.1"
