package servers

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
)

// MailRecords makes the records of a mail domain for its zone: where its letters go (MX), who may send for it (SPF, RFC 7208), the
// key that its letters are signed with (DKIM, RFC 6376, selector s1) and what to do with others (DMARC, RFC 7489). host is the
// server's name below the zone.
func MailRecords(host string, ip netip.Addr) ([]string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	public := base64.StdEncoding.EncodeToString(der)
	kind, mechanism := "A", "ip4"
	if ip.Is6() {
		kind, mechanism = "AAAA", "ip6"
	}
	return []string{
		"@ MX 10 " + host,
		fmt.Sprintf("%s %s %s", host, kind, ip),
		fmt.Sprintf(`@ TXT "v=spf1 %s:%s -all"`, mechanism, ip),
		fmt.Sprintf(`s1._domainkey TXT "v=DKIM1; k=rsa; p=%s" "%s"`, public[:200], public[200:]), // a string has at most 255 bytes
		`_dmarc TXT "v=DMARC1; p=quarantine"`,
	}, nil
}

// BreakSPF adds a second SPF record to those of a mail domain: with two of them receivers can verify nothing (RFC 7208, section 4.5).
func BreakSPF(records []string) []string {
	return append(append([]string(nil), records...), `@ TXT "v=spf1 a mx ~all"`)
}
