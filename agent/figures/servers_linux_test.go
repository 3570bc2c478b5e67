package figures

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/miekg/dns"
)

// Peers are the servers that are probed.
type peers struct {
	HTTP, HTTPS, TCP, DNS, Roots string
	SMTP, IMAP, POP3, NTP        string
}

// serve runs one server of each sort until standard input ends, and writes where they are.
func serve(dir string) error {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/file" {
			_, _ = w.Write(make([]byte, 1<<20))
			return
		}
		_, _ = io.WriteString(w, "<!doctype html><title>Cổng thông tin</title><p>Xin chào")
	})
	quiet := log.New(io.Discard, "", 0)
	var p peers
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.HTTP = "http://" + plain.Addr().String() + "/"
	go func() { _ = (&http.Server{Handler: page, ErrorLog: quiet}).Serve(plain) }()

	cert, root, err := certificate()
	if err != nil {
		return err
	}
	p.Roots = filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(p.Roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}), 0o600); err != nil {
		return err
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.HTTPS = "https://" + secure.Addr().String() + "/"
	go func() {
		s := &http.Server{Handler: page, ErrorLog: quiet}
		_ = s.Serve(tls.NewListener(secure, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}))
	}()

	accept, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.TCP = accept.Addr().String()
	go func() {
		for {
			c, err := accept.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()

	names, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.DNS = names.LocalAddr().String()
	go answerNames(names)
	if own, err := net.ListenPacket("udp", zoneAddress+":53"); err == nil {
		go answerNames(own)
	}
	if err := letters(&p, cert); err != nil {
		return err
	}
	if err := clock(&p); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(p); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// answerNames is a name server of the zone tuky.test.
func answerNames(c net.PacketConn) {
	_ = dns.ActivateAndServe(nil, c, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative, m.RecursionAvailable = true, true
		answer, known := zoneRecords(q.Question[0])
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		for _, text := range answer {
			if rr, err := dns.NewRR(text); err == nil {
				m.Answer = append(m.Answer, rr)
			}
		}
		_ = w.WriteMsg(m)
	}))
}

// certificate makes a server's certificate and the root it ends in.
func certificate() (tls.Certificate, []byte, error) {
	from, to := time.Now().Add(-time.Hour), time.Now().Add(365*24*time.Hour)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "figures"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	root, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, IPAddresses: []net.IP{{127, 0, 0, 1}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, root, err
}

// check writes the line of a plan for the i-th check: of five, two are HTTP, one HTTPS, one TCP and one DNS.
func (p peers) check(i int, rest string) string {
	switch i % 5 {
	case 0, 1:
		return fmt.Sprintf("  - {id: s.x%d, kind: http, %s, with: {url: '%s'}}\n", i, rest, p.HTTP)
	case 2:
		return fmt.Sprintf("  - {id: s.x%d, kind: http, %s, with: {url: '%s', roots: '%s'}}\n", i, rest, p.HTTPS, p.Roots)
	case 3:
		return fmt.Sprintf("  - {id: s.x%d, kind: tcp, %s, with: {address: '%s'}}\n", i, rest, p.TCP)
	default:
		return fmt.Sprintf("  - {id: s.x%d, kind: dns, %s, with: {name: tuky.test, server: '%s'}}\n", i, rest, p.DNS)
	}
}
