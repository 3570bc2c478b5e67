// Package series keeps the numbers behind the charts: an embedded Prometheus time series database fed from batches at
// their own times, a second one for roll-ups, the PromQL HTTP API over both, and remote write onwards.
//
// Everything here was derived from the archive and can be derived again: [Wipe] removes it, and feeding the archived
// batches in the order they were received brings it back. No figure of a report is taken from here.
//
// All of the project's imports of github.com/prometheus/prometheus stand in this package, because that module makes no
// promise to programs that use it as a library. Nothing of it shows in the exported names.
package series

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	lookBack = 24 * time.Hour           // how long a sample counts when nothing follows it; markers end it sooner
	ahead    = 10 * time.Minute         // how far in the future a sample may stand: clocks differ a little
	day      = 24 * time.Hour           //
	sweep    = 15 * time.Second         // how often the ends of silent checks are looked for
	syncing  = time.Second              // how often what waits for a receiver is synced to disk
	rollups  = 5 * 365 * 24 * time.Hour // how long roll-ups are kept
)

// Options say where the series live and how large they may grow.
type Options struct {
	// Dir holds everything of this package: raw, rollup and forward below it. It is made when it is missing.
	Dir string
	// Retention is how long raw samples are kept. Default 45 days.
	Retention time.Duration
	// MaxBytes bounds the raw samples on disk; the oldest go first. Default 20 GB.
	MaxBytes int64
	// OutOfOrder is how far behind the newest sample a late one may stand. Default 15 days.
	OutOfOrder time.Duration
	// MaxSeries bounds the series that are in memory, in each of the two databases. Default 300,000.
	MaxSeries int
	// Settle is how long after the end of a result its successor is waited for before the chart shows a gap. It
	// should be more than the usual time between two batches. A gap that is filled later is filled. Default 2 minutes.
	Settle time.Duration
	// MaxSamples bounds what one query may hold in memory, 16 bytes each. Default 5,000,000.
	MaxSamples int
	// QueryTimeout bounds one query. Default 30 seconds.
	QueryTimeout time.Duration
	// Queries bounds the queries that run at once; others wait. Default 4.
	Queries int
	// Metadata describes the metrics to programs that ask the API for it.
	Metadata []Metadata
	// RemoteWrite names the receivers that get a copy of every raw sample.
	RemoteWrite []RemoteWrite
	// Version is the program's, sent to receivers as the user agent. Default "dev".
	Version string
	// Logger is required.
	Logger *slog.Logger
	// Registry gets this package's metrics; nil registers them nowhere.
	Registry prometheus.Registerer
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&o.Retention, 45*day)
	def(&o.OutOfOrder, 15*day)
	def(&o.Settle, 2*time.Minute)
	def(&o.QueryTimeout, 30*time.Second)
	num(&o.MaxSeries, 300_000)
	num(&o.MaxSamples, 5_000_000)
	num(&o.Queries, 4)
	if o.MaxBytes <= 0 {
		o.MaxBytes = 20_000_000_000
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// A DB is the two databases, the queries over them, and the queues of what goes onwards. Its methods may be called at
// the same time.
type DB struct {
	o        Options
	raw      *tsdb.DB
	rollup   *tsdb.DB
	inner    map[string]*prometheus.Registry // what each database counts about itself, by store
	engine   *promql.Engine
	parser   parser.Parser
	metrics  *metrics
	forwards []*forwarder

	mu   sync.Mutex // held while points become samples, so that a check's samples are appended in their order
	feed feed
}

// Open opens the databases below o.Dir, or makes them. What was appended before a crash is there again, except for
// what the operating system had not written when the machine lost power: feed the last batches once more after that,
// it is harmless. The caller runs [DB.Run] and at last [DB.Close].
func Open(o Options) (_ *DB, err error) {
	o = o.withDefaults()
	if o.Dir == "" || o.Logger == nil {
		return nil, errors.New("series: a folder and a logger are needed")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("series: %w", err)
	}
	db := &DB{
		o: o, parser: parser.NewParser(parser.Options{}), feed: feed{last: map[checkKey]*latest{}},
		inner: map[string]*prometheus.Registry{"raw": prometheus.NewRegistry(), "rollup": prometheus.NewRegistry()},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if db.raw, err = openTSDB(filepath.Join(o.Dir, "raw"), o.Logger, db.inner["raw"], rawOptions(o)); err != nil {
		return nil, err
	}
	if db.rollup, err = openTSDB(filepath.Join(o.Dir, "rollup"), o.Logger, db.inner["rollup"], rollupOptions()); err != nil {
		return nil, err
	}
	db.engine = promql.NewEngine(promql.EngineOpts{
		Logger: o.Logger, MaxSamples: o.MaxSamples, Timeout: o.QueryTimeout, LookbackDelta: lookBack,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: db.parser,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	if err := db.restore(context.Background()); err != nil {
		return nil, fmt.Errorf("series %s: reading where the checks stood: %w", o.Dir, err)
	}
	db.metrics = newMetrics(o.Registry, db)
	if err := db.openForwards(); err != nil {
		return nil, err
	}
	return db, nil
}

func openTSDB(dir string, log *slog.Logger, reg prometheus.Registerer, o *tsdb.Options) (*tsdb.DB, error) {
	db, err := tsdb.Open(dir, slog.New(warnings{log.Handler()}), reg, o, nil)
	if err != nil {
		return nil, fmt.Errorf("series %s: %w: end the other program that uses it, or remove the folder and run collector rebuild", dir, err)
	}
	return db, nil
}

// warnings lets only warnings and errors through: a database tells every step of its housekeeping.
type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (w warnings) WithAttrs(as []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(as)} }

// WithGroup implements slog.Handler.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }

// small returns options for a database that takes little memory while little happens.
func small() *tsdb.Options {
	o := tsdb.DefaultOptions()
	o.StripeSize = 512
	o.WALSegmentSize = 4 << 20
	o.WALCompression = compression.Snappy
	o.HeadChunksWriteBufferSize = 256 << 10
	o.WALReplayConcurrency = 2
	o.EnableExemplarStorage = false
	return o
}

func rawOptions(o Options) *tsdb.Options {
	t := small()
	t.RetentionDuration = o.Retention.Milliseconds()
	t.MaxBytes = o.MaxBytes
	t.MaxBlockDuration = max(t.MinBlockDuration, (o.Retention / 10).Milliseconds())
	t.OutOfOrderTimeWindow = o.OutOfOrder.Milliseconds()
	return t
}

// rollupOptions suit a few samples an hour for years: one block for five days, and late figures up to a quarter old.
func rollupOptions() *tsdb.Options {
	t := small()
	t.RetentionDuration = rollups.Milliseconds()
	t.MinBlockDuration = (5 * day).Milliseconds()
	t.MaxBlockDuration = (135 * day).Milliseconds()
	t.OutOfOrderTimeWindow = (100 * day).Milliseconds()
	return t
}

// Run ends the series of checks that fell silent and sends samples onwards until ctx ends. It returns nil then.
func (db *DB) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, f := range db.forwards {
		wg.Go(func() { f.run(ctx) })
	}
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := db.Sweep(ctx); err != nil {
				db.o.Logger.Error("series: the ends of silent checks could not be written", "err", err)
			}
		}
	}
}

// Close writes what is in memory to disk. Run must have returned.
func (db *DB) Close() error {
	var errs []error
	for _, f := range db.forwards {
		errs = append(errs, f.queue.close())
	}
	for _, t := range []*tsdb.DB{db.raw, db.rollup} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	if db.engine != nil {
		errs = append(errs, db.engine.Close())
	}
	return errors.Join(errs...)
}

// Wipe removes the samples below dir so that they can be built again. What still waits for a receiver stays. No DB may
// have dir open. While feeding again, open without RemoteWrite: the receivers have had those samples.
func Wipe(dir string) error {
	return errors.Join(os.RemoveAll(filepath.Join(dir, "raw")), os.RemoveAll(filepath.Join(dir, "rollup")))
}
