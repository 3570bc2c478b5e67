package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"egovmon/collector/evidence"
	"egovmon/collector/filing"
)

// fields are the values of the leaf, by key. Empty ones are left out.
func (a Attestation) fields() map[string]string {
	all := map[string]string{
		"control": a.Control, "unit": a.Unit, "finding": string(a.Finding), "number": a.Number, "issued": a.Issued.String(),
		"issuer": a.Issuer, "signer": a.Signer, "valid_to": a.ValidTo.String(), "organisation": a.Organisation,
		"organisation_id": a.OrganisationID, "note": a.Note, "entered_by": a.EnteredBy,
		"entered_at": filing.Stamp(a.EnteredAt), "approved_by": a.ApprovedBy,
	}
	if a.Document != (evidence.Ref{}) && !a.Stored {
		all["document"] = a.Document.String() // else the blob says it
	}
	return filing.Said(all)
}

// Parse reads an attestation back from its leaf. A leaf that says what this version does not know is an error.
func Parse(l evidence.Leaf, index int64) (Attestation, error) {
	if l.Type() != evidence.Attestation {
		return Attestation{}, fmt.Errorf("leaf %d is of type %s, not %s", index, l.Type(), evidence.Attestation)
	}
	a := Attestation{
		Control: l.Field("control"), Unit: l.Field("unit"), Finding: Finding(l.Field("finding")), Number: l.Field("number"),
		Issuer: l.Field("issuer"), Signer: l.Field("signer"), Organisation: l.Field("organisation"),
		OrganisationID: l.Field("organisation_id"), Note: l.Field("note"), EnteredBy: l.Field("entered_by"),
		ApprovedBy: l.Field("approved_by"), Leaf: index,
	}
	v := filing.NewValues(l, index, "attestation")
	if a.Control == "" || a.Unit == "" || a.Number == "" {
		return Attestation{}, fmt.Errorf("attestation in leaf %d lacks control, unit or number", index)
	}
	if !slices.Contains(Findings(), a.Finding) {
		v.Bad("finding", fmt.Errorf("none of %v", Findings()))
	}
	if l.Field("issued") != "" {
		a.Issued = v.Date("issued")
	}
	if l.Field("valid_to") != "" {
		a.ValidTo = v.Date("valid_to")
	}
	a.EnteredAt = v.Stamp("entered_at")
	a.Acted = l.Field("approves") != ""
	if blob, ok := l.Blob(); ok {
		a.Document, a.Stored, a.Blob = blob, true, index
	} else if s := l.Field("document"); s != "" {
		var err error
		if a.Document, err = parseRef(s); err != nil {
			v.Bad("document", err)
		}
		if k := l.Field("kept_in"); k != "" {
			if a.Blob, err = strconv.ParseInt(k, 10, 64); err != nil || a.Blob < 0 {
				v.Bad("kept_in", errors.New("no leaf"))
			}
			a.Stored = true
		}
	}
	if err := v.Err(); err != nil {
		return Attestation{}, err
	}
	return a, nil
}

// parseRef reads what Ref.String writes. Documents may be larger than a blob.
func parseRef(s string) (r evidence.Ref, err error) {
	digest, size, _ := strings.Cut(s, " ")
	b, err := hex.DecodeString(digest)
	if err != nil || len(b) != len(r.SHA256) {
		return r, fmt.Errorf("no SHA-256 in hex and size")
	}
	copy(r.SHA256[:], b)
	if r.Size, err = strconv.ParseInt(size, 10, 64); err != nil || r.Size < 0 {
		return evidence.Ref{}, fmt.Errorf("no SHA-256 in hex and size")
	}
	return r, nil
}
