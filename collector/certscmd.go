package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"egovmon/agent/check/certlist"
	"egovmon/agent/check/signature"
	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/collector/certs"
	"egovmon/collector/profile"
)

const pathCerts = "/api/local/certs"

// maxCertFiles bounds the files of one command.
const maxCertFiles = 200

// holders keeps the register of certificates, read from the log as it grows.
type holders struct {
	mu       sync.Mutex
	register certs.Register
	// standings are what was learnt of the certificates in force, by the SHA-256 of each.
	standings map[[sha256.Size]byte]signature.Standing
}

// certificates lists the register.
func (c *center) certificates() ([]certs.Entry, error) {
	list, err := readBook[certs.Log, certs.Entry](&c.holders.mu, &c.holders.register, c.store)
	c.holders.stand(list)
	return list, err
}

// A certsRequest is what people do with the register; one of Files and Remove is set.
type certsRequest struct {
	Unit   string   `json:"unit,omitempty"`
	Files  [][]byte `json:"files,omitempty"`
	Remove *int64   `json:"remove,omitempty"` // the certificate's leaf
}

// A certsAnswer is the register as who asks may see it.
type certsAnswer struct {
	Added        certs.Added   `json:"added"`
	Units        []certsUnit   `json:"units"`
	Certificates []certificate `json:"certificates,omitempty"` // for who may see names
}

// A certsUnit is how many certificates of a unit are in each class.
type certsUnit struct {
	certs.Tally
	Days map[string]int `json:"days"` // ended, 15, 30, 60, later
}

// A certificate is one of the register. It names a person.
type certificate struct {
	Leaf   int64     `json:"leaf"`
	Unit   string    `json:"unit"`
	Holder string    `json:"holder"`
	Of     []string  `json:"of"` // organisations and parts that it names
	Serial string    `json:"serial"`
	Ends   time.Time `json:"ends"`
	// Revocation is good, revoked, stray (it leads to none of the roots), or left out: not known.
	Revocation string `json:"revocation,omitempty"`
}

var errForeignCerts = errors.New("you enter certificates of your own unit alone")

// seesHolders reports whether somebody may see whose certificates there are: the office in charge and administrators.
func seesHolders(w access.Who) bool {
	return w.Unit == "" && (w.Role == access.RoleOperator || w.Role == access.RoleAdmin || w.Name == access.Program)
}

// changeCerts does what a request asks for.
func (c *center) changeCerts(ctx context.Context, req certsRequest, w access.Who) (a certs.Added, err error) {
	if req.Remove != nil {
		if !seesHolders(w) {
			return a, errForeignCerts
		}
		known, err := c.certificates()
		if err != nil {
			return a, err
		}
		return a, certs.Remove(ctx, c.store, known, *req.Remove, w.Name, c.now())
	}
	if w.Unit != "" && w.Unit != req.Unit {
		return a, errForeignCerts
	}
	if err := c.knowsUnit(&req.Unit); err != nil || req.Unit == "" {
		return a, cmpErr(err, errors.New("unit: missing: write the unit whose people the certificates are of"))
	}
	if len(req.Files) == 0 || len(req.Files) > maxCertFiles {
		return a, fmt.Errorf("%d files, want 1 to %d", len(req.Files), maxCertFiles)
	}
	for i, text := range req.Files {
		known, err := c.certificates()
		if err != nil {
			return a, err
		}
		one, err := certs.Add(ctx, c.store, known, req.Unit, w.Name, text, c.now())
		if err != nil && len(req.Files) > 1 {
			err = fmt.Errorf("file %d of %d: %w; those before it are in the register", i+1, len(req.Files), err)
		}
		if err != nil {
			return a, err
		}
		a.New, a.Known, a.Skipped = a.New+one.New, a.Known+one.Known, a.Skipped+one.Skipped
	}
	return a, nil
}

// cmpErr returns the first error that is one.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// unitNames are what a unit is called today, in Vietnamese.
func unitNames(p *profile.Profile, now time.Time) func(unit string) []string {
	return func(unit string) []string {
		if n := unitName(p, unit, now); n.VI != "" && n.VI != unit {
			return []string{n.VI}
		}
		return nil
	}
}

// seen is the register as somebody may see it.
func (c *center) seenCerts(w access.Who) (a certsAnswer, err error) {
	list, err := c.certificates()
	if err != nil {
		return a, err
	}
	if w.Unit != "" {
		list = slices.DeleteFunc(list, func(e certs.Entry) bool { return e.Unit != w.Unit })
	}
	now := c.now()
	for _, t := range certs.Tallies(list, unitNames(c.district(), now), now) {
		a.Units = append(a.Units, certsUnit{t, map[string]int{"ended": t.Classes[certlist.Ended], "15": t.Classes[certlist.In15], "30": t.Classes[certlist.In30],
			"60": t.Classes[certlist.In60], "later": t.Classes[certlist.Later]}})
	}
	if !seesHolders(w) {
		return a, nil
	}
	for _, e := range list {
		x := certificate{Leaf: e.Leaf, Unit: e.Unit}
		if e.Cert != nil {
			x.Revocation = standingWord(e.Standing)
			x.Holder, x.Of, x.Serial, x.Ends = e.Cert.Subject.CommonName, certlist.Units(e.Cert), fmt.Sprintf("%x", e.Cert.SerialNumber), e.Cert.NotAfter
		}
		a.Certificates = append(a.Certificates, x)
	}
	return a, nil
}

// certNotices say on the first page how many certificates have ended or end soon, from 60 days before; of whom stands on
// the page of certificates, for who may see it.
func (c *center) certNotices(p *profile.Profile, now time.Time) []board.Name {
	list, err := c.certificates()
	if err != nil || len(list) == 0 {
		return nil
	}
	var n [certlist.Classes]int
	revoked := 0
	for _, t := range certs.Tallies(list, unitNames(p, now), now) {
		revoked += t.Revoked
		for class, k := range t.Classes {
			n[class] += k
		}
	}
	var out []board.Name
	if revoked > 0 {
		out = append(out, said("certs.notice.revoked", revoked))
	}
	if n[certlist.Ended]+n[certlist.In15]+n[certlist.In30]+n[certlist.In60] > 0 {
		out = append(out, said("certs.notice", n[certlist.Ended], n[certlist.In15], n[certlist.In30], n[certlist.In60]))
	}
	return out
}

func (c *center) certsHandler(w http.ResponseWriter, r *http.Request) {
	who := access.Of(r.Context())
	if r.Method == http.MethodGet {
		a, err := c.seenCerts(who)
		answer(w, a, err)
		return
	}
	change(w, r, 8*certs.MaxUpload, errForeignCerts.Error(), func(req certsRequest) (certsAnswer, error) { return c.changedCerts(r.Context(), req, who) })
}

// changedCerts does what a request asks for, and answers the register afterwards.
func (c *center) changedCerts(ctx context.Context, req certsRequest, w access.Who) (certsAnswer, error) {
	added, err := c.changeCerts(ctx, req, w)
	if err != nil {
		return certsAnswer{}, err
	}
	a, err := c.seenCerts(w)
	a.Added = added
	return a, err
}

func runCerts(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newCommand("certs", "The register of the certificates that people sign with: `certs list`, `certs add --unit ID FILE…` (PEM, DER, PKCS#7; public\n"+
		"certificates alone, private keys are refused), `certs remove LEAF`. The names are for the office in charge: do not pass the list on.", "write JSON", stdout, stderr)
	unit := fs.String("unit", "", "add: the unit's `ID`")
	word, rest, ok, code := fs.deed(args, maxCertFiles+1, "list")
	if !ok {
		return code
	}
	var req any
	switch add := (certsRequest{Unit: *unit}); {
	case word == "list" && len(rest) == 0:
	case word == "add" && len(rest) > 0:
		for _, name := range rest {
			text, err := readBounded(name, certs.MaxUpload)
			if err == nil {
				_, err = certlist.Parse(text) // a private key does not even leave for the collector
			}
			if err != nil {
				return fs.fail(exitUsage, fmt.Errorf("%s: %w", name, err))
			}
			add.Files = append(add.Files, text)
		}
		req = add
	case word == "remove" && len(rest) == 1:
		leaf, err := fs.leaf(rest[0], "list")
		if err != nil {
			return fs.fail(exitUsage, err)
		}
		req = certsRequest{Unit: *unit, Remove: leaf}
	default:
		return fs.fail(exitUsage, errors.New("write list, add --unit ID FILE…, or remove LEAF"))
	}
	return consult(ctx, fs, pathCerts, req, func(c *center) (certsAnswer, error) {
		if req, ok := req.(certsRequest); ok {
			return c.changedCerts(ctx, req, access.Who{Name: access.Program})
		}
		return c.seenCerts(access.Who{Name: access.Program})
	}, func(a certsAnswer) int { return printCerts(stdout, word, a) })
}

func printCerts(w io.Writer, word string, a certsAnswer) int {
	if word == "add" {
		fmt.Fprintf(w, "%d entered, %d were there before, %d of authorities passed over.\n", a.Added.New, a.Added.Known, a.Added.Skipped)
		return exitDone
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "LEAF\tUNIT\tENDS\tREVOCATION\tHOLDER\tOF")
	for _, x := range a.Certificates {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", x.Leaf, x.Unit, x.Ends.In(profile.Zone()).Format(time.DateOnly), cmp.Or(x.Revocation, "?"), printable(x.Holder), printable(strings.Join(x.Of, ", ")))
	}
	if t.Flush() != nil {
		return exitFailed
	}
	return exitDone
}

// printable takes what a terminal would obey out of a text that a certificate holds.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x202e || r >= 0x2060 && r <= 0x206f {
			return -1
		}
		return r
	}, s)
}

// A registrar is the board's page of certificates.
type registrar struct{ c *center }

// Rights tells what who asks may do: enter certificates (by is ""  for who may not) for one unit or all, and see whose
// there are.
func (g registrar) Rights(ctx context.Context) (by, unit string, names bool) {
	w := access.Of(ctx)
	by, _ = entersDocuments(ctx)
	return by, w.Unit, w.Person && seesHolders(w)
}

// Certificates lists the register, with certificates or, for who may not see names, without.
func (g registrar) Certificates(ctx context.Context) ([]board.Certificates, error) {
	list, err := g.c.certificates()
	if err != nil {
		return nil, err
	}
	w, now, p := access.Of(ctx), g.c.now(), g.c.district()
	var out []board.Certificates
	for _, t := range certs.Tallies(list, unitNames(p, now), now) {
		if w.Unit != "" && w.Unit != t.Unit {
			continue
		}
		x := board.Certificates{Tally: t, Name: unitName(p, t.Unit, now)}
		if w.Person && seesHolders(w) {
			x.List = slices.DeleteFunc(slices.Clone(list), func(e certs.Entry) bool { return e.Unit != t.Unit })
		}
		out = append(out, x)
	}
	return out, nil
}

// Enter enters the certificates of a file.
func (g registrar) Enter(ctx context.Context, unit string, text []byte) (certs.Added, error) {
	return g.c.changeCerts(ctx, certsRequest{Unit: unit, Files: [][]byte{text}}, access.Of(ctx))
}

// Remove takes a certificate off the register.
func (g registrar) Remove(ctx context.Context, leaf int64) error {
	_, err := g.c.changeCerts(ctx, certsRequest{Remove: &leaf}, access.Of(ctx))
	return err
}
