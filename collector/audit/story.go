package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/wire"
	"egovmon/collector/confirm"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/intake"
	"egovmon/collector/report"
)

const (
	lateAfter  = time.Hour       // from sealing to receipt: the time of the batch is then proved late
	clockSlack = 5 * time.Minute // by which a receipt may seem to be before the one before it
	maxFile    = 4 << 20         // bytes of one file of a profile
	maxKept    = 1 << 30         // bytes of plans and profile files that are held in memory
)

// A head is the last batch of a journal.
type head struct {
	seq    uint64
	hash   string
	sealed time.Time
}

// A story is what the leaves of the log tell, one after the other.
type story struct {
	v      *verifier
	roll   *enrol.Roll
	fold   *intake.Fold
	heads  map[string]*head  // by "MACHINE JOURNAL"
	plans  map[int64][]byte  // texts of plans, and dictionaries, by leaf
	slots  map[string]*slots // by machine
	last   time.Time         // of the latest receipt
	kept   int64             // bytes of plans and profile files
	broken bool              // something is wrong that the figures hang on
	refig  *refigure         // nil where no figures are to be worked out
	former []*former         // logs before this one, the latest first
	watch  watchers
	absent []absent
	times  []uint32 // Unix time that the log had come to before each leaf; 0 before the first receipt
	stones []evidence.Removal
	// stampAt is the latest time stamp that leads to a root that was given, and stampLeaf where it stands.
	stampAt   time.Time
	stampLeaf int64
	// reports are those that were issued.
	reports report.Register
	// recovery is the key that ends a log and begins the next; nil until the log has named it.
	recovery note.Verifier
}

func newStory(ctx context.Context, v *verifier) (*story, error) {
	s := &story{v: v, roll: enrol.NewRoll(), heads: map[string]*head{}, watch: watchers{by: map[string]*Signer{}}, plans: map[int64][]byte{}, slots: map[string]*slots{}}
	var err error
	s.fold, err = intake.NewFold(v.o.Kinds, func(leaf int64) ([]byte, error) {
		text, ok := s.plans[leaf]
		if !ok {
			return nil, fmt.Errorf("leaf %d holds no plan and no dictionary", leaf)
		}
		return text, nil
	})
	if err != nil {
		return nil, err
	}
	if v.o.Figures != nil || v.o.Batch != nil {
		s.refig, err = newRefigure(ctx, v)
	}
	return s, err
}

func (s *story) close() {
	if s.refig != nil {
		s.refig.close()
	}
}

// tell takes in the next leaf, with its blob proved, and its body as far as it is there.
func (s *story) tell(ctx context.Context, e evidence.Stored) error {
	if err := s.logs(e); err != nil {
		return err
	}
	if e.Leaf.Type() == evidence.AgentKey {
		m, _ := s.roll.Machine(e.Leaf.Field("machine"))
		if err := enrol.Vouched(m, e); err != nil {
			s.wrong(BadKey, e.Index, "%v", err)
		}
	}
	if err := s.roll.Apply(e); err != nil {
		s.wrong(BadLeaf, e.Index, "%v", err)
	}
	s.passes(e.Index)
	s.times = append(s.times, uint32(max(0, min(s.last.Unix(), math.MaxUint32))))
	if err := s.watch.book.Apply(e); err != nil {
		s.wrong(BadLeaf, e.Index, "%v", err)
	}
	switch e.Leaf.Type() {
	case evidence.Cosigned:
		s.cosigned(e)
	case evidence.Tombstone:
		s.tombstone(e)
	case evidence.Stamp:
		s.stamped(e)
	case evidence.Report:
		s.issued(e)
	case evidence.Dictionary:
		if s.keep(e, wire.MaxDictionary) {
			s.plans[e.Index] = e.Blob
		}
	case evidence.Plan:
		sum := sha256.Sum256(e.Blob)
		if e.Blob != nil && hex.EncodeToString(sum[:]) != e.Leaf.Field("sha256") {
			s.wrong(BadBlob, e.Index, "leaf %d (%s) holds another plan than it names", e.Index, describe(e.Leaf))
		}
		if s.keep(e, plan.MaxBytes) {
			s.plans[e.Index] = e.Blob
		}
	case evidence.Batch:
		if !s.batch(e) {
			s.broken = true
		}
	}
	if at, err := time.Parse(time.RFC3339, e.Leaf.Field("entered_at")); (e.Leaf.Type() == evidence.Exclusion || confirm.Is(e.Leaf)) && err == nil && s.last.Sub(at) > clockSlack {
		s.v.found(Backdated, e.Index, "leaf %d (%s) says that it was entered at %s; a receipt before it in the log is of %s", e.Index, describe(e.Leaf),
			at.Format(time.RFC3339), s.last.Format(time.RFC3339))
	}
	if s.refig != nil && e.Index < s.refig.given.Leaves {
		s.refig.book.Take(e.Leaf, e.Index)
		s.refig.said.Take(e.Leaf, e.Index)
	}
	if name, ok := s.profileFile(e); ok && s.keep(e, maxFile) {
		s.refig.files[name] = e.Blob
	}
	if s.broken {
		return nil
	}
	a, ok, err := s.fold.Feed(e)
	if err != nil {
		s.wrong(BadLeaf, e.Index, "leaf %d (%s) cannot be judged: %v", e.Index, describe(e.Leaf), err)
		return nil
	}
	if ok && e.Body != nil {
		s.accepted(a)
		if s.refig != nil {
			return s.refig.add(ctx, a)
		}
	}
	return nil
}

// profileFile names the file that a leaf holds, if the given figures rest on it.
func (s *story) profileFile(e evidence.Stored) (name string, ok bool) {
	if s.refig == nil || e.Index >= s.refig.given.Leaves {
		return "", false
	}
	switch e.Leaf.Type() {
	case evidence.Profile, evidence.Calendar, evidence.Target:
		name = e.Leaf.Field("file")
		return name, profileFile.MatchString(name)
	}
	return "", false
}

// keep reports whether a blob may be held in memory.
func (s *story) keep(e evidence.Stored, most int) bool {
	s.kept += int64(len(e.Blob))
	if len(e.Blob) > most || s.kept > maxKept {
		s.wrong(BadBlob, e.Index, "leaf %d (%s) has a blob of %d bytes: no collector writes so much", e.Index, describe(e.Leaf), len(e.Blob))
		return false
	}
	return true
}

// wrong notes what the figures hang on.
func (s *story) wrong(c Code, leaf int64, format string, args ...any) {
	s.v.found(c, leaf, format, args...)
	s.broken = true
}

// batch proves a batch: signed by a key that the log had of the machine, next in its journal, as its receipt says, and
// made by a machine that saw this log. It reports whether the figures can rest on it.
func (s *story) batch(e evidence.Stored) bool {
	v, l, ok := s.v, e.Leaf, true
	bad := func(c Code, format string, args ...any) {
		v.found(c, e.Index, "leaf %d (%s): %s", e.Index, describe(l), fmt.Sprintf(format, args...))
		ok = false
	}
	received, err := time.Parse(time.RFC3339, l.Field("received"))
	if err != nil {
		bad(BadReceipt, "the receipt has no time: %v", err)
		return false
	}
	if received.Before(s.last.Add(-clockSlack)) {
		v.found(BadTime, e.Index, "leaf %d (%s) was received at %s, a leaf before it at %s: the collector's clock was set back", e.Index, describe(l),
			received.Format(time.RFC3339), s.last.Format(time.RFC3339))
	}
	s.afterStamp(e, received)
	if received.After(s.last) {
		s.last = received
	}
	if e.Blob == nil {
		return false // said before
	}
	m, known := s.roll.Machine(l.Field("machine"))
	if !known {
		bad(BadBatch, "the log has no key of this machine before it")
		return false
	}
	h, err := journal.ParseNote(e.Blob, m.Verifiers(received))
	if err != nil {
		bad(BadBatch, "it is not signed by a key that was good for the machine then: %v", err)
		return false
	}
	seq, err := strconv.ParseUint(l.Field("seq"), 10, 64)
	body, hasBody := l.Body()
	if err != nil || h.Machine != l.Field("machine") || h.Journal != l.Field("journal") || h.Seq != seq || hasBody != (h.Stored > 0) ||
		hasBody && (hex.EncodeToString(body.SHA256[:]) != h.Body || body.Size != int64(h.Stored)) {
		bad(BadReceipt, "the receipt says something else than the batch: %s, journal %s, batch %d", h.Machine, h.Journal, h.Seq)
	}
	before := s.chain(e, h, bad)
	switch {
	case e.Body != nil || !hasBody:
	case period{v.From, v.To}.mustHave(before, h):
		s.gone(absent{e.Index, evidence.BodyPiece, received, MissingBody, fmt.Sprintf("leaf %d (%s): the body is missing, and may speak of the period (sealed %s)", e.Index, describe(l), h.Sealed.Format(time.RFC3339))})
	default:
		v.BodiesLeftOut++
	}
	s.saw(e.Index, h, bad)
	if received.Sub(h.Sealed) > lateAfter {
		v.LateBatches++
	}
	if s.window(h, received) > lateAfter {
		v.ProvenLate++
	}
	v.Batches++
	return ok
}

// window returns the time in which a batch was sealed, as others than its machine prove it: after the checkpoint that it
// names, before its receipt. One that names no state of this log has no beginning.
func (s *story) window(h journal.Header, received time.Time) time.Duration {
	c := h.Checkpoint
	if c == nil || c.Origin != s.v.Origin || c.Size < 1 || c.Size >= int64(len(s.times)) {
		return math.MaxInt64
	}
	at := s.times[c.Size]
	if at == 0 { // nothing had been received before it: the first receipt is the nearest time that the log names
		i := slices.IndexFunc(s.times, func(t uint32) bool { return t > 0 })
		if i < 0 {
			return 0
		}
		at = s.times[i]
	}
	return received.Sub(time.Unix(int64(at), 0))
}

// chain proves that a batch follows the one before in its journal, and returns when that was sealed.
func (s *story) chain(e evidence.Stored, h journal.Header, bad func(Code, string, ...any)) time.Time {
	key := h.Machine + " " + h.Journal
	last := s.heads[key]
	if last == nil {
		last = &head{hash: journal.NoPrevious}
		s.heads[key] = last
	}
	switch {
	case h.Seq > last.seq+1:
		bad(BadChain, "batches %d to %d of the journal are missing before it", last.seq+1, h.Seq-1)
	case h.Seq <= last.seq:
		bad(BadChain, "batch %d of the journal was there already", h.Seq)
	case h.Previous != last.hash:
		bad(BadChain, "it names another batch %d than the one that stands before it", last.seq)
	}
	before := last.sealed
	*last = head{h.Seq, journal.Batch{Note: e.Blob}.Hash(), h.Sealed}
	return before
}

// saw proves that the state of the log which the machine had seen is one of this log's.
func (s *story) saw(leaf int64, h journal.Header, bad func(Code, string, ...any)) {
	c := h.Checkpoint
	if c != nil && c.Size > 0 && c.Origin != s.v.Origin {
		if i := slices.IndexFunc(s.former, func(f *former) bool { return f.old.Old == c.Origin }); i >= 0 {
			switch lost, wrong := s.former[i].saw(leaf, *c); {
			case wrong != "":
				bad(SplitView, "%s", wrong)
			case lost:
				s.v.SawLost++
			default:
				s.v.Bracketed++
			}
			return
		}
	}
	switch {
	case c == nil || c.Size == 0:
		return
	case c.Origin != s.v.Origin:
		bad(SplitView, "the machine saw a log %.200q, this is %q", c.Origin, s.v.Origin)
		return
	case c.Size > leaf:
		bad(SplitView, "the machine saw %d leaves, but this batch is leaf %d: the log was longer before", c.Size, leaf)
		return
	}
	root, err := s.v.tree.root(c.Size)
	if err != nil || root != c.Hash {
		bad(SplitView, "the machine saw the root %s for %d leaves, in this log it is %s: the log was rewritten, or another one was shown to the machine", c.Hash, c.Size, root)
		return
	}
	s.v.Bracketed++
}

// accepted takes in what a batch says.
func (s *story) accepted(a intake.Accepted) {
	m := s.slots[a.Machine]
	if m == nil {
		m = &slots{from: s.v.From.Add(-margin), to: s.v.To}
		s.slots[a.Machine] = m
	}
	m.unit, m.sealed = a.Unit, a.Header.Sealed
	for why, n := range a.Rejected {
		if m.rejected == nil {
			m.rejected = map[string]int64{}
		}
		m.rejected[why] += int64(n)
		switch why {
		case intake.RejectedPlan:
			s.v.found(UnknownPlan, a.Leaf, "leaf %d: %s follows a plan that was not in the log before, or not its own", a.Leaf, a.Machine)
		case intake.RejectedUnreadable:
			s.v.found(Rejected, a.Leaf, "leaf %d: %d records of %s cannot be read", a.Leaf, n, a.Machine)
		}
	}
	for _, e := range a.Events {
		switch {
		case e.Plan != nil:
			s.v.PlansBeforeUse++
			m.apply(*e.Plan)
		case e.Observation != nil:
			m.result(e.Observation.Check, e.Observation.Slot, e.Observation.Every)
		case e.Range != nil:
			m.missed(*e.Range)
		}
	}
}

// finish works the figures out.
func (s *story) finish(ctx context.Context) error {
	switch {
	case s.refig == nil:
		return nil
	case s.broken:
		s.v.found(NoFigures, -1, "the figures cannot be worked out again before what was found above is mended")
		return nil
	case s.v.Removed.unproven() != "":
		if s.v.o.Figures != nil {
			s.v.found(NoFigures, -1, "%s", s.v.Removed.unproven())
		}
		return nil
	}
	return s.refig.compare(ctx, s.roll.Machines(), s.last)
}

// blank reports whether b holds nothing.
func blank(b []byte) bool { return len(bytes.TrimSpace(b)) == 0 }
