package control

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxNetlink is the most bytes of rules that are read: far more than any machine of an office has.
const maxNetlink = 32 << 20

// readChains asks the kernel for the chains and rules of nf_tables. It needs CAP_NET_ADMIN; without it the error wraps
// fs.ErrPermission. A kernel without nf_tables has none.
func readChains(ctx context.Context) ([]nftChain, error) {
	return collect(func(kind uint16, f func(datagram []byte) (done bool, err error)) error { return ask(ctx, kind, f) })
}

// collect puts chains and their rules together from the datagrams of two dumps (NFT_MSG_GETCHAIN, NFT_MSG_GETRULE).
func collect(ask func(kind uint16, f func(datagram []byte) (done bool, err error)) error) ([]nftChain, error) {
	var chains []nftChain
	err := ask(unix.NFT_MSG_GETCHAIN, func(datagram []byte) (bool, error) {
		return messages(datagram, func(kind uint16, family byte, b []byte) error {
			if kind != nftMsgNewChain {
				return nil
			}
			c, err := parseChain(family, b)
			chains = append(chains, c)
			return err
		})
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil // the kernel has no nf_tables
	}
	if err != nil || len(chains) == 0 {
		return nil, err
	}
	err = ask(unix.NFT_MSG_GETRULE, func(datagram []byte) (bool, error) {
		return messages(datagram, func(kind uint16, family byte, b []byte) error {
			if kind != nftMsgNewRule {
				return nil
			}
			table, chain, r, err := parseRule(b)
			for i, c := range chains {
				if c.family == family && c.table == table && c.name == chain {
					chains[i].rules = append(chains[i].rules, r)
				}
			}
			return err
		})
	})
	return chains, err
}

// ask sends one request for everything of a kind and calls f for each datagram of the answer.
func ask(ctx context.Context, kind uint16, f func(datagram []byte) (done bool, err error)) error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	wait := unix.NsecToTimeval(time.Second.Nanoseconds())
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	req := make([]byte, 20) // struct nlmsghdr and struct nfgenmsg, of no family
	binary.NativeEndian.PutUint32(req, uint32(len(req)))
	binary.NativeEndian.PutUint16(req[4:], unix.NFNL_SUBSYS_NFTABLES<<8|kind)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(s, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for total := 0; total < maxNetlink; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, _, err := unix.Recvfrom(s, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if done, err := f(buf[:n]); done || err != nil {
			return err
		}
		total += n
	}
	return fmt.Errorf("%w: more than %d bytes", errNetlink, maxNetlink)
}

// messages takes one datagram apart. done is true after the last message of a dump.
func messages(b []byte, f func(kind uint16, family byte, b []byte) error) (done bool, err error) {
	for len(b) > 0 {
		if len(b) < unix.SizeofNlMsghdr {
			return false, errNetlink
		}
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return false, errNetlink
		}
		kind, body := binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:size]
		switch {
		case kind == unix.NLMSG_DONE:
			return true, nil
		case kind == unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, errNetlink
			}
			if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
				return true, syscall.Errno(-code)
			}
			return true, nil
		case len(body) < 4:
			return false, errNetlink
		default:
			if err := f(kind, body[0], body[4:]); err != nil {
				return false, err
			}
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return false, nil
}
