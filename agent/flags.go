package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// newFlags makes the flags of a command, with a help text that says what the command does.
func newFlags(name, about string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("agent "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "%s\n\nOptions of agent %s:\n", about, name)
		fs.PrintDefaults()
	}
	return fs
}

// parse reads the arguments. The second result is the exit code when the command is not to go on.
func parse(fs *flag.FlagSet, args []string, positional int) (bool, int) {
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return false, exitDone
	case err != nil:
		return false, exitUsage
	case fs.NArg() > positional:
		fmt.Fprintf(fs.Output(), "%s: %q is too much: see --help\n", fs.Name(), fs.Arg(positional))
		return false, exitUsage
	}
	return true, exitDone
}
