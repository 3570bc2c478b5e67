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

// parse reads the arguments. The second result is the exit code when the command is not to go on.
func parse(fs *flag.FlagSet, args []string) (bool, int) {
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return false, exitDone
	case err != nil:
		return false, exitUsage
	case fs.NArg() > 0:
		fmt.Fprintf(fs.Output(), "%s: %q is too much: see --help\n", fs.Name(), fs.Arg(0))
		return false, exitUsage
	}
	return true, exitDone
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
