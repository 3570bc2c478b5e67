// Package attest keeps what cannot be measured of the model "4 lớp": controls that a document proves. An [Attestation]
// is one document of one unit for one control, with its number, dates, signer and hash, and who entered and approved it.
// It is a leaf of type attestation in the evidence log, whose blob is the document; what is in force is folded from the
// leaves and can be made again at any time.
//
// [StateOf] judges the documents of one control, [Independent] the rule that layer 3 is assessed by somebody else than
// layer 2 is watched by, and [NewMatrix] puts attested and measured controls side by side, by unit and layer, without
// ever adding the one to the other. They are pure: the time is passed in. Reading documents and the log stands in log.go.
package attest
