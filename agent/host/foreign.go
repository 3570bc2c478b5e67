package host

import (
	"crypto/x509"
	"fmt"
	"strings"
)

// A ForeignError says that who answered is not the collector: the chain it showed does not end in the district's key.
// Nothing was sent to it.
type ForeignError struct {
	Subject string // of the certificate it showed, "" for none; untrusted, as is Issuer
	Issuer  string // who signed the last certificate of its chain
	// Inspected: the certificate carries the collector's name, so that somebody on the way opens the connection and
	// signs it anew (TLS inspection). Without it, another server answered.
	Inspected bool
	Err       error // of the verification
}

// Error says what was shown, and what to do.
func (e *ForeignError) Error() string {
	switch {
	case e.Subject == "" && e.Issuer == "":
		return "the collector showed no certificate; nothing was sent"
	case e.Inspected:
		return fmt.Sprintf("the connection is opened on the way (TLS inspection): the certificate of %.120q was signed anew by %.120q; nothing was sent: "+
			"have the collector's address left out of the inspection", e.Subject, e.Issuer)
	}
	return fmt.Sprintf("it showed a certificate of %.120q issued by %.120q, which is not below the district's key; nothing was sent", e.Subject, e.Issuer)
}

// Unwrap returns the error of the verification.
func (e *ForeignError) Unwrap() error { return e.Err }

// CollectorName begins the common name of each collector's certificate.
const CollectorName = "egovmon collector "

// Foreign describes a chain that is not the collector's. name is the host that was asked for, "" for an address.
func Foreign(chain []*x509.Certificate, name string, err error) *ForeignError {
	e := &ForeignError{Err: err}
	if len(chain) == 0 {
		return e
	}
	leaf := chain[0]
	e.Subject, e.Issuer = leaf.Subject.String(), chain[len(chain)-1].Issuer.String()
	e.Inspected = strings.HasPrefix(leaf.Subject.CommonName, CollectorName) || name != "" && leaf.VerifyHostname(name) == nil
	return e
}
