package signature

import "testing"

// The stores of this account and machine can be read, whatever is in them.
func TestWindowsStore(t *testing.T) {
	for _, name := range []string{"user", "machine"} {
		if certs, err := windowsStore(name); err != nil {
			t.Errorf("%s: %d certificates, %v", name, len(certs), err)
		}
	}
}
