//go:build !windows

package pkcs11

import (
	"fmt"
	"os"
	"syscall"
)

// trusted says why a module must not be loaded: only its owner, who is root or this user, may be able to change it.
func trusted(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !st.Mode().IsRegular() || !ok {
		return fmt.Errorf("module %s is no regular file", path)
	}
	if st.Mode().Perm()&0o022 != 0 || sys.Uid != 0 && sys.Uid != uint32(os.Geteuid()) {
		return fmt.Errorf("module %s can be changed by others: it must belong to root and be writable for root alone", path)
	}
	return nil
}
