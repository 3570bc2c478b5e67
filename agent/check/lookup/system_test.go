package lookup

import (
	"slices"
	"testing"
)

func TestParseResolvConf(t *testing.T) {
	const text = "# nameserver 192.0.2.9\nsearch tuky.test\nnameserver 192.0.2.1\nnameserver\nnameserver fe80::1%eth0 # home\nnameserver dns.test\n nameserver 192.0.2.1\noptions ndots:1"
	var got []string
	for _, s := range parseResolvConf([]byte(text)) {
		got = append(got, s.String())
	}
	if want := []string{"192.0.2.1:53", "[fe80::1%eth0]:53"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nnameserver ::1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n := len(parseResolvConf(text)); n > MaxServers {
			t.Errorf("%d servers", n)
		}
	})
}
