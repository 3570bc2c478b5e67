// Program collector is the district's centre: it enrols machines, keeps what they measured so that nobody can quietly
// change it, works out figures and shows them.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"egovmon/exporter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// A command is one word of the command line.
type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string, stdout, stderr io.Writer) int
}

func commands() []command {
	return []command{
		{"run", "[--data DIR] [--profile DIR] [--listen ADDR] [--agents ADDR]", "the centre itself, with everything embedded; also what happens without a command", runRun},
		{"user", "add|list|role|disable|enable|reset|remove|token|end-token NAME …", "people who may use the board, and tokens for programs", runUser},
		{"link", "[--data DIR]", "a fresh one-time link to the board", runLink},
		{"token", "--unit ID [--machine NAME]", "a token with which one machine of the unit enrols", runToken},
		{"revoke", "--machine NAME --why TEXT", "end a machine's identity, of one that was lost or stolen", runRevoke},
		{"profile", "check DIR", "what is to be mended in a profile, by file and line", runProfile},
		{"plan", "--machine NAME [--data DIR | --profile DIR]", "what that machine would be told, and why", runPlan},
		{"availability", "--from D --to D | --period P [--service ID] [--unit ID] [--json]", "the figures of services and units", runAvailability},
		{"report", "[draft|review|issue|list] --period 2026-Q3 [--format docx|xlsx|json] [--out FILE]", "the report of a period, as a draft to sign, a workbook or JSON", runReport},
		{"audit", "export|verify", "take a period out for an auditor, and prove it offline", runAudit},
		{"fleet", "[--json]", "expected against deployed (Nomad) against reporting machines", runFleet},
		{"incidents", "[--json] [--form first|closing --id ID]", "incidents, how long people took, which reports are due; drafts of those", runIncidents},
		{"watcher", "status|test|confirm CODE --by NAME", "the watcher outside, who alarms somebody when this collector falls silent", runWatcher},
		{"alertmanager", "[--year 2026] [--hours NAME] [--profile DIR]", "routes and working hours for an Alertmanager, from the profile's offices and calendars", runAlertmanager},
		{"control", "status|attest|approve LEAF|except|withdraw LEAF|file|verify FILE …", "the four layers: how they stand, what to do first, documents, exceptions, evidence files", runControl},
		{"attest", "--control ID --unit ID --number … --issued D … [--file F]", "record that a document proves a control that cannot be measured", runAttest},
		{"suspension", "list|add|withdraw LEAF …", "announced suspensions, force majeure, power cuts: left out of the figures when announced in time", runSuspension},
		{"confirm", "list|add|withdraw LEAF …", "what documents say of services that nothing can measure, and until when it counts", runConfirm},
		{"certs", "list | add --unit ID FILE… | remove LEAF", "the certificates that people sign with: days left, by unit; public certificates alone", runCerts},
		{"recovery-key", "[--data DIR]", "make the district's recovery key and print it, once: to be locked away", runRecoveryKey},
		{"backup", "[--data DIR] [--out FILE] [--keys sealed|none|clear]", "a backup of everything, while the collector runs", runBackup},
		{"restore", "[--data DIR] [--recovery-key FILE] [--mirror FOLDER] [--check] FILE", "put a backup in place of the state", runRestore},
		{"mirror", "--to FOLDER [--data DIR] [--every 1m | --once]", "a second copy of the log that only ever grows", runMirror},
		{"witness", "init|run|accept|end|list", "an office outside the operator cosigns the log, so that nobody can write its past anew", runWitness},
		{"retention", "[--remove] [--erase LEAF --why TEXT] [--json]", "what the log holds, how fast it grows, what may go; removal by tombstone", runRetention},
		{"successor", "--recovery-key FILE --why REASON [--data DIR]", "begin the next log after a restore that machines have seen more of", runSuccessor},
		{"rebuild", "[--data DIR] [--check]", "make history and series again from the evidence, or compare them with it", runRebuild},
		{"version", "", "which program this is", runVersion},
	}
}

// run is main without the process: it reads the arguments, writes to stdout and stderr and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	keepPrivate()
	if len(args) == 0 || strings.HasPrefix(args[0], "-") && !isHelp(args[0]) && args[0] != "--version" {
		return runRun(ctx, args, stdout, stderr)
	}
	if isHelp(args[0]) {
		usage(stdout)
		return exitDone
	}
	for _, c := range commands() {
		if c.name == strings.TrimPrefix(args[0], "--") {
			return c.run(ctx, args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "collector: there is no command %q\n\n", args[0])
	usage(stderr)
	return exitUsage
}

func isHelp(s string) bool { return s == "--help" || s == "-h" || s == "-help" || s == "help" }

func usage(w io.Writer) {
	fmt.Fprint(w, "The egovmon collector is the centre of a district's monitoring.\n\nUsage: collector [COMMAND] [options]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-13s%s\n               %s\n", c.name, c.help, strings.TrimSpace("collector "+c.name+" "+c.args))
	}
	fmt.Fprint(w, "\nEach command explains itself with --help. Exit codes: 0 done, 1 failed, 2 unusable input.\n")
}

func runVersion(_ context.Context, _ []string, stdout, _ io.Writer) int {
	fmt.Fprintln(stdout, exporter.ThisBuild())
	return exitDone
}
