package exporter

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// A Type is what a family's numbers mean over time, in the words of Prometheus' text format.
type Type string

// The types that are used here.
const (
	GaugeType     Type = "gauge"     // a number that may rise and fall
	CounterType   Type = "counter"   // a number that only rises, from 0 at the start of the program
	HistogramType Type = "histogram" // counts of observations by upper bound
)

func (t Type) wire() *dto.MetricType {
	switch t {
	case CounterType:
		return dto.MetricType_COUNTER.Enum()
	case HistogramType:
		return dto.MetricType_HISTOGRAM.Enum()
	default:
		return dto.MetricType_GAUGE.Enum()
	}
}

// A Family is one metric name, as documentation and the metadata of the query API show it.
type Family struct {
	Name   string
	Type   Type
	Unit   string   // the word at the end of the name that is a unit (seconds, bytes, ratio); "" for a plain number
	Help   string   // one English sentence
	Labels []string // in the order of their names, as at the collector; an agent leaves out machine and unit, and kind and service but in CheckInfo
}

// Families lists every family that both programs show under the prefix egovmon_, in the order of their names. What
// imitates other exporters (probe_*, node_*) and what the series' store says of itself is not among them.
func Families() []Family {
	fs := slices.Clone(families)
	for i := range fs {
		fs[i].Labels = slices.Clone(fs[i].Labels)
	}
	return fs
}

// Help returns the help text of a family, "" for a name that is not in [Families].
func Help(name string) string {
	f, _ := lookup(name)
	return f.Help
}

func lookup(name string) (Family, bool) { return search(families, name) }

// find looks for a family among ours and among those that imitate other exporters.
func find(name string) (Family, bool) {
	switch {
	case strings.HasPrefix(name, "node_"):
		return search(nodeFamilies, name)
	case strings.HasPrefix(name, "probe_"):
		return search(probeFamilies, name)
	default:
		return lookup(name)
	}
}

// search finds a name in a table in order.
func search(table []Family, name string) (Family, bool) {
	i, ok := slices.BinarySearchFunc(table, name, func(f Family, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return Family{}, false
	}
	return table[i], true
}

// families is the one table of names, in their order.
var families = []Family{
	{AgentCertNotAfter, GaugeType, "seconds", "When the agent's own certificate for the collector ends, in Unix seconds.", agentLabels()},
	{AgentPlanApplied, GaugeType, "seconds", "When the agent began to work by its present plan, in Unix seconds.", agentLabels()},
	{AgentPlanVersion, GaugeType, "", "Version of the plan that the agent works by.", agentLabels()},
	{BuildInfo, GaugeType, "", "Always 1; the labels say which program this is.", []string{"goarch", "goos", "goversion", "revision", "version"}},
	{CheckDuration, GaugeType, "seconds", "How long the last run took, all attempts together.", checkLabels()},
	{CheckFact, GaugeType, "", "A number that the last run saw; the end of the fact's name is its unit.", checkLabels(LabelFact)},
	{CheckInfo, GaugeType, "", "Always 1; the labels say what the check is of.", checkLabels()},
	{CheckInterval, GaugeType, "seconds", "How often the plan calls for a run.", checkLabels()},
	{CheckLastRun, GaugeType, "seconds", "When the last recorded run began, in Unix seconds.", checkLabels()},
	{CheckMissed, CounterType, "", "Slots of the plan that were not run, by why.", agentLabels(LabelReason)},
	{CheckPhase, GaugeType, "seconds", "How long each step of the last run took.", checkLabels(LabelPhase)},
	{CheckReason, GaugeType, "", "1 for the reason of the last result, and no series for any other.", checkLabels(LabelReason)},
	{CheckRuns, CounterType, "", "Runs that have ended, whatever their result.", agentLabels()},
	{CheckStartDelay, HistogramType, "seconds", "How long after its slot a run began.", agentLabels()},
	{CheckSuccess, GaugeType, "", "1 when the last result was up or degraded, 0 when it was down, no series when it was unknown.", checkLabels()},
	{ChecksRunning, GaugeType, "", "Runs under way.", agentLabels()},
	{ClockOffset, GaugeType, "seconds", "How far this machine's clock is ahead of the source's.", agentLabels(LabelSource)},
	{AgentLastContact, GaugeType, "seconds", "When the collector last heard of an agent, in Unix seconds.", []string{LabelMachine, LabelUnit}},
	{ArchiveFailing, GaugeType, "seconds", "Since when the collector cannot archive what agents send, as on a full disk, in Unix seconds; they keep it. No series while it can.", nil},
	{AgentCloned, GaugeType, "seconds", "Since when two machines have used one identity, in Unix seconds; until one enrols again nothing they send is a figure.", []string{LabelMachine, LabelUnit}},
	{AgentRefused, CounterType, "", "Batches that were not taken in, by why: a gap, a fork, a wrong signature, too much at once.", []string{LabelMachine, LabelReason}},
	{AgentRejected, CounterType, "", "Results that are kept but enter no figure, by why.", []string{LabelMachine, LabelReason}},
	{ControlUnits, GaugeType, "", "Units at which a control of the \"4 lớp\" model stands so.", []string{LabelControl, LabelState}},
	{DNSConsistent, GaugeType, "", "1 when the answers of name servers agree with what they must be, 0 when they are others, forged or do not verify; absent without an answer.", checkLabels()},
	{DNSSigned, GaugeType, "seconds", "When the first of the DNSSEC signatures ends that an answer rests on, in Unix seconds.", checkLabels()},
	{LayerControls, GaugeType, "", "Controls of one layer of the \"4 lớp\" model at a unit, by how they stand; what machines measured and what documents attest apart.", []string{LabelLayer, LabelPart, LabelState, LabelUnit}},
	{LogCheckpoint, GaugeType, "seconds", "When the log's newest checkpoint was made or seen, in Unix seconds.", nil},
	{LogLeaves, GaugeType, "", "Leaves in the log, as of its newest checkpoint.", nil},
	{LogFailures, CounterType, "", "Proofs or signatures of the log that did not verify; anything but 0 wants a person.", nil},
	{Notifications, CounterType, "", "Attempts to tell people of incidents, by what came of them.", []string{LabelChannel, LabelResult}},
	{PathLoss, GaugeType, "ratio", "Share of the echo requests of the last run that were not answered.", checkLabels()},
	{PushLastSuccess, GaugeType, "seconds", "When the collector last acknowledged a batch, in Unix seconds.", agentLabels()},
	{PushProblem, GaugeType, "", "1 for the reason why the last call did not reach the collector, such as TLS inspection or a proxy that wants a password; no series when it did.", agentLabels(LabelReason)},
	{PushRequests, CounterType, "", "Requests to the collector, by class of the answer.", agentLabels(LabelCode)},
	{ServiceAvail, GaugeType, "ratio", "Bounds of a service's availability: all that is unknown counted as down, and as up.", []string{LabelBound, LabelCalendar, LabelService, LabelWindow}},
	{ServiceCoverage, GaugeType, "ratio", "Share of the calendar, without what is excluded, in which a service's state is known.", []string{LabelCalendar, LabelService, LabelWindow}},
	{ServiceObjective, GaugeType, "ratio", "The availability that was agreed for a service.", []string{LabelCalendar, LabelService, LabelWindow}},
	{ServiceSeconds, GaugeType, "seconds", "Seconds of the window in each account of a service; only accounts that are not empty.", []string{LabelAccount, LabelCalendar, LabelService, LabelWindow}},
	{ServiceState, GaugeType, "", "1 for the state a service is in, 0 for the other three; with a unit, as seen from there.", []string{LabelService, LabelState, LabelUnit}},
	{ServiceVantages, GaugeType, "", "Units that watch a service, by what they see now.", []string{LabelService, LabelView}},
	{BoardNotConfigured, GaugeType, "", "Services that nothing measures yet, because a value they need was left empty.", nil},
	{SpoolBatches, GaugeType, "", "Sealed batches that the collector has not acknowledged yet.", agentLabels()},
	{SpoolBytes, GaugeType, "bytes", "Size of the journal on disk.", agentLabels()},
	{SpoolDropped, CounterType, "", "Records given up before the collector had them, by why.", agentLabels(LabelReason)},
	{SpoolOldest, GaugeType, "seconds", "When the oldest record not yet acknowledged was made, in Unix seconds.", agentLabels()},
	{SpoolSpared, CounterType, "", "Records that were written without their detail or phases, because the disk was full.", agentLabels()},
	{CertNotAfter, GaugeType, "seconds", "When a certificate that the target showed ends, in Unix seconds; also when it already has.", checkLabels(LabelPosition)},
	{ChainValid, GaugeType, "", "1 when the target's certificates lead to a trusted root and are within their dates, else 0.", checkLabels()},
	{UserCertsWithin, GaugeType, "", "Certificates of the register that people of a unit sign with, by how soon they end; those whose holder has a later one are left out. No name, no serial number.", []string{LabelWithin, LabelUnit}},
	{UserCertsRevoked, GaugeType, "", "Certificates of the register in force, by whether they were revoked: good, revoked, stray (leading to none of the roots), unknown; absent when nobody may be asked.", []string{LabelState, LabelUnit}},
	{WatcherCalls, CounterType, "", "Calls of the watcher outside, by what came of them; blind ones were not made, because the collector saw nothing.", []string{LabelResult}},
	{WatcherConfirmed, GaugeType, "", "1 when a person confirmed within a year that the watcher outside alarms somebody, else 0; also 0 when none is named.", nil},
	{WatcherLast, GaugeType, "seconds", "When the watcher outside was last told that the collector sees, in Unix seconds.", nil},
	{WorkingTime, GaugeType, "", "1 within the working time of a calendar, else 0.", []string{LabelCalendar}},
}

// checkLabels returns the labels of a family of one check at the collector, in order.
func checkLabels(more ...string) []string {
	return inOrder(more, LabelCheck, LabelKind, LabelMachine, LabelService, LabelUnit)
}

// agentLabels returns the labels of a family of an agent as a whole at the collector, in order.
func agentLabels(more ...string) []string { return inOrder(more, LabelMachine, LabelUnit) }

func inOrder(a []string, b ...string) []string {
	ls := slices.Concat(a, b)
	slices.Sort(ls)
	return ls
}
