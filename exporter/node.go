package exporter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Bounds of what is read of this machine in one scrape.
const (
	nodeTime   = 2 * time.Second
	maxDevices = 256 // processors, file systems and links, each
)

// nodeFamilies are names of node_exporter, in their order, with the meaning they have there on Linux.
var nodeFamilies = []Family{
	{"node_boot_time_seconds", GaugeType, "seconds", "When the system was started, in Unix seconds.", nil},
	{"node_cpu_seconds_total", CounterType, "seconds", "Time that each processor spent in each mode.", []string{"cpu", "mode"}},
	{"node_filesystem_avail_bytes", GaugeType, "bytes", "Space of a file system that ordinary users can still take.", fsLabels()},
	{"node_filesystem_device_error", GaugeType, "", "1 when a file system could not be asked.", fsLabels()},
	{"node_filesystem_files", GaugeType, "", "Files that a file system can hold.", fsLabels()},
	{"node_filesystem_files_free", GaugeType, "", "Files that a file system can still take.", fsLabels()},
	{"node_filesystem_free_bytes", GaugeType, "bytes", "Free space of a file system, with what is kept for root.", fsLabels()},
	{"node_filesystem_readonly", GaugeType, "", "1 when a file system cannot be written to.", fsLabels()},
	{"node_filesystem_size_bytes", GaugeType, "bytes", "Size of a file system.", fsLabels()},
	{"node_load1", GaugeType, "", "Mean number of tasks that run or wait, over 1 minute.", nil},
	{"node_load15", GaugeType, "", "Mean number of tasks that run or wait, over 15 minutes.", nil},
	{"node_load5", GaugeType, "", "Mean number of tasks that run or wait, over 5 minutes.", nil},
	{"node_memory_Buffers_bytes", GaugeType, "bytes", "Memory in buffers of block devices.", nil},
	{"node_memory_Cached_bytes", GaugeType, "bytes", "Memory that holds contents of files.", nil},
	{"node_memory_MemAvailable_bytes", GaugeType, "bytes", "Memory that programs can take without swapping.", nil},
	{"node_memory_MemFree_bytes", GaugeType, "bytes", "Memory that holds nothing.", nil},
	{"node_memory_MemTotal_bytes", GaugeType, "bytes", "Memory of the machine.", nil},
	{"node_memory_SwapCached_bytes", GaugeType, "bytes", "Memory that is in the swap space too.", nil},
	{"node_memory_SwapFree_bytes", GaugeType, "bytes", "Swap space that is not used.", nil},
	{"node_memory_SwapTotal_bytes", GaugeType, "bytes", "Swap space of the machine.", nil},
	{"node_network_receive_bytes_total", CounterType, "bytes", "Bytes that came in over a link.", []string{"device"}},
	{"node_network_receive_drop_total", CounterType, "", "Packets that came in over a link and were dropped.", []string{"device"}},
	{"node_network_receive_errs_total", CounterType, "", "Faulty packets that came in over a link.", []string{"device"}},
	{"node_network_receive_packets_total", CounterType, "", "Packets that came in over a link.", []string{"device"}},
	{"node_network_transmit_bytes_total", CounterType, "bytes", "Bytes that went out over a link.", []string{"device"}},
	{"node_network_transmit_drop_total", CounterType, "", "Packets that were dropped before they went out over a link.", []string{"device"}},
	{"node_network_transmit_errs_total", CounterType, "", "Packets that failed to go out over a link.", []string{"device"}},
	{"node_network_transmit_packets_total", CounterType, "", "Packets that went out over a link.", []string{"device"}},
	{"node_scrape_collector_duration_seconds", GaugeType, "seconds", "How long reading each part of the machine took.", []string{"collector"}},
	{"node_scrape_collector_success", GaugeType, "", "1 when a part of the machine could be read in time, else 0.", []string{"collector"}},
	{"node_time_seconds", GaugeType, "seconds", "The machine's time, in Unix seconds.", nil},
	{"node_uname_info", GaugeType, "", "Always 1; the labels say which system runs.", []string{"domainname", "machine", "nodename", "release", "sysname", "version"}},
}

func fsLabels() []string { return []string{"device", "fstype", "mountpoint"} }

// A node reads this machine under the names of node_exporter, on every system. A part that cannot be read in time is
// left out and named in node_scrape_collector_success; it is not asked again until it has answered.
type node struct {
	mu    sync.Mutex // one scrape at a time, so that busy means an earlier one
	parts []*nodePart
	limit time.Duration
}

// A nodePart is one collector of node_exporter.
type nodePart struct {
	name string
	read func(ctx context.Context) (func(*set), error)
	busy atomic.Bool // a reading is under way, perhaps of a scrape before
}

// NodeGatherer reads this machine under node_exporter's names, on every system, in at most two seconds.
func NodeGatherer() prometheus.Gatherer {
	return &node{parts: nodeParts(), limit: nodeTime}
}

// Gather reads all parts side by side.
func (n *node) Gather() ([]*dto.MetricFamily, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), n.limit)
	defer cancel()
	type answer struct {
		add  func(*set)
		took time.Duration
		err  error
	}
	answers := make([]chan answer, len(n.parts))
	begin := time.Now()
	for i, p := range n.parts {
		if !p.busy.CompareAndSwap(false, true) {
			continue
		}
		answers[i] = make(chan answer, 1) // a late answer blocks nobody
		go func() {
			add, err := p.try(ctx)
			p.busy.Store(false)
			answers[i] <- answer{add, time.Since(begin), err}
		}()
	}
	s := newSet()
	for i, p := range n.parts {
		a := answer{err: errors.New("no answer in time")}
		if answers[i] != nil {
			select {
			case a = <-answers[i]:
			case <-ctx.Done():
				select { // it may have answered while another one was waited for
				case a = <-answers[i]:
				default:
				}
			}
		}
		if a.took > 0 {
			s.add("node_scrape_collector_duration_seconds", a.took.Seconds(), s.label("collector", p.name))
		}
		s.add("node_scrape_collector_success", truth(a.err == nil), s.label("collector", p.name))
		if a.err == nil {
			a.add(s)
		}
	}
	return s.families(), nil
}

// try turns a panic of a library into an error: a machine's odd hardware must not end a scrape.
func (p *nodePart) try(ctx context.Context) (add func(*set), err error) {
	defer func() {
		if x := recover(); x != nil {
			add, err = nil, fmt.Errorf("panic: %v", x)
		}
	}()
	return p.read(ctx)
}

// first returns at most maxDevices of a list.
func first[T any](list []T) []T { return slices.Clip(list[:min(len(list), maxDevices)]) }
