//go:build !windows

package signature

import (
	"crypto/x509"
	"errors"
)

// windowsStore is of Windows alone.
func windowsStore(string) ([]*x509.Certificate, error) { return nil, errors.ErrUnsupported }
