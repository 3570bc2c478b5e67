//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
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
	name, args, vi, en string
	run                func(ctx context.Context, e env, args []string) int
}

// env is what a command speaks to.
type env struct {
	in          io.Reader
	out, errors io.Writer
}

// fail says in one line what is wrong.
func (e env) fail(code int, format string, args ...any) int {
	fmt.Fprintf(e.errors, "lab: "+format+"\n", args...)
	return code
}

func commands() []command {
	return []command{
		{"up", "[--communes N] [--loopback]", "dựng phòng thử rồi để chạy", "put the lab up and leave it running", runUp},
		{"down", "", "dỡ phòng thử, không để lại gì", "take it down without a trace", runDown},
		{"status", "[--json]", "phòng thử đang ra sao", "how the lab is", runStatus},
		{"fault", "NAME [on|off] [--unit U]", "gây hoặc gỡ một sự cố", "bring a fault about, or take it away", runFault},
		{"faults", "", "các sự cố có thể gây", "the faults there are", runFaults},
		{"drill", "SCENARIO [--out FILE]", "diễn tập theo kịch bản, ghi dự thảo biên bản", "a timed scenario with draft minutes", runDrill},
		{"score", "[--only A,B] [--doubles N] [--seed N]", "chấm điểm: nguyên nhân nêu ra so với thật", "causes stated against true causes", runScore},
	}
}

// run is main without the process.
func run(ctx context.Context, args []string, in io.Reader, stdout, stderr io.Writer) int {
	e := env{in, stdout, stderr}
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
		usage(stdout)
		return exitDone
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return runMenu(ctx, e, args)
	}
	if args[0] == keepCommand {
		return runKeep(ctx, e, args[1:])
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, e, args[1:])
		}
	}
	fmt.Fprintf(stderr, "lab: there is no command %.60q\n\n", args[0])
	usage(stderr)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Phòng thử: một huyện nhỏ trên một máy Linux. Không có lệnh: dựng lên, hiện bảng theo dõi và danh mục sự cố; Ctrl-C để dỡ.\n"+
		"The lab: a small district on one Linux machine. Without a command: up, the board's link and a menu; Ctrl-C takes it down.\n\nUsage: lab [COMMAND] [options]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s%s\n          %s / %s\n", c.name, c.args, c.vi, c.en)
	}
	fmt.Fprint(w, "\nEach command explains itself with --help. Exit codes: 0 done, 1 failed, 2 unusable input.\n")
}

// newFlags makes the flags of a command. Every command has --dir.
func newFlags(e env, name, about string) (*flag.FlagSet, *string) {
	fs := flag.NewFlagSet("lab "+name, flag.ContinueOnError)
	fs.SetOutput(e.errors)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "%s\n\nOptions of lab %s:\n", about, name)
		fs.PrintDefaults()
	}
	return fs, fs.String("dir", "", "the lab's folder `DIR`; default /run/egovmon-lab for root, else $XDG_STATE_HOME/egovmon-lab")
}

// parse reads options and up to n names, in any order. The second result is the exit code when ok is false.
func parse(fs *flag.FlagSet, args []string, n int) (names []string, code int, ok bool) {
	for {
		err := fs.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil, exitDone, false
		case err != nil:
			return nil, exitUsage, false
		case fs.NArg() == 0:
			return names, exitDone, true
		case len(names) == n:
			fmt.Fprintf(fs.Output(), "%s: %.60q is too much: see --help\n", fs.Name(), fs.Arg(0))
			return nil, exitUsage, false
		}
		names, args = append(names, fs.Arg(0)), fs.Args()[1:]
	}
}
