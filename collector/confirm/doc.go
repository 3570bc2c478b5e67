// Package confirm keeps what people confirm of services that nothing can measure from a commune (kind attested): a document says
// how the service is, from a time on and for how long that counts. Afterwards the service is evidence_expired, before the first
// word evidence_missing, both unknown.
//
// Every confirmation is a leaf of type attestation that names a service, and so is taking one back; an auditor works the same
// state out of the same leaves ([Apply]). A word entered later takes the place of an earlier one from its own beginning on.
package confirm
