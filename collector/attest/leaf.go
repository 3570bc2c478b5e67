package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/profile"
)

const leafTime = "2006-01-02T15:04:05.000Z"

// fields are the values of the leaf, by key. Empty ones are left out.
func (a Attestation) fields() map[string]string {
	all := map[string]string{
		"control": a.Control, "unit": a.Unit, "finding": string(a.Finding), "number": a.Number, "issued": a.Issued.String(),
		"issuer": a.Issuer, "signer": a.Signer, "valid_to": a.ValidTo.String(), "organisation": a.Organisation,
		"organisation_id": a.OrganisationID, "note": a.Note, "entered_by": a.EnteredBy,
		"entered_at": a.EnteredAt.UTC().Format(leafTime), "approved_by": a.ApprovedBy,
	}
	if a.Document != (evidence.Ref{}) && !a.Stored {
		all["document"] = a.Document.String() // else the blob says it
	}
	for k, v := range all {
		if v == "" {
			delete(all, k)
		}
	}
	return all
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
	bad := func(key string, err error) (Attestation, error) {
		return Attestation{}, fmt.Errorf("attestation in leaf %d: %s %q: %w; a newer version may have written it", index, key, l.Field(key), err)
	}
	if a.Control == "" || a.Unit == "" || a.Number == "" {
		return Attestation{}, fmt.Errorf("attestation in leaf %d lacks control, unit or number", index)
	}
	if !slices.Contains(Findings(), a.Finding) {
		return bad("finding", fmt.Errorf("none of %v", Findings()))
	}
	var err error
	for key, d := range map[string]*profile.Date{"issued": &a.Issued, "valid_to": &a.ValidTo} {
		if s := l.Field(key); s != "" {
			if *d, err = profile.ParseDate(s); err != nil {
				return bad(key, err)
			}
		}
	}
	if a.EnteredAt, err = time.Parse(leafTime, l.Field("entered_at")); err != nil {
		return bad("entered_at", err)
	}
	a.Acted = l.Field("approves") != ""
	if blob, ok := l.Blob(); ok {
		a.Document, a.Stored, a.Blob = blob, true, index
	} else if s := l.Field("document"); s != "" {
		if a.Document, err = parseRef(s); err != nil {
			return bad("document", err)
		}
		if k := l.Field("kept_in"); k != "" {
			if a.Blob, err = strconv.ParseInt(k, 10, 64); err != nil || a.Blob < 0 {
				return bad("kept_in", errors.New("no leaf"))
			}
			a.Stored = true
		}
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
