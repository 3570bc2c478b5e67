package servers

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
)

// A DKIMKey is what the letters of a domain are signed with (RFC 6376), of selector s1.
type DKIMKey struct{ key *rsa.PrivateKey }

// NewDKIMKey makes a key.
func NewDKIMKey() (*DKIMKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &DKIMKey{key}, nil
}

// record is the key as it stands in the domain's zone.
func (k *DKIMKey) record() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.key.Public())
	if err != nil {
		return "", err
	}
	public := base64.StdEncoding.EncodeToString(der)
	return fmt.Sprintf(`s1._domainkey TXT "v=DKIM1; k=rsa; p=%s" "%s"`, public[:200], public[200:]), nil // a string has at most 255 bytes
}

// MailRecords makes the records of a mail domain for its zone: where its letters go (MX), who may send for it (SPF, RFC 7208), the
// key that its letters are signed with (DKIM, RFC 6376, selector s1) and what to do with others (DMARC, RFC 7489). host is the
// server's name below the zone.
func MailRecords(host string, ip netip.Addr, k *DKIMKey) ([]string, error) {
	key, err := k.record()
	if err != nil {
		return nil, err
	}
	kind, mechanism := "A", "ip4"
	if ip.Is6() {
		kind, mechanism = "AAAA", "ip6"
	}
	return []string{
		"@ MX 10 " + host,
		fmt.Sprintf("%s %s %s", host, kind, ip),
		fmt.Sprintf(`@ TXT "v=spf1 %s:%s -all"`, mechanism, ip),
		key,
		`_dmarc TXT "v=DMARC1; p=quarantine"`,
	}, nil
}

// BreakSPF adds a second SPF record to those of a mail domain: with two of them receivers can verify nothing (RFC 7208, section 4.5).
func BreakSPF(records []string) []string {
	return append(append([]string(nil), records...), `@ TXT "v=spf1 a mx ~all"`)
}
