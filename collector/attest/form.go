package attest

import "flag"

// Flags adds the fields of the form to a set of flags; the document itself is for the caller's own flag.
func (f *Form) Flags(set *flag.FlagSet) {
	set.StringVar(&f.Control, "control", "", "the control's `ID`, e.g. a02")
	set.StringVar(&f.Unit, "unit", "", "the unit's `ID` in the profile, e.g. xa-an-thanh")
	set.StringVar(&f.Number, "number", "", "`NUMBER` and symbol of the document, e.g. 12/QĐ-UBND")
	set.StringVar(&f.Issued, "issued", "", "the day of issue, `YYYY-MM-DD`")
	set.StringVar(&f.Issuer, "issuer", "", "the `OFFICE` or company that issued it")
	set.StringVar(&f.Signer, "signer", "", "the `PERSON` who signed it")
	set.StringVar(&f.ValidTo, "valid-to", "", "the last day on which it counts, `YYYY-MM-DD`; default as the control's cycle says")
	set.StringVar(&f.Finding, "finding", string(Met), "what it shows: met, in_part, not_met, not_applicable, or withdrawn to take a document back")
	set.StringVar(&f.Organisation, "organisation", "", "a07: `WHO` watches; a09: who assessed")
	set.StringVar(&f.OrganisationID, "organisation-id", "", "its tax `NUMBER`")
	set.StringVar(&f.Note, "note", "", "`WHY`, for not_applicable and withdrawn")
	set.StringVar(&f.ApprovedBy, "approved-by", "", "the second `PERSON`, who approved it")
	set.StringVar(&f.SHA256, "sha256", "", "the document's SHA-256 in `HEX`: compared with the file, or in its place")
	set.Int64Var(&f.Size, "size", 0, "the document's size in `BYTES`, when only its hash is given")
}
