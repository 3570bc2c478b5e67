package exporter

// Names of metrics. Base units, `_total` for counters, `_ratio` from 0 to 1; a label's values come from the plan, the
// profile or a closed list, never from the network.
const (
	BuildInfo = "egovmon_build_info"

	// Of one check, on the agent with the label check, at the collector with unit, machine, service, check and kind.
	CheckSuccess  = "egovmon_check_success"
	CheckReason   = "egovmon_check_reason"
	CheckDuration = "egovmon_check_duration_seconds"
	CheckLastRun  = "egovmon_check_last_run_timestamp_seconds"

	// Of one check, with ?collect=.
	CheckPhase    = "egovmon_check_phase_duration_seconds"
	CheckInfo     = "egovmon_check_info"
	CheckInterval = "egovmon_check_interval_seconds"
	CheckFact     = "egovmon_check_fact"
	CertNotAfter  = "egovmon_tls_cert_not_after_timestamp_seconds"
	ChainValid    = "egovmon_tls_chain_valid"
	PathLoss      = "egovmon_path_packet_loss_ratio"
	DNSConsistent = "egovmon_dns_answer_consistent"
	DNSSigned     = "egovmon_dns_rrsig_expiry_timestamp_seconds"

	// Of the agent as a whole.
	CheckRuns         = "egovmon_check_runs_total"
	CheckMissed       = "egovmon_check_missed_total"
	CheckStartDelay   = "egovmon_check_start_delay_seconds"
	ChecksRunning     = "egovmon_checks_running"
	SpoolBatches      = "egovmon_spool_batches"
	SpoolBytes        = "egovmon_spool_bytes"
	SpoolOldest       = "egovmon_spool_oldest_record_timestamp_seconds"
	SpoolDropped      = "egovmon_spool_dropped_records_total"
	SpoolSpared       = "egovmon_spool_shortened_records_total"
	PushRequests      = "egovmon_push_requests_total"
	PushLastSuccess   = "egovmon_push_last_success_timestamp_seconds"
	PushProblem       = "egovmon_push_problem"
	AgentCertNotAfter = "egovmon_agent_cert_not_after_timestamp_seconds"
	AgentPlanApplied  = "egovmon_agent_config_applied_timestamp_seconds"
	AgentPlanVersion  = "egovmon_agent_config_version"
	ClockOffset       = "egovmon_clock_offset_seconds"
	LogLeaves         = "egovmon_log_leaves"
	LogCheckpoint     = "egovmon_log_checkpoint_timestamp_seconds"
	LogFailures       = "egovmon_log_verification_failures_total"

	// Of the collector.
	AgentLastContact   = "egovmon_collector_agent_last_contact_timestamp_seconds"
	ArchiveFailing     = "egovmon_collector_archive_failing_timestamp_seconds"
	AgentCloned        = "egovmon_collector_identity_cloned_timestamp_seconds"
	AgentRefused       = "egovmon_collector_refused_batches_total"
	AgentRejected      = "egovmon_collector_rejected_results_total"
	ServiceState       = "egovmon_service_state"
	ServiceVantages    = "egovmon_service_vantages"
	ServiceSeconds     = "egovmon_service_seconds"
	ServiceAvail       = "egovmon_service_availability_ratio"
	ServiceCoverage    = "egovmon_service_coverage_ratio"
	ServiceObjective   = "egovmon_service_objective_ratio"
	WorkingTime        = "egovmon_working_time"
	Notifications      = "egovmon_notifications_total"
	ControlUnits       = "egovmon_control_units"
	LayerControls      = "egovmon_layer_controls"
	WatcherCalls       = "egovmon_watcher_calls_total"
	WatcherConfirmed   = "egovmon_watcher_confirmed"
	WatcherLast        = "egovmon_watcher_last_success_timestamp_seconds"
	SeriesActive       = "egovmon_series_active" // by the series' store itself
	BoardNotConfigured = "egovmon_services_not_configured"
	UserCertsWithin    = "egovmon_user_certs"
	UserCertsRevoked   = "egovmon_user_certs_revocation"
)

// Labels.
const (
	LabelCheck   = "check"
	LabelUnit    = "unit"
	LabelMachine = "machine"
	LabelService = "service"
	LabelKind    = "kind"
	LabelReason  = "reason"
	LabelState   = "state"
	LabelPhase   = "phase"

	LabelAccount  = "account"        // up, degraded, down, unknown or excluded
	LabelBound    = "bound"          // lower or upper
	LabelCalendar = "calendar"       // as in the profile
	LabelChannel  = "channel"        // mail or webhook
	LabelResult   = "result"         // ok or error
	LabelCode     = "code"           // 2xx, 4xx, 409, 429, 5xx or error
	LabelFact     = "fact"           // as the kind declares it
	LabelPosition = "position"       // leaf, intermediate or root
	LabelSource   = "source"         // of another clock: collector, ntp
	LabelControl  = "control"        // m01 to m28, a01 to a16
	LabelLayer    = "layer"          // 1 to 4
	LabelPart     = "part"           // measured or attested
	LabelWithin   = "expires_within" // expired, 15d, 30d, 60d or ok
	LabelView     = "view"           // total, fresh or failing
	LabelWindow   = "window"         // 5m, 1h, 1d, 30d, quarter or year
)
