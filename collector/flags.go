package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// newFlags makes the flags of a command, with a help text that says what the command does.
func newFlags(name, about string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("collector "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "%s\n\nOptions of collector %s:\n", about, name)
		fs.PrintDefaults()
	}
	return fs
}

// parse reads the arguments of a command that takes options alone. The second result is the exit code when the command
// is not to go on.
func parse(fs *flag.FlagSet, args []string) (bool, int) {
	_, ok, code := parseNamed(fs, args, 0)
	return ok, code
}

// parseNamed reads the arguments of a command that also takes up to n names, before, between or after its options.
func parseNamed(fs *flag.FlagSet, args []string, n int) (names []string, ok bool, code int) {
	for {
		err := fs.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil, false, exitDone
		case err != nil:
			return nil, false, exitUsage
		case fs.NArg() == 0:
			return names, true, exitDone
		case len(names) == n:
			fmt.Fprintf(fs.Output(), "%s: %q is too much: see --help\n", fs.Name(), fs.Arg(0))
			return nil, false, exitUsage
		}
		names, args = append(names, fs.Arg(0)), fs.Args()[1:]
	}
}

// dataDir is where the state lies: the flag, or $XDG_STATE_HOME/egovmon, or ~/.local/state/egovmon.
func dataDir(flag string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if s := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(s) {
		return filepath.Join(s, "egovmon"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the state: %w; name one with --data DIR", err)
	}
	return filepath.Join(home, ".local", "state", "egovmon"), nil
}
