package servers

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// SNMPConfig sets up a device that tells about itself.
type SNMPConfig struct {
	Community string // what those who ask must know; a word
}

// An SNMP is Net-SNMP's agent at port 161, versions 1 and 2c.
type SNMP struct {
	p Place
	d *daemon
}

const snmpSettings = `agentAddress udp:%s
rocommunity %s
[snmp] persistentDir %s
[snmp] mibs :
`

// StartSNMP starts the agent.
func StartSNMP(ctx context.Context, p Place, c SNMPConfig) (*SNMP, error) {
	if c.Community == "" || strings.ContainsAny(c.Community, " \t\r\n\"'#") {
		return nil, fmt.Errorf("community %q is no word", c.Community)
	}
	path := filepath.Join(p.Dir, "agent.conf") // what the agent itself keeps, it writes into snmpd.conf
	if err := replace(path, fmt.Appendf(nil, snmpSettings, p.at(161), c.Community, p.Dir), 0o600); err != nil {
		return nil, err
	}
	s := &SNMP{p: p}
	var err error
	s.d, err = startDaemon(ctx, p, s.answers(ctx, c.Community), "snmpd", "-f", "-C", "-c", path, "-Lo")
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = s.Stop() })
	return s, nil
}

// answers waits until it is asked with success.
func (s *SNMP) answers(ctx context.Context, community string) func(*Process) error {
	// Get sysUpTime (RFC 1157, section 4.1.2; RFC 3418), in version 2c: a sequence of version, community and request.
	request := []byte{0xa0, 0x19, 0x02, 0x01, 0x01, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x30, 0x0e, 0x30, 0x0c,
		0x06, 0x08, 0x2b, 0x06, 0x01, 0x02, 0x01, 0x01, 0x03, 0x00, 0x05, 0x00}
	body := append([]byte{0x02, 0x01, 0x01, 0x04, byte(len(community))}, community...)
	body = append(body, request...)
	packet := append([]byte{0x30, byte(len(body))}, body...)
	return func(proc *Process) error {
		return until(ctx, proc, "SNMP at "+s.Addr(), func() error {
			c, err := s.p.DialContext(ctx, "udp", s.Addr())
			if err != nil {
				return err
			}
			defer c.Close()
			return asked(c, packet)
		})
	}
}

// asked sends a packet and waits a little for an answer.
func asked(c net.Conn, packet []byte) error {
	if err := c.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return err
	}
	if _, err := c.Write(packet); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1500))
	return err
}

// Halt ends the agent, or starts it anew: then the time since its start begins again.
func (s *SNMP) Halt(on bool) error { return s.d.halt(on) }

// Hang keeps the agent from answering while its port stays open, or lets it go on.
func (s *SNMP) Hang(on bool) error { return s.d.hang(on) }

// Stop ends it for good.
func (s *SNMP) Stop() error { return s.d.stop() }

// Addr is its host:port.
func (s *SNMP) Addr() string { return s.p.at(161) }
