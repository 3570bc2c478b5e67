package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"egovmon/agent/check"
)

// oldProtocols are the ways into a machine that carry passwords in the clear or have been broken for good.
type oldProtocols struct {
	on     []string // Telnet, FTP, SMBv1, LLMNR
	unread []string // what could not be read, and could only add to them
	denied bool     // for lack of rights
}

func (v *oldProtocols) add(name string, on bool) {
	if on && !slices.Contains(v.on, name) {
		v.on = append(v.on, name)
	}
}

func (v *oldProtocols) miss(what string, err error) {
	v.unread = append(v.unread, what)
	v.denied = v.denied || errors.Is(err, fs.ErrPermission)
}

// judgeOldProtocols asks that none is on.
func judgeOldProtocols(v oldProtocols) *check.Result {
	var r *check.Result
	switch {
	case len(v.on) > 0:
		r = because(check.ControlFail, "on: %s", strings.Join(v.on, ", "))
	case len(v.unread) > 0 && v.denied:
		r = because(check.NoPermission, "not readable: %s", strings.Join(v.unread, ", "))
	case len(v.unread) > 0:
		r = because(check.NotSupported, "not readable: %s", strings.Join(v.unread, ", "))
	default:
		r = because(check.OK, "Telnet, FTP, SMBv1 and LLMNR are off")
	}
	r.Facts.Add("old_protocols_count", float64(len(v.on)))
	return r
}

// Ports of the protocols.
const (
	portFTP    = 21
	portTelnet = 23
	portNBT    = 139
	portSMB    = 445
	portLLMNR  = 5355
)

// offered reports whether a port listens on an address other than loopback.
func (v listeners) offered(port uint16) bool {
	return slices.ContainsFunc(v.all, func(a listener) bool { return a.port == port && !a.address.Unmap().IsLoopback() })
}

// oldProtocols looks at the ports, which show a service however it was started, and at Samba's settings.
func (t *tree) oldProtocols(ctx context.Context) (oldProtocols, error) {
	ports, err := t.listeners(ctx)
	if err != nil {
		return oldProtocols{}, err
	}
	var v oldProtocols
	v.add("Telnet", ports.offered(portTelnet))
	v.add("FTP", ports.offered(portFTP))
	v.add("LLMNR", ports.offered(portLLMNR))
	if ports.offered(portSMB) || ports.offered(portNBT) {
		old, err := t.smb1()
		v.add("SMBv1", old)
		if err != nil {
			v.miss("the settings of Samba", err)
		}
	}
	return v, nil
}

// smb1 reports whether Samba is told to speak SMBv1, which it does not by itself (smb.conf(5), server min protocol).
func (t *tree) smb1() (bool, error) {
	text, err := t.text("etc/samba/smb.conf")
	if err != nil {
		return false, bare(err)
	}
	old := false
	for line := range settings(text) {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		switch strings.ReplaceAll(strings.ToLower(key), " ", "") {
		case "serverminprotocol", "minprotocol":
			v := strings.ToUpper(strings.TrimSpace(value))
			old = slices.Contains([]string{"CORE", "COREPLUS", "LANMAN1", "LANMAN2", "NT1"}, v)
		case "include":
			err = fmt.Errorf("they include others: %w", errors.ErrUnsupported)
		}
	}
	return old, err
}

// oldProtocols looks at the ports, and in the registry at what needs none.
func (s *station) oldProtocols(ctx context.Context) (oldProtocols, error) {
	ports, err := s.listeners(ctx)
	if err != nil {
		return oldProtocols{}, err
	}
	var v oldProtocols
	v.add("Telnet", ports.offered(portTelnet))
	v.add("FTP", ports.offered(portFTP))
	set, ok, err := s.number(keyServices+`LanmanServer\Parameters`, "SMB1")
	if err == nil && !ok {
		// Nobody has said: the feature decides, whose driver is there or not.
		var start uint64
		start, ok, err = s.number(keyServices+"mrxsmb10", "Start")
		set = yes(ok && start != startDisabled)
	}
	if err != nil {
		v.miss("whether SMBv1 is on", err)
	}
	v.add("SMBv1", err == nil && set != 0)
	multicast, ok, err := s.number(`SOFTWARE\Policies\Microsoft\Windows NT\DNSClient`, "EnableMulticast")
	if err != nil {
		v.miss("whether LLMNR is on", err)
	}
	v.add("LLMNR", err == nil && (!ok || multicast != 0))
	return v, nil
}

func yes(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
