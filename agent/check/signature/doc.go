// Package signature holds the kinds of check that judge what a digital signature needs: "ocsp" and "crl" (is a
// certificate revoked, and does anybody answer that), "tsa" (time stamps, RFC 3161), "trustlist" (the authorities that
// signing programs trust), "certs" (the certificates that people sign with), "signservice" (the signing program on this
// machine), "sign" (the whole act) and "mobilepki" (the service of signatures by mobile phone).
//
// An answer is verified as a program that relies on it would do it: who signed it, whether that signer may, whether it
// is for what was asked, and whether it holds now. What cannot be read as its format is "protocol"; what can be read
// and does not hold is "revocation_invalid" or "tsa_invalid". Answers may be signed over SHA-1, which old authorities
// still do; the certificates of a chain only where the plan allows it (sha1_chain). No result names a person.
package signature

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table {
	return check.Table{ocspKind(), crlKind(), tsaKind(), trustlistKind(), certsKind(), signserviceKind(), signKind(), mobilepkiKind()}
}
