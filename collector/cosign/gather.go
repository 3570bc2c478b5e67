package cosign

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

const (
	roundFile = "round.json"
	maxRound  = 1 << 20
	// Every is how often a checkpoint is cosigned by default.
	Every = time.Hour
	// FewestMachines and MostMachines bound how many machines cosign.
	FewestMachines, MostMachines = 3, 7
)

// A Log is what is cosigned; *evidence.Store is one.
type Log interface {
	Leaves
	Origin() string
	Checkpoint() []byte
	Size() int64
	TreeAt(n int64) (tlog.Tree, error)
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
}

// A Machine is one that is named to cosign, with the keys that it may do so with.
type Machine struct {
	ID   string
	Keys []*wire.Witness
}

// Options say what a Gatherer works with. Every and Logger may be left out.
type Options struct {
	Dir      string // keeps the round under way
	Log      Log
	Machines func() []Machine // that are named now; at most MostMachines
	Every    time.Duration    // from one round to the next; default Every
	Now      func() time.Time
	Logger   *slog.Logger
}

// A Gatherer asks for cosignatures, and keeps them. Its methods may be called at the same time. Make it with Open.
type Gatherer struct {
	o Options

	mu    sync.Mutex
	round round
	book  Book
	split int64 // cosignatures over what is no beginning of the log
}

// A round is one checkpoint with what was signed of it.
type round struct {
	Begun time.Time `json:"begun"`
	// Note is the checkpoint as the log signed it, and the cosignatures of it behind.
	Note  string `json:"note"`
	Size  int64  `json:"size"`
	Signs int    `json:"cosignatures"`
	Leaf  int64  `json:"leaf"` // where it stands in the log; -1 while it does not
	// Before is when those who are to sign did so last in earlier rounds, as far as that is known.
	Before map[string]time.Time `json:"before,omitempty"`

	plain string // Note without cosignatures
	text  string
	by    map[string]time.Time // who signed, and when
}

// Open reads the round under way. One of a log that was succeeded since is left behind.
func Open(o Options) (*Gatherer, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Every = cmp.Or(o.Every, Every)
	g := &Gatherer{o: o}
	if err := durable.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("cosign: %w", err)
	}
	if err := g.book.Update(o.Log); err != nil {
		return nil, fmt.Errorf("cosign: %w", err)
	}
	if err := g.load(); err != nil {
		// What is lost is asked for once more.
		o.Logger.Warn("cosign: the round under way cannot be read and begins again", "err", err)
		g.round = round{}
	}
	return g, nil
}

func (g *Gatherer) load() error {
	b, err := os.ReadFile(filepath.Join(g.o.Dir, roundFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var r round
	if len(b) > maxRound {
		return fmt.Errorf("%s has %d bytes", roundFile, len(b))
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", roundFile, err)
	}
	text, err := r.index(g.verifiers())
	if err != nil {
		return err
	}
	origin, t, err := wire.ParseCheckpoint(text)
	if err != nil || origin != g.o.Log.Origin() {
		return err // of another log
	}
	have, err := g.o.Log.TreeAt(t.N)
	if err != nil || have != t {
		return fmt.Errorf("%s: the log does not hold these %d leaves", roundFile, t.N)
	}
	g.round = r
	return nil
}

// index finds out who has signed a round.
func (r *round) index(ws []*wire.Witness) (text string, err error) {
	text, cs, err := wire.ReadCosignatures([]byte(r.Note), ws...)
	if err != nil {
		return "", err
	}
	r.text, r.by = text, map[string]time.Time{}
	for _, c := range cs {
		r.by[c.Name] = c.At
	}
	sigs := strings.SplitAfter(strings.TrimPrefix(r.Note, text+"\n"), "\n")
	r.plain = text + "\n" + sigs[0]
	return text, nil
}

// verifiers are those of everybody who may sign now.
func (g *Gatherer) verifiers() []*wire.Witness {
	var ws []*wire.Witness
	for _, m := range g.o.Machines() {
		ws = append(ws, m.Keys...)
	}
	for _, k := range g.book.At(g.o.Now()) {
		ws = append(ws, k.verifier)
	}
	return ws
}

// Run begins a round whenever one is due, and puts the ended one into the log.
func (g *Gatherer) Run(ctx context.Context) error {
	t := time.NewTicker(min(g.o.Every, 10*time.Second))
	defer t.Stop()
	for {
		if err := g.Turn(ctx); err != nil && ctx.Err() == nil {
			g.o.Logger.Error("cosign: the round cannot go on", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Turn ends the round, if it is due, and begins the next one. What was signed is in the log once everybody has, at the
// latest when the round ends.
func (g *Gatherer) Turn(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.book.Update(g.o.Log); err != nil {
		return err
	}
	now := g.o.Now()
	due := g.round.Note == "" || !now.Before(g.round.Begun.Add(g.o.Every)) || now.Before(g.round.Begun)
	if g.round.Leaf < 0 && g.round.Signs > 0 && (due || g.round.Signs >= len(g.expected())) {
		if err := g.record(ctx); err != nil {
			return err
		}
	}
	if !due || len(g.expected()) == 0 || g.o.Log.Size() == 0 {
		return nil
	}
	return g.begin(now)
}

// begin takes the log's checkpoint for the next round.
func (g *Gatherer) begin(now time.Time) error {
	r := round{Begun: now.UTC(), Note: string(g.o.Log.Checkpoint()), Leaf: -1}
	text, err := r.index(nil)
	if err != nil {
		return err
	}
	_, t, err := wire.ParseCheckpoint(text)
	if err != nil {
		return err
	}
	r.Size = t.N
	last := g.last()
	r.Before = map[string]time.Time{}
	for _, name := range g.expected() {
		if at, ok := last[name]; ok {
			r.Before[name] = at
		}
	}
	if err := g.save(r); err != nil {
		return err
	}
	g.round = r
	return nil
}

// last is when each has signed last, in this round or before it.
func (g *Gatherer) last() map[string]time.Time {
	all := map[string]time.Time{}
	maps.Copy(all, g.round.Before)
	maps.Copy(all, g.round.by)
	return all
}

func (g *Gatherer) save(r round) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(g.o.Dir, roundFile), append(b, '\n'))
}

// record puts the round into the log.
func (g *Gatherer) record(ctx context.Context) error {
	_, t, err := wire.ParseCheckpoint(g.round.text)
	if err != nil {
		return err
	}
	e, err := evidence.NewEntry(evidence.Cosigned, map[string]string{"at": wire.FormatTime(g.o.Now()), "cosignatures": strconv.Itoa(g.round.Signs),
		"root": t.Hash.String(), "size": strconv.FormatInt(t.N, 10)}, []byte(g.round.Note), nil)
	if err != nil {
		return err
	}
	leaf, err := g.o.Log.Append(ctx, e)
	if err != nil {
		return err
	}
	g.round.Leaf = leaf
	return g.save(g.round)
}

// expected names everybody who is to sign.
func (g *Gatherer) expected() []string {
	var names []string
	for _, m := range g.o.Machines() {
		if len(m.Keys) > 0 {
			names = append(names, m.Keys[0].Name())
		}
	}
	for _, k := range g.book.At(g.o.Now()) {
		names = append(names, k.Name())
	}
	return names
}

// Asked returns the checkpoint that a machine is to cosign, as the log signed it; "" when there is none for it.
func (g *Gatherer) Asked(machine string) string {
	i := slices.IndexFunc(g.o.Machines(), func(m Machine) bool { return m.ID == machine && len(m.Keys) > 0 })
	if i < 0 {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, done := g.round.by[g.o.Machines()[i].Keys[0].Name()]; done || g.round.Note == "" {
		return ""
	}
	return g.round.plain
}

// ErrForeign is wrapped by the errors of cosignatures that nobody made who is known here.
var ErrForeign = errors.New("it is signed by nobody who is named to cosign")

// ErrSplit is wrapped by the error of a cosignature over a tree that is no beginning of this log, or of a checkpoint that
// contradicts another one: the log was shown differently to different people.
var ErrSplit = errors.New("two histories of one log")

// TakeMachine takes what a machine has cosigned.
func (g *Gatherer) TakeMachine(machine string, msg []byte) error {
	for _, m := range g.o.Machines() {
		if m.ID == machine {
			return g.take(msg, m.Keys)
		}
	}
	return fmt.Errorf("cosign: machine %s: %w", machine, ErrForeign)
}

// TakeWitness takes what a witness elsewhere has cosigned.
func (g *Gatherer) TakeWitness(msg []byte) error {
	g.mu.Lock()
	var ws []*wire.Witness
	for _, k := range g.book.At(g.o.Now()) {
		ws = append(ws, k.verifier)
	}
	g.mu.Unlock()
	return g.take(msg, ws)
}

func (g *Gatherer) take(msg []byte, ws []*wire.Witness) error {
	text, cs, err := wire.ReadCosignatures(msg, ws...)
	switch {
	case err != nil:
		return fmt.Errorf("cosign: %w", err)
	case len(cs) == 0:
		return fmt.Errorf("cosign: %w", ErrForeign)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if text != g.round.text {
		return g.other(text, cs[0].Name)
	}
	r := g.round
	r.by = map[string]time.Time{}
	maps.Copy(r.by, g.round.by)
	for _, c := range cs {
		if _, done := r.by[c.Name]; done {
			continue
		}
		if r.Signs >= wire.MaxCosignatures {
			return fmt.Errorf("cosign: %d have signed: %w", r.Signs, wire.ErrLimit)
		}
		r.by[c.Name] = c.At
		r.Note += c.Line
		r.Signs++
	}
	if r.Signs == g.round.Signs {
		return nil // it was here before
	}
	if err := g.save(r); err != nil {
		return fmt.Errorf("cosign: %w", err)
	}
	g.round = r
	return nil
}

// other judges a cosignature over another checkpoint than that of the round: an older one of this log is of no use any
// more, and one that the log does not hold is a second history.
func (g *Gatherer) other(text, by string) error {
	origin, t, err := wire.ParseCheckpoint(text)
	if err != nil {
		return fmt.Errorf("cosign: %w", err)
	}
	if origin != g.o.Log.Origin() {
		return fmt.Errorf("cosign: the checkpoint is of %.200q, this log is %s", origin, g.o.Log.Origin())
	}
	if have, err := g.o.Log.TreeAt(t.N); err == nil && have == t {
		return nil
	}
	g.split++
	g.o.Logger.Error("cosign: a witness has signed what this log does not hold", "by", by, "leaves", t.N, "root", t.Hash)
	return fmt.Errorf("cosign: %s has signed %d leaves with the root %s, which this log does not hold: %w", by, t.N, t.Hash, ErrSplit)
}

// Published returns the checkpoint under way with the cosignatures that it has; nil before the first round.
func (g *Gatherer) Published() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.round.Note == "" {
		return nil
	}
	return []byte(g.round.Note)
}

// Splits counts since the start the cosignatures over what is no beginning of the log.
func (g *Gatherer) Splits() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.split
}

// A Status is how the round under way stands.
type Status struct {
	Size     int64                `json:"size"` // leaves; 0 before the first round
	Begun    time.Time            `json:"begun,omitzero"`
	Signed   map[string]time.Time `json:"signed"`
	Expected []string             `json:"expected"`
	Leaf     int64                `json:"leaf"` // where the round stands in the log; -1 while it does not
	// Last is when each has signed last, also in rounds that are over.
	Last map[string]time.Time `json:"last,omitempty"`
}

// Status tells how the round under way stands.
func (g *Gatherer) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Status{Size: g.round.Size, Begun: g.round.Begun, Expected: g.expected(), Signed: map[string]time.Time{}, Leaf: g.round.Leaf, Last: g.last()}
	maps.Copy(s.Signed, g.round.by)
	if g.round.Note == "" {
		s.Leaf = -1
	}
	return s
}

// Witnesses lists every witness elsewhere that was ever accepted.
func (g *Gatherer) Witnesses() ([]Known, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.book.All(), g.book.Update(g.o.Log)
}

// Accept takes the cosignatures of a witness from now on. Its key comes from the witness itself, not by this network.
func (g *Gatherer) Accept(ctx context.Context, key, by string) (Known, error) {
	v, err := wire.NewWitness(key)
	if err != nil {
		return Known{}, fmt.Errorf("cosign: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.book.Update(g.o.Log); err != nil {
		return Known{}, err
	}
	now := g.o.Now()
	if slices.Contains(g.expected(), v.Name()) {
		return Known{}, fmt.Errorf("cosign: %s is accepted already: end it first, if it has a new key", v.Name())
	}
	k, err := g.change(ctx, v.Key(), stateAccepted, by, now)
	if err == nil && g.round.Note == "" {
		err = g.begin(now) // it may sign at once
	}
	return k, err
}

// End takes no cosignatures of a witness any more.
func (g *Gatherer) End(ctx context.Context, name, by string) (Known, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.book.Update(g.o.Log); err != nil {
		return Known{}, err
	}
	now := g.o.Now()
	for _, k := range g.book.At(now) {
		if k.Name() == name {
			return g.change(ctx, k.Key, stateEnded, by, now)
		}
	}
	return Known{}, fmt.Errorf("cosign: there is no witness %.200q", name)
}

func (g *Gatherer) change(ctx context.Context, key, state, by string, now time.Time) (Known, error) {
	e, err := keyEntry(key, state, by, now)
	if err != nil {
		return Known{}, err
	}
	if _, err := g.o.Log.Append(ctx, e); err != nil {
		return Known{}, err
	}
	if err := g.book.Update(g.o.Log); err != nil {
		return Known{}, err
	}
	for _, k := range slices.Backward(g.book.list) {
		if k.Key == key {
			return k, nil
		}
	}
	return Known{}, fmt.Errorf("cosign: the log does not show %s", key)
}
