// Program agent watches from one machine: it runs the checks of its plan, keeps what they measured in a signed journal
// and pushes it to the district's collector.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/exporter"
)

func main() {
	if code, ok := underManager(os.Args[1:]); ok {
		os.Exit(code)
	}
	ctx, stop := withSignals(context.Background(), func() bool { return host.ShuttingDown(context.Background()) })
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// withSignals ends a context when the process is told to stop, with daemon.ErrShutdown as the cause when that is because
// the machine goes down. A second signal ends the process at once.
func withSignals(parent context.Context, goingDown func() bool) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-ctx.Done():
		case sig := <-told:
			signal.Stop(told)
			if sig == syscall.SIGTERM && goingDown() {
				cancel(daemon.ErrShutdown)
			}
			cancel(context.Canceled)
		}
	}()
	return ctx, func() { signal.Stop(told); cancel(nil) }
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
		{"run", "[--data DIR] [--listen ADDR]", "follow the collector's plan, with this machine's enrolled identity", runRun},
		{"check", "--plan FILE [--check ID] [--json]", "run every check of a plan once, now, and show one line each", runCheck},
		{"enrol", "--collector URL --token TOKEN", "give this machine its identity, once", runEnrol},
		{"doctor", "[SYSTEM] [--data DIR] [--plan FILE] [--lang vi|en] [--json]", "why can't this machine reach what it should?", runDoctor},
		{"kinds", "[KIND] [--json]", "the kinds of check and their options", runKinds},
		{"journal", "verify|show [--data DIR]", "look at what this machine has recorded", runJournal},
		{"sign", "reset CHECK [--data DIR]", "let a PIN be tried again that a token did not take", runSign},
		{"service", "install|remove|status [--data DIR]", "have the system run the agent, from the start of the machine on", runService},
		{"version", "", "which program this is", runVersion},
	}
}

// run is main without the process: it reads the arguments, writes to stdout and stderr and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" || args[0] == "help" {
		usage(stdout)
		return exitDone
	}
	for _, c := range commands() {
		if c.name == strings.TrimPrefix(args[0], "--") {
			return c.run(ctx, args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "agent: there is no command %q\n\n", args[0])
	usage(stderr)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "The egovmon agent watches e-government systems from this machine.\n\nUsage: agent COMMAND [options]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n           %s\n", c.name, c.help, strings.TrimSpace("agent "+c.name+" "+c.args))
	}
	fmt.Fprint(w, "\nEach command explains itself with --help. Exit codes: 0 done, 1 failed, 2 unusable input.\n")
}

func runVersion(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("version", "Says which program this is.", stderr)
	if ok, code := parse(fs, args, 0); !ok {
		return code
	}
	fmt.Fprintln(stdout, exporter.ThisBuild())
	return exitDone
}
