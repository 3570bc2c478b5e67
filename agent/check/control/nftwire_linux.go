package control

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Numbers of the kernel's interface: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
const (
	nftMsgNewChain = 10<<8 | 3
	nftMsgNewRule  = 10<<8 | 6

	nftaChainTable, nftaChainName, nftaChainHook, nftaChainPolicy, nftaChainType = 1, 3, 4, 5, 7
	nftaHookNumber                                                               = 1
	nftaRuleTable, nftaRuleChain, nftaRuleExpressions                            = 1, 2, 4
	nftaListElement, nftaExprName, nftaExprData                                  = 1, 1, 2
	nftaImmediateData, nftaDataVerdict, nftaVerdictCode, nftaVerdictChain        = 2, 2, 1, 2
	nftaTargetName                                                               = 1
)

var errNetlink = errors.New("the kernel's answer about its rules cannot be read")

// attributes calls f for each netlink attribute of b (linux/netlink.h, struct nlattr).
func attributes(b []byte, f func(kind uint16, data []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errNetlink
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return errNetlink
		}
		kind := binary.NativeEndian.Uint16(b[2:]) & 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
		if err := f(kind, b[4:size]); err != nil {
			return err
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

// parseChain reads the payload of NFT_MSG_NEWCHAIN behind its nfgenmsg.
func parseChain(family byte, b []byte) (nftChain, error) {
	c := nftChain{family: family, hook: -1}
	err := attributes(b, func(kind uint16, data []byte) error {
		switch kind {
		case nftaChainTable:
			c.table = cstring(data)
		case nftaChainName:
			c.name = cstring(data)
		case nftaChainType:
			c.filter = cstring(data) == "filter"
		case nftaChainPolicy:
			v, err := number(data)
			c.drop = v == 0 // NF_DROP
			return err
		case nftaChainHook:
			return attributes(data, func(kind uint16, data []byte) error {
				if kind != nftaHookNumber {
					return nil
				}
				v, err := number(data)
				c.hook = int(v)
				return err
			})
		}
		return nil
	})
	return c, err
}

// parseRule reads the payload of NFT_MSG_NEWRULE behind its nfgenmsg: the rule and the chain that it stands in.
func parseRule(b []byte) (table, chain string, r nftRule, err error) {
	r.always = true
	err = attributes(b, func(kind uint16, data []byte) error {
		switch kind {
		case nftaRuleTable:
			table = cstring(data)
		case nftaRuleChain:
			chain = cstring(data)
		case nftaRuleExpressions:
			return attributes(data, func(kind uint16, data []byte) error {
				if kind != nftaListElement {
					return nil
				}
				return r.expression(data)
			})
		}
		return nil
	})
	return table, chain, r, err
}

// expression adds one expression. Whatever is not a verdict, a counter or a log is taken as a condition.
func (r *nftRule) expression(b []byte) error {
	var name string
	var data []byte
	err := attributes(b, func(kind uint16, d []byte) error {
		switch kind {
		case nftaExprName:
			name = cstring(d)
		case nftaExprData:
			data = d
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch name {
	case "counter", "log", "notrack":
	case "reject":
		r.does = nftDropped
	case "immediate":
		return r.immediate(data)
	case "target": // of iptables-nft
		return attributes(data, func(kind uint16, d []byte) error {
			if kind == nftaTargetName && cstring(d) == "REJECT" {
				r.does = nftDropped
			} else if kind == nftaTargetName {
				r.always = false
			}
			return nil
		})
	default:
		r.always = false
	}
	return nil
}

func (r *nftRule) immediate(b []byte) error {
	return within(b, nftaImmediateData, func(b []byte) error {
		return within(b, nftaDataVerdict, func(b []byte) error {
			return attributes(b, func(kind uint16, data []byte) error {
				switch kind {
				case nftaVerdictChain:
					r.target = cstring(data)
				case nftaVerdictCode:
					v, err := number(data)
					r.does = map[int32]nftDoes{0: nftDropped, 1: nftAccept, -3: nftJump, -4: nftJump, -5: nftReturn}[int32(v)]
					return err
				}
				return nil
			})
		})
	})
}

// within calls f for the content of each attribute of one kind.
func within(b []byte, kind uint16, f func([]byte) error) error {
	return attributes(b, func(k uint16, data []byte) error {
		if k != kind {
			return nil
		}
		return f(data)
	})
}

func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// number reads a 32-bit number in network order, as nf_tables has them.
func number(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("%w: a number of %d bytes", errNetlink, len(b))
	}
	return binary.BigEndian.Uint32(b), nil
}
