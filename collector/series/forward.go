package series

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

const (
	perRequest = 2000 // samples
	splits     = 256  // requests spent on finding the bad samples of one that was refused
)

// A stamped is a sample of a series as it is stored and sent.
type stamped struct {
	ls labels.Labels
	t  int64 // ms since 1970
	v  float64
}

// A forwarder sends every raw sample to one receiver, by Prometheus remote write 2.0 or, where the receiver knows only
// that, 1.0. What cannot be sent waits on disk, however long, up to a number of bytes; it goes out at its own times.
// What the receiver refuses as bad data is counted and given up; any other answer is tried again.
type forwarder struct {
	rw      RemoteWrite
	client  *client
	queue   *queue
	metrics *metrics
	log     *slog.Logger
	now     func() time.Time
	more    chan struct{} // something was pushed
	old     atomic.Bool   // the receiver knows 1.0 only
	failing bool          // the last request was not answered well; said once
}

func (db *DB) openForwards() error {
	seen := map[string]bool{}
	for i, rw := range db.o.RemoteWrite {
		c, err := newClient(&rw, db.o.Version)
		if err != nil {
			return fmt.Errorf("remote_write[%d] %q: %w", i, rw.Name, err)
		}
		if seen[rw.Name] {
			return fmt.Errorf("remote_write[%d] %q: the name is used twice", i, rw.Name)
		}
		seen[rw.Name] = true
		q, err := openQueue(filepath.Join(db.o.Dir, "forward", rw.Name), rw.MaxBytes, db.o.Logger)
		if err != nil {
			return fmt.Errorf("remote_write[%d] %q: %w", i, rw.Name, err)
		}
		f := &forwarder{
			rw: rw, client: c, queue: q, metrics: db.metrics, log: db.o.Logger.With("receiver", rw.Name), now: db.o.Now,
			more: make(chan struct{}, 1),
		}
		db.metrics.receiver(rw.Name, q.waiting())
		db.forwards = append(db.forwards, f)
	}
	return nil
}

// push queues samples. Failing to is counted and logged; it must not hinder our own database.
func (f *forwarder) push(samples []stamped) {
	for part := range slices.Chunk(samples, perRequest) {
		b, err := encode2(part)
		var dropped int
		if err == nil {
			dropped, err = f.queue.append(snappy.Encode(nil, b), len(part))
		}
		if err != nil {
			dropped += len(part)
			f.log.Error("series: samples for a receiver could not be kept; free the disk", "samples", len(part), "err", err)
		}
		f.metrics.forwarded.WithLabelValues(f.rw.Name, "dropped").Add(float64(dropped))
	}
	f.metrics.waiting.WithLabelValues(f.rw.Name).Set(float64(f.queue.waiting()))
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// run sends until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { f.keepSynced(ctx) })
	for ctx.Err() == nil {
		n, err := f.sendSome(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			f.log.Error("series: what waits for a receiver cannot be read", "err", err)
			sleep(ctx, f.rw.MaxBackoff)
		case n == 0:
			select {
			case <-ctx.Done():
			case <-f.more:
			}
		}
	}
}

func (f *forwarder) keepSynced(ctx context.Context) {
	tick := time.NewTicker(syncing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := f.queue.sync(); err != nil {
				f.log.Error("series: samples for a receiver could not be synced", "err", err)
			}
		}
	}
}

// sendSome sends what stands at the front of the queue, until it is sent or given up. It returns the number of frames.
func (f *forwarder) sendSome(ctx context.Context) (int, error) {
	t, err := f.queue.peek(perRequest)
	if err != nil {
		return 0, err
	}
	if len(t.payloads) == 0 && t.lost == 0 {
		return 0, nil
	}
	var samples []stamped
	broken := t.lost
	for _, b := range t.payloads {
		s, err := decode2(b)
		if err != nil {
			f.log.Error("series: a frame for a receiver cannot be read and is given up", "err", err)
			continue
		}
		samples = append(samples, s...)
	}
	broken += t.samples - len(samples)
	slices.SortStableFunc(samples, func(a, b stamped) int {
		return cmp.Or(cmp.Compare(a.t, b.t), labels.Compare(a.ls, b.ls))
	})
	spare := splits
	if err := f.deliver(ctx, samples, &spare); err != nil {
		return 0, err
	}
	f.metrics.forwarded.WithLabelValues(f.rw.Name, "dropped").Add(float64(broken))
	err = f.queue.take(t)
	f.metrics.waiting.WithLabelValues(f.rw.Name).Set(float64(f.queue.waiting()))
	return max(1, len(t.payloads)), err
}

// deliver sends samples, in parts if some of them are refused. It ends when each is sent or given up, or with ctx.
func (f *forwarder) deliver(ctx context.Context, samples []stamped, spare *int) error {
	if len(samples) == 0 {
		return nil
	}
	for try := 0; ; try++ {
		a, err := f.attempt(ctx, samples)
		if err != nil {
			return err
		}
		switch a.verdict {
		case took:
			f.recovered()
			f.done(len(samples), 0)
			return nil
		case wantsOld:
			f.log.Info("series: the receiver knows remote write 1.0 only")
			f.old.Store(true)
			try = -1
		case refusedData:
			f.recovered()
			if a.written >= 0 {
				f.done(a.written, len(samples)-a.written)
				return nil
			}
			return f.divide(ctx, samples, spare, a)
		case failed:
			if !f.failing {
				f.failing = true
				f.log.Warn("series: a receiver does not take samples; they wait on disk", "answer", a.text, "waiting", f.queue.waiting())
			}
			f.metrics.forwarded.WithLabelValues(f.rw.Name, "retried").Add(float64(len(samples)))
			if err := sleep(ctx, max(f.backoff(try), a.wait)); err != nil {
				return err
			}
		}
	}
}

// divide finds the samples that a receiver refuses, so that their neighbours are not lost: it takes all or nothing. The
// newer half goes first, because what is refused most is what is too old, and the number of requests is bounded.
func (f *forwarder) divide(ctx context.Context, samples []stamped, spare *int, a reply) error {
	if *spare -= 2; len(samples) == 1 || *spare < 0 {
		f.log.Debug("series: a receiver refused samples", "samples", len(samples), "answer", a.text)
		f.done(0, len(samples))
		return nil
	}
	half := len(samples) / 2
	if err := f.deliver(ctx, samples[half:], spare); err != nil {
		return err
	}
	return f.deliver(ctx, samples[:half], spare)
}

func (f *forwarder) attempt(ctx context.Context, samples []stamped) (reply, error) {
	old := f.old.Load()
	encode := encode2
	if old {
		encode = encode1
	}
	b, err := encode(samples)
	if err != nil {
		return reply{}, err
	}
	a := f.client.post(ctx, snappy.Encode(nil, b), old)
	return a, ctx.Err()
}

func (f *forwarder) recovered() {
	if f.failing {
		f.failing = false
		f.log.Info("series: the receiver answers again")
	}
}

func (f *forwarder) done(sent, refused int) {
	f.metrics.forwarded.WithLabelValues(f.rw.Name, "sent").Add(float64(sent))
	f.metrics.forwarded.WithLabelValues(f.rw.Name, "refused").Add(float64(refused))
	if sent > 0 {
		f.metrics.success.WithLabelValues(f.rw.Name).Set(float64(f.now().Unix()))
	}
}

// backoff returns a random time that grows with the number of tries ("full jitter").
func (f *forwarder) backoff(try int) time.Duration {
	d := f.rw.MinBackoff << min(try, 20)
	if d <= 0 || d > f.rw.MaxBackoff {
		d = f.rw.MaxBackoff
	}
	return f.rw.MinBackoff/2 + rand.N(d)
}

// sleep waits, or returns the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// grouped calls add once for each series of samples, in the order in which the series first occur.
func grouped(samples []stamped, add func(ls labels.Labels, of []stamped)) {
	index := map[string]int{}
	var groups [][]stamped
	var key []byte
	for _, s := range samples {
		key = s.ls.Bytes(key)
		i, ok := index[string(key)]
		if !ok {
			i = len(groups)
			index[string(key)] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], s)
	}
	for _, g := range groups {
		add(g[0].ls, g)
	}
}

// encode2 makes a remote write 2.0 request, which is also what a frame of the queue holds.
func encode2(samples []stamped) ([]byte, error) {
	symbols := writev2.NewSymbolTable()
	r := &writev2.Request{}
	grouped(samples, func(ls labels.Labels, of []stamped) {
		ts := writev2.TimeSeries{
			LabelsRefs: symbols.SymbolizeLabels(ls, nil), Samples: make([]writev2.Sample, 0, len(of)),
			Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE},
		}
		for _, s := range of {
			ts.Samples = append(ts.Samples, writev2.Sample{Timestamp: s.t, Value: s.v})
		}
		r.Timeseries = append(r.Timeseries, ts)
	})
	r.Symbols = symbols.Symbols()
	return r.Marshal()
}

// encode1 makes a remote write 1.0 request.
func encode1(samples []stamped) ([]byte, error) {
	r := &prompb.WriteRequest{}
	grouped(samples, func(ls labels.Labels, of []stamped) {
		ts := prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil), Samples: make([]prompb.Sample, 0, len(of))}
		for _, s := range of {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: s.t, Value: s.v})
		}
		r.Timeseries = append(r.Timeseries, ts)
	})
	return r.Marshal()
}

// decode2 reads a frame of the queue.
func decode2(frame []byte) ([]stamped, error) {
	if n, err := snappy.DecodedLen(frame); err != nil || n > 4*maxFrame {
		return nil, errors.New("not a frame of samples")
	}
	b, err := snappy.Decode(nil, frame)
	if err != nil {
		return nil, err
	}
	var r writev2.Request
	if err := r.Unmarshal(b); err != nil {
		return nil, err
	}
	var builder labels.ScratchBuilder
	var out []stamped
	for _, ts := range r.Timeseries {
		ls, err := ts.ToLabels(&builder, r.Symbols)
		if err != nil {
			return nil, err
		}
		for _, s := range ts.Samples {
			out = append(out, stamped{ls, s.Timestamp, s.Value})
		}
	}
	return out, nil
}
