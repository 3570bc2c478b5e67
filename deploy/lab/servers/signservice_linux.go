package servers

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// SignServiceConfig sets up a signing program.
type SignServiceConfig struct {
	Now  func() time.Time // nil for the system's clock
	Ends time.Time        // when its certificate ends; zero for a year from now
}

// A SignService is what a page in a browser finds of the state's signing program on a desk: TLS with a certificate that it signed
// itself at port 8987 of 127.0.0.1, and there WebSockets (RFC 6455) at /SignXML and /Config, as pages of ministries open them
// (`new WebSocket("wss://127.0.0.1:8987/SignXML")`, from the scripts that such pages carry). It signs nothing: whatever is asked, it hangs up in order, and
// counts that it was asked.
type SignService struct {
	p     Place
	l     *listener
	cert  tls.Certificate
	asked atomic.Int64
}

// StartSignService starts the program.
func StartSignService(ctx context.Context, p Place, c SignServiceConfig) (*SignService, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Ends.IsZero() {
		c.Ends = c.Now().AddDate(1, 0, 0)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{p.IP.AsSlice()},
		NotBefore: c.Now().AddDate(-1, 0, 0), NotAfter: c.Ends, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	s := &SignService{p: p, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	s.l, err = startListener(ctx, p, 8987, s.handle)
	return s, err
}

// handle makes the handshake of TLS, and that of a WebSocket if one is asked for.
func (s *SignService) handle(raw net.Conn) {
	c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	if c.SetDeadline(time.Now().Add(30*time.Second)) != nil || c.Handshake() != nil {
		return
	}
	in := bufio.NewReader(io.LimitReader(c, maxBody))
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	if r.URL.Path != "/SignXML" && r.URL.Path != "/Config" || key == "" {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	frame := make([]byte, 2)
	if _, err := io.ReadFull(in, frame); err != nil {
		return
	}
	if frame[0]&0x0f != 8 { // anything but "close" asks it to do something
		s.asked.Add(1)
	}
	_, _ = c.Write([]byte{0x88, 2, 0x03, 0xf0}) // close, 1008: against policy
}

// Asked counts the requests to do something; a monitor makes none.
func (s *SignService) Asked() int64 { return s.asked.Load() }

// Off closes the port, as a program that was not started.
func (s *SignService) Off(on bool) error { return s.l.dead(on) }

// Stop ends it for good.
func (s *SignService) Stop() error { return s.l.stop() }

// Addr is its host:port.
func (s *SignService) Addr() string { return s.p.at(8987) }
