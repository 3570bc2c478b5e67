package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
)

// States in /proc/net/tcp and udp (include/net/tcp_states.h).
const (
	tcpListen = "0A"
	udpOpen   = "07"
)

// listeners reads the kernel's tables of sockets (proc(5), /proc/net/tcp and its kin).
func (t *tree) listeners(ctx context.Context) (listeners, error) {
	v := listeners{ephemeral: t.firstEphemeral()}
	read := 0
	for _, table := range []struct {
		name  string
		udp   bool
		state string
	}{{"tcp", false, tcpListen}, {"tcp6", false, tcpListen}, {"udp", true, udpOpen}, {"udp6", true, udpOpen}} {
		if err := ctx.Err(); err != nil {
			return listeners{}, err
		}
		b, err := t.read("proc/net/"+table.name, maxTable)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6 in this kernel
		}
		if err != nil {
			return listeners{}, fmt.Errorf("the table of %s sockets: %w", table.name, bare(err))
		}
		read++
		found, err := sockets(b, table.state, table.udp)
		if err != nil {
			return listeners{}, fmt.Errorf("the table of %s sockets: %w", table.name, err)
		}
		v.all = append(v.all, found...)
	}
	if read == 0 {
		return listeners{}, fmt.Errorf("the tables of sockets: %w", fs.ErrNotExist)
	}
	return v, nil
}

// firstEphemeral is where the ports begin that programs get when they ask for any; 0 when unknown.
func (t *tree) firstEphemeral() uint16 {
	text, err := t.text("proc/sys/net/ipv4/ip_local_port_range")
	if f := strings.Fields(text); err == nil && len(f) == 2 {
		if n, err := strconv.ParseUint(f[0], 10, 16); err == nil {
			return uint16(n)
		}
	}
	return 0
}

// sockets returns those of a table in a state.
func sockets(table []byte, state string, udp bool) (found []listener, err error) {
	s := bufio.NewScanner(bytes.NewReader(table))
	for first := true; s.Scan(); first = false {
		f := strings.Fields(s.Text())
		if first || len(f) < 4 || f[3] != state {
			continue
		}
		a, port, err := socketAddress(f[1])
		if err != nil {
			return nil, err
		}
		found = append(found, listener{a, port, udp})
	}
	return found, s.Err()
}

// socketAddress reads ADDRESS:PORT in hex. The address is in words of 32 bits in the machine's order, which is little
// endian on every machine that this program is built for.
func socketAddress(s string) (netip.Addr, uint16, error) {
	address, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(address)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b) != 4 && len(b) != 16 {
		return netip.Addr{}, 0, fmt.Errorf("%q is no address", s)
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, _ := netip.AddrFromSlice(b)
	return a, uint16(n), nil
}
