package signature

import (
	"bytes"
	"crypto/x509"
	"unsafe"

	"golang.org/x/sys/windows"
)

// windowsStore reads the certificates of the store "My" of the account that the agent runs as ("user") or of the
// machine. Private keys are neither read nor asked for.
func windowsStore(name string) ([]*x509.Certificate, error) {
	my, err := windows.UTF16PtrFromString("MY")
	if err != nil {
		return nil, err
	}
	where := uint32(windows.CERT_SYSTEM_STORE_CURRENT_USER)
	if name == "machine" {
		where = windows.CERT_SYSTEM_STORE_LOCAL_MACHINE
	}
	flags := where | windows.CERT_STORE_READONLY_FLAG | windows.CERT_STORE_OPEN_EXISTING_FLAG
	store, err := windows.CertOpenStore(windows.CERT_STORE_PROV_SYSTEM_W, 0, 0, flags, uintptr(unsafe.Pointer(my)))
	if err == windows.ERROR_FILE_NOT_FOUND {
		return nil, nil // an account that never had a certificate has no store
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = windows.CertCloseStore(store, 0) }()
	var certs []*x509.Certificate
	for at := (*windows.CertContext)(nil); len(certs) < maxUserCerts; {
		// Each call gives the one before up.
		if at, err = windows.CertEnumCertificatesInStore(store, at); err != nil || at == nil {
			return certs, nil
		}
		raw := bytes.Clone(unsafe.Slice(at.EncodedCert, at.Length))
		if c, err := x509.ParseCertificate(raw); err == nil {
			certs = append(certs, c)
		}
	}
	return certs, nil
}
