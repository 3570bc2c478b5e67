package pkcs11

import (
	"fmt"
	"os"
)

// trusted says why a module must not be loaded. Who may change a file below Program Files or System32 is the
// administrator's business.
func trusted(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("module %s is no regular file", path)
	}
	return nil
}
