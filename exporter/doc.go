// Package exporter holds every Prometheus metric of both programs: names, labels, units and help in one place, the
// gatherers that build families from the latest results, the handlers that show them, and the guard before them.
//
// Three vocabularies are spoken. egovmon_* is ours ([Families]). probe_* answers /probe as blackbox_exporter would, from
// the last stored result and for targets of the plan alone ([ProbeHandler]). node_* describes the machine as
// node_exporter does, on every system ([NodeGatherer]). What is not known is absent, never a number.
//
// [Secure] reads the web configuration files of the ecosystem. Exporter-toolkit, whose format that is, is left to the
// tests: with it an agent's exporter is 14.0 MB in place of 10.5 MB, since it reaches html/template and so keeps every
// exported method from the linker. The families are built without client_golang's const metrics, which take more than
// twice as long (BenchmarkMetrics).
package exporter
