package board

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"egovmon/agent/words"
)

const (
	// MaxExport is the most bytes of an export that the page takes. Larger ones are proven by the program.
	MaxExport = 1 << 30
	// maxKey bounds the verifier key that comes with an export.
	maxKey = 1 << 10
	// proofTime bounds an upload and its proof together.
	proofTime = 15 * time.Minute
)

// Why an export was not proven at all.
var (
	ErrExportLarge = errors.New("the export is too large")
	ErrProving     = errors.New("another export is being proven")
)

// A Prover shows how the log can be proven, and proves exports. Its errors wrap ErrForbidden for who may not.
type Prover interface {
	Standing(ctx context.Context) (Standing, error)
	// Prove reads an export, of at most MaxExport bytes, and proves it with a verifier key; "" for none. The error is for
	// what cannot be read as an export at all, and wraps ErrExportLarge or ErrProving.
	Prove(ctx context.Context, l words.Lang, key string, export io.Reader) (Proof, error)
}

// A Standing is how the log stands with those who can prove it.
type Standing struct {
	Origin     string // its name
	Key        string // verifier key
	Size       int64
	Root       string        // of the tree, base64
	Checkpoint string        // as it was signed last
	Round      int64         // leaves of the checkpoint that is being cosigned; 0 for none
	Begun      time.Time     // since when
	Every      time.Duration // from one round to the next
	Signers    []Signer
	Stamping   bool      // there is an authority of time stamps
	Stamped    time.Time // its last stamp; zero for none
	StampSize  int64     // leaves that it is over
}

// A Signer cosigns the log.
type Signer struct {
	Name  string
	At    time.Time // its last cosignature; zero while none is known
	Ended bool      // it is to cosign no more
}

// A Proof is what came of an export.
type Proof struct {
	OK   bool
	Text string // lines for people
}

// An auditPage is the log and its proofs.
type auditPage struct {
	Standing
	Count   string
	Round   string
	Stamp   signed
	Signers []signerItem
	Proof   *Proof
	Wrong   string
}

// A signed is a sign with words.
type signed struct{ Sign, Text string }

type signerItem struct {
	Sign, Name, Text string
}

func (h *handler) auditPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /audit", func(w http.ResponseWriter, r *http.Request) { h.writeAudit(w, r, http.StatusOK, auditPage{}) })
	mux.HandleFunc("POST /audit", h.prove)
}

// writeAudit fills the page in and writes it.
func (h *handler) writeAudit(w http.ResponseWriter, r *http.Request, status int, p auditPage) {
	l := language(w, r)
	s, err := h.prover.Standing(r.Context())
	switch {
	case errors.Is(err, ErrForbidden):
		h.say(w, r, http.StatusForbidden, true, "prove.forbidden")
		return
	case err != nil:
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	v, err := h.whole(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	p.Standing, p.Count = s, words.Number(l, s.Size)
	if s.Round > 0 {
		p.Round = words.Say(l, "prove.round", words.Number(l, s.Round), words.At(l, s.Begun, v.Now))
	}
	for _, x := range s.Signers {
		p.Signers = append(p.Signers, signerOf(l, x, s.Every, v.Now))
	}
	p.Stamp = stampOf(l, s, v.Now)
	w.Header().Set("Cache-Control", "no-store")
	h.write(w, r, status, frame{Title: words.Say(l, "prove.title"), Name: "audit", District: v.District.in(l), Lang: l, Still: true, Body: p})
}

// signerOf tells how old a cosignature is; one that missed two rounds is late.
func signerOf(l words.Lang, x Signer, every time.Duration, now time.Time) signerItem {
	i := signerItem{Sign: "unknown", Name: x.Name, Text: words.Say(l, "prove.never")}
	age := now.Sub(x.At)
	switch {
	case x.Ended:
		i.Sign, i.Text = "none", words.Say(l, "witness.ended")
	case x.At.IsZero():
	case age > 2*every:
		i.Sign, i.Text = "degraded", words.Say(l, "prove.late", words.DateTime(l, x.At), words.Duration(l, age))
	default:
		i.Sign, i.Text = "up", words.Say(l, "prove.signed", words.DateTime(l, x.At), words.Duration(l, age))
	}
	return i
}

// stampOf tells of the last time stamp.
func stampOf(l words.Lang, s Standing, now time.Time) signed {
	switch {
	case !s.Stamping:
		return signed{"none", words.Say(l, "prove.stamp.none")}
	case s.Stamped.IsZero():
		return signed{"unknown", words.Say(l, "prove.stamp.never")}
	}
	return signed{"up", words.Say(l, "prove.stamp", words.Number(l, s.StampSize), words.DateTime(l, s.Stamped), words.Duration(l, now.Sub(s.Stamped)))}
}

// prove takes an export as it comes: nothing of it is kept in memory.
func (h *handler) prove(w http.ResponseWriter, r *http.Request) {
	if _, err := h.prover.Standing(r.Context()); errors.Is(err, ErrForbidden) {
		h.say(w, r, http.StatusForbidden, true, "prove.forbidden")
		return
	}
	until := time.Now().Add(proofTime)
	c := http.NewResponseController(w)
	_, _ = c.SetReadDeadline(until), c.SetWriteDeadline(until.Add(time.Minute)) // where a server has none, nothing is lost
	ctx, stop := context.WithTimeout(r.Context(), proofTime)
	defer stop()
	r.Body = http.MaxBytesReader(w, r.Body, MaxExport+formRest)
	l := language(w, r)
	proof, err := h.proofOf(ctx, l, r)
	var large *http.MaxBytesError
	switch {
	case err == nil && proof == nil:
		h.say(w, r, http.StatusBadRequest, true, "prove.form")
	case errors.Is(err, ErrProving):
		h.writeAudit(w, r, http.StatusServiceUnavailable, auditPage{Wrong: words.Say(l, "prove.busy")})
	case errors.Is(err, ErrExportLarge), errors.As(err, &large):
		h.writeAudit(w, r, http.StatusRequestEntityTooLarge, auditPage{Wrong: words.Say(l, "prove.large")})
	case err != nil:
		h.log.Warn("board: an export could not be proven", "err", err)
		h.writeAudit(w, r, http.StatusUnprocessableEntity, auditPage{Wrong: words.Say(l, "prove.unreadable", oneLine(err.Error()))})
	default:
		h.writeAudit(w, r, http.StatusOK, auditPage{Proof: proof})
	}
}

// proofOf reads a form whose fields come in the order of the page: the key, then the export. It returns nil where there is none.
func (h *handler) proofOf(ctx context.Context, l words.Lang, r *http.Request) (*Proof, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, nil
	}
	key := ""
	for {
		part, err := form.NextPart()
		if err != nil {
			return nil, nil
		}
		switch {
		case part.FormName() == "key":
			b, err := io.ReadAll(io.LimitReader(part, maxKey+1))
			if err != nil || len(b) > maxKey {
				return nil, nil
			}
			key = oneLine(string(b))
		case part.FormName() == "export" && part.FileName() != "":
			p, err := h.prover.Prove(ctx, l, key, part)
			return &p, err
		default:
			return nil, nil
		}
	}
}
