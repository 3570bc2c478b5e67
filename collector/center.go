package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egovmon/agent/check/kinds"
	"egovmon/agent/check/signature"
	"egovmon/agent/durable"
	"egovmon/collector/alert"
	"egovmon/collector/board"
	"egovmon/collector/cosign"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/fleet"
	"egovmon/collector/history/index"
	"egovmon/collector/incident"
	"egovmon/collector/intake"
	"egovmon/collector/profile"
	"egovmon/collector/report"
	"egovmon/collector/series"
	"egovmon/collector/stamp"
	"egovmon/deploy/profiles"
	"egovmon/exporter"
)

// Folders and files of the state.
const (
	keysDir     = "keys"
	evidenceDir = "evidence"
	enrolDir    = "enrol"
	intakeDir   = "intake"
	seriesDir   = "series"
	agentDir    = "agent"
	cosignDir   = "cosign"
	indexFile   = "history.db"
)

// A setup is everything that flags and configuration say.
type setup struct {
	dir    string
	config config
	log    *slog.Logger
	now    func() time.Time
	build  exporter.Build
}

// A center is the collector's rooms, opened. It serves nothing by itself: see center.serve.
type center struct {
	setup
	keys     *enrol.Keys
	store    *evidence.Store
	registry *enrol.Registrar
	intake   *intake.Server
	cosigned *cosign.Gatherer
	desk     *report.Desk
	workshop workshop
	proving  sync.Mutex     // held while an export is proven
	stamper  *stamp.Stamper // nil without an authority of time stamps
	index    *index.Index
	series   *series.DB
	live     *board.Live
	letters  letters
	learned  learned
	metrics  *prometheus.Registry
	cursor   *cursor // of series

	layers    layers
	notices   suspended
	confirmed confirmed
	unplanned atomic.Pointer[[]error] // why machines have no plan as of now, one each; nil before the first try
	holders   holders
	inquiry   *signature.Inquiry // nil when nobody may be asked
	incidents *incident.Manager
	alerts    *alert.Sender
	watcher   *alert.Watcher
	judged    atomic.Int64   // when it was last judged how everything is, in Unix seconds
	nomad     *fleet.Watcher // nil without Nomad
	started   time.Time

	mu      sync.Mutex
	profile *profile.Profile    // as its files say, with the machines that enrolled besides
	params  map[string]string   // what the program itself fills in
	invited map[string][]string // by unit: machines that got a token by name, which the profile may not have
}

// openProfile loads the profile in a folder, or the sample that the program carries when none is named.
func openProfile(dir string) (*profile.Profile, error) {
	var files fs.FS
	name := dir
	if dir == "" {
		name = profiles.Default
		f, err := profiles.Embedded(profiles.Default)
		if err != nil {
			return nil, err
		}
		files = f
	} else {
		files = os.DirFS(dir)
	}
	p, err := profile.Load(files)
	if err != nil {
		return nil, fmt.Errorf("the profile %s cannot be used:\n%w", name, err)
	}
	return p, nil
}

// openCenter opens every room, in the order in which they need one another. After an error nothing is left open.
func openCenter(ctx context.Context, s setup) (_ *center, err error) {
	c := &center{setup: s, metrics: prometheus.NewRegistry(), live: new(board.Live), params: map[string]string{}, invited: map[string][]string{}}
	defer func() {
		if err != nil {
			_ = c.close()
		}
	}()
	if err := durable.MkdirAll(s.dir); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if c.profile, err = openProfile(s.config.Profile); err != nil {
		return nil, err
	}
	if c.keys, err = s.openKeys(c.profile.District); err != nil {
		return nil, err
	}
	verifier, err := c.keys.LogVerifier()
	if err != nil {
		return nil, err
	}
	if c.store, err = evidence.Open(evidence.Options{Dir: filepath.Join(s.dir, evidenceDir), Origin: c.keys.LogSigner.Name(),
		Signer: c.keys.LogSigner, Verifier: verifier, Logger: s.log}); err != nil {
		return nil, err
	}
	if err := c.unlessOvertaken(c.recordProfile(ctx)); err != nil {
		return nil, err
	}
	if c.registry, err = enrol.Open(ctx, enrol.Options{Dir: filepath.Join(s.dir, enrolDir), Keys: c.keys, Log: c.store,
		Machines: c.machinesOf, Names: s.config.Names, Now: s.now, Logger: s.log}); err != nil {
		return nil, err
	}
	c.addEnrolled()
	if err := c.openStores(ctx); err != nil {
		return nil, err
	}
	return c, c.unlessOvertaken(c.recordRecovery(ctx))
}

// openStores opens what is derived from the evidence, and the intake that feeds it.
func (c *center) openStores(ctx context.Context) (err error) {
	if c.index, err = index.Open(filepath.Join(c.dir, indexFile)); err != nil {
		return err
	}
	next, err := c.index.Cursor(ctx)
	if err != nil {
		return err
	}
	if c.series, err = series.Open(series.Options{Dir: filepath.Join(c.dir, seriesDir), Retention: c.config.Series.Retention,
		MaxBytes: c.config.Series.MaxBytes, RemoteWrite: c.config.receivers(), Version: c.build.Version, Logger: c.log,
		Registry: c.metrics, Now: c.now, Metadata: metadata()}); err != nil {
		return err
	}
	if c.cursor, err = openCursor(filepath.Join(c.dir, seriesDir, "cursor")); err != nil {
		return err
	}
	c.desk = report.NewDesk(filepath.Join(c.dir, reportsDir), c.store, c.now)
	if c.cosigned, err = cosign.Open(cosign.Options{Dir: filepath.Join(c.dir, cosignDir), Log: c.store, Machines: c.cosigners, Now: c.now, Logger: c.log}); err != nil {
		return err
	}
	if c.stamper, err = stamp.Open(stamp.Options{Config: c.config.TimeStamps, Log: c.store, Now: c.now, Logger: c.log}); err != nil {
		return err
	}
	if c.inquiry, err = c.openInquiry(); err != nil {
		return err
	}
	c.intake, err = intake.Open(ctx, intake.Options{Cosigning: c.cosigned,
		Dir: filepath.Join(c.dir, intakeDir), Evidence: c.store, Registrar: c.registry,
		Kinds: kinds.Table(), PlanSigner: c.keys.PlanSigner, Now: c.now, Logger: c.log,
		Consumers: []intake.Consumer{
			{Name: "history", Next: next, Accept: c.toHistory},
			{Name: "series", Next: c.cursor.value(), Accept: c.toSeries},
			{Name: "board", Next: max(0, c.store.Size()-liveLeaves), Accept: c.toLive},
		}})
	return err
}

// liveLeaves is how many of the last leaves the board's latest results are gathered from at a start.
const liveLeaves = 2000

// close closes what is open, the other way round.
func (c *center) close() error {
	var errs []error
	if c.cursor != nil {
		errs = append(errs, c.cursor.save())
	}
	if c.series != nil {
		errs = append(errs, c.series.Close())
	}
	if c.index != nil {
		errs = append(errs, c.index.Close())
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	return errors.Join(errs...)
}

// district returns the profile as it is now.
func (c *center) district() *profile.Profile {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.profile
}

// machinesOf lists the machines that a unit is to have, for tokens.
func (c *center) machinesOf(unit string) ([]string, bool) {
	p, now := c.district(), c.now()
	if _, ok := p.Unit(unit); !ok {
		return nil, false
	}
	var ids []string
	for _, m := range p.MachinesOf(unit, now) {
		ids = append(ids, m.ID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.invited[unit] {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, true
}

// addEnrolled adds machines that have an identity and do not stand in the profile, and the collector's own if the
// profile has none.
func (c *center) addEnrolled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.profile = withEnrolled(c.profile, c.registry.Machines(), c.now())
}

// withEnrolled returns a profile with the machines that have an identity at now and do not stand in it, and one for the
// collector.
func withEnrolled(p *profile.Profile, machines []enrol.Machine, now time.Time) *profile.Profile {
	if _, ok := p.CollectorMachine(now); !ok {
		p = profile.WithMachine(p, profile.Machine{
			Record: profile.Record{ID: "collector", Source: "added by the program"}, Unit: p.District, Role: profile.RoleCollector})
	}
	for _, m := range machines {
		if _, ok := p.Machine(m.ID, now); ok {
			continue
		}
		r := profile.Record{ID: m.ID, Source: "enrolled"}
		if !m.Revoked.IsZero() { // what it measured before stays in the accounts
			r.Valid.To = profile.DateOf(m.Revoked)
		}
		p = profile.WithMachine(p, profile.Machine{Record: r, Unit: m.Unit, Role: profile.RoleProbe})
	}
	return p
}

// root returns the log's size and the beginning of its root hash, for people.
func (c *center) root() (int64, string) {
	t := c.store.Tree()
	return t.N, hex.EncodeToString(t.Hash[:8])
}

// names are the host names by which the board may be asked for.
func (c *center) names() []string {
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, c.config.Names...)
	if h, err := os.Hostname(); err == nil {
		hosts = append(hosts, h)
	}
	if h, _, err := net.SplitHostPort(c.config.Listen); err == nil && h != "" {
		hosts = append(hosts, h)
	}
	return hosts
}
