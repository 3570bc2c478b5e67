package signature

import (
	"crypto"
	_ "crypto/sha1" // the names and keys of OCSP, and the certificate identifiers of old time stamps
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// An algorithm is an AlgorithmIdentifier (RFC 5280, section 4.1.1.2).
type algorithm struct {
	oid    asn1.ObjectIdentifier
	params cryptobyte.String // one element, or empty
}

func readAlgorithm(s *cryptobyte.String, a *algorithm) bool {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, der.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) {
		return false
	}
	a.params = seq
	return true
}

func oidSHA1() asn1.ObjectIdentifier   { return asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26} }
func oidSHA256() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1} }
func oidSHA384() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2} }
func oidSHA512() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3} }

// hashByName returns the hash that an option names; SHA-256 when it names none.
func hashByName(name string) (crypto.Hash, asn1.ObjectIdentifier) {
	switch name {
	case "sha1":
		return crypto.SHA1, oidSHA1()
	case "sha384":
		return crypto.SHA384, oidSHA384()
	case "sha512":
		return crypto.SHA512, oidSHA512()
	default:
		return crypto.SHA256, oidSHA256()
	}
}

// hashOf returns the hash of an identifier, and false for one that we do not know.
func hashOf(oid asn1.ObjectIdentifier) (crypto.Hash, bool) {
	switch {
	case oid.Equal(oidSHA1()):
		return crypto.SHA1, true
	case oid.Equal(oidSHA256()):
		return crypto.SHA256, true
	case oid.Equal(oidSHA384()):
		return crypto.SHA384, true
	case oid.Equal(oidSHA512()):
		return crypto.SHA512, true
	}
	return 0, false
}

func digest(h crypto.Hash, data []byte) []byte {
	w := h.New()
	w.Write(data)
	return w.Sum(nil)
}

// signatureAlgorithm names the algorithm of a signature. Some identifiers name the key alone (RSA in CMS, RFC 3370,
// section 3.2); the hash is then the one given, which is 0 where there is none.
func signatureAlgorithm(a algorithm, hash crypto.Hash) (x509.SignatureAlgorithm, error) {
	type pair struct{ rsa, ecdsa, pss x509.SignatureAlgorithm }
	byHash := map[crypto.Hash]pair{
		crypto.SHA1:   {x509.SHA1WithRSA, x509.ECDSAWithSHA1, 0},
		crypto.SHA256: {x509.SHA256WithRSA, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS},
		crypto.SHA384: {x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS},
		crypto.SHA512: {x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS},
	}
	var found x509.SignatureAlgorithm
	switch oid := a.oid.String(); oid {
	case "1.2.840.113549.1.1.1":
		found = byHash[hash].rsa
	case "1.2.840.10045.2.1":
		found = byHash[hash].ecdsa
	case "1.2.840.113549.1.1.10":
		h, err := pssHash(a.params)
		if err != nil {
			return 0, err
		}
		found = byHash[h].pss
	case "1.2.840.113549.1.1.5":
		found = x509.SHA1WithRSA
	case "1.2.840.113549.1.1.11":
		found = x509.SHA256WithRSA
	case "1.2.840.113549.1.1.12":
		found = x509.SHA384WithRSA
	case "1.2.840.113549.1.1.13":
		found = x509.SHA512WithRSA
	case "1.2.840.10045.4.1":
		found = x509.ECDSAWithSHA1
	case "1.2.840.10045.4.3.2":
		found = x509.ECDSAWithSHA256
	case "1.2.840.10045.4.3.3":
		found = x509.ECDSAWithSHA384
	case "1.2.840.10045.4.3.4":
		found = x509.ECDSAWithSHA512
	case "1.3.101.112":
		found = x509.PureEd25519
	}
	if found == 0 {
		return 0, fmt.Errorf("signature algorithm %s is not known here", a.oid)
	}
	return found, nil
}

// pssHash returns the hash of RSASSA-PSS parameters (RFC 4055, section 3.1).
func pssHash(params cryptobyte.String) (crypto.Hash, error) {
	var seq, inner cryptobyte.String
	var a algorithm
	hashTag := der.Tag(0).ContextSpecific().Constructed()
	if params.ReadASN1(&seq, der.SEQUENCE) && seq.ReadASN1(&inner, hashTag) && readAlgorithm(&inner, &a) {
		if h, ok := hashOf(a.oid); ok {
			return h, nil
		}
	}
	return 0, errors.New("RSASSA-PSS with parameters that are not known here")
}
