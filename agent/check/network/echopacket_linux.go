package network

import (
	"bytes"
	"encoding/binary"
)

// ICMP message types. RFC 792, RFC 4443 section 4.
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129

	icmpHeader = 8
)

// putEcho writes an echo request over buf, which has room for header and payload. The checksum of ICMPv6 is the
// kernel's to fill in, since it covers addresses too.
func putEcho(buf []byte, v6 bool, id, seq uint16, payload []byte) []byte {
	b := append(buf[:0], 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, seq)
	b = append(b, payload...)
	if v6 {
		b[0] = echoRequest6
		return b
	}
	b[0] = echoRequest4
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// checksum is the Internet checksum. RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// parseReply returns the sequence number of an echo reply with this payload and, when anyID is false, this id. Other
// messages are not ours.
func parseReply(b []byte, v6, anyID bool, id uint16, payload []byte) (seq uint16, ours bool) {
	if len(b) < icmpHeader {
		return 0, false
	}
	want := byte(echoReply4)
	if v6 {
		want = echoReply6
	}
	if b[0] != want || b[1] != 0 || !anyID && binary.BigEndian.Uint16(b[4:]) != id || !bytes.Equal(b[icmpHeader:], payload) {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[6:]), true
}

// stripIPv4 returns what an IPv4 packet carries, and its time to live.
func stripIPv4(b []byte) (payload []byte, ttl int, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, 0, false
	}
	header := int(b[0]&0xf) * 4
	if header < 20 || header > len(b) {
		return nil, 0, false
	}
	return b[header:], int(b[8]), true
}
