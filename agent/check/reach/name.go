package reach

import (
	"fmt"

	"golang.org/x/net/idna"
)

// ASCIIHost returns a host name as it goes over the wire (RFC 5891), addresses as they are.
func ASCIIHost(host string) (string, error) {
	ascii := true
	for i := range len(host) {
		ascii = ascii && host[i] < 0x80
	}
	if ascii {
		return host, nil
	}
	s, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return "", fmt.Errorf("%q is no host name: %w", host, err)
	}
	return s, nil
}
