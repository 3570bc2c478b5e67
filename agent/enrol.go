package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/agent/push"
	"egovmon/agent/words"
	"egovmon/exporter"
)

func runEnrol(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("enrol", "Gives this machine its identity, once: it makes the machine's keys and hands their public parts to the collector\n"+
		"together with the token. Before anything is sent, the collector must prove the key that the token names.", stderr)
	data := fs.String("data", "", "data folder `DIR`")
	collector := fs.String("collector", "", "the collector's address for agents, `URL`, e.g. https://collector.example.vn:19443")
	token := fs.String("token", "", "the `TOKEN` that `collector token` printed; - reads it from standard input, so that it stays out of the shell's history")
	config := fs.String("config", "", "configuration `FILE`, for its proxy; default agent.yaml in the data folder, which may be missing")
	force := fs.Bool("force", false, "replace an identity that is there already")
	if ok, code := parse(fs, args, 0); !ok {
		return code
	}
	if *collector == "" || *token == "" {
		fmt.Fprintln(stderr, "agent enrol: --collector URL and --token TOKEN are both needed; the district makes a token with `collector token --unit ID`")
		return exitUsage
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "agent enrol: %v\n", err)
		return exitUsage
	}
	former, err := host.LoadIdentity(dir)
	if err == nil && !*force {
		fmt.Fprintf(stderr, "agent enrol: this machine is %s already, in %s; with --force the old identity is replaced\n", former.Machine, dir)
		return exitUsage
	}
	cfg, err := daemon.LoadConfig(dir, *config)
	if err != nil {
		fmt.Fprintf(stderr, "agent enrol: %v\n", err)
		return exitUsage
	}
	if *token == "-" {
		b, err := io.ReadAll(io.LimitReader(os.Stdin, 1024))
		if err != nil {
			fmt.Fprintf(stderr, "agent enrol: read the token: %v\n", err)
			return exitUsage
		}
		*token = strings.TrimSpace(string(b))
	}
	id, err := push.Enrol(ctx, *collector, *token, push.EnrolOptions{Build: exporter.ThisBuild().Version, Dial: cfg.Dial(dir)})
	if err != nil {
		fmt.Fprintf(stderr, "agent enrol: %v\n", err)
		if p := push.ProblemOf(err); p != push.BadAnswer { // else the collector's words say it
			for _, l := range []words.Lang{words.VI, words.EN} {
				fmt.Fprintf(stderr, "%s. %s.\n", words.Tell(l, "reach."+string(p)), words.Tell(l, "reach.do."+string(p)))
			}
		}
		return exitFailed
	}
	if former != nil {
		err = id.Follow(former)
	}
	if err := errors.Join(err, id.Save(dir)); err != nil {
		fmt.Fprintf(stderr, "agent enrol: the collector has accepted this machine, but its identity cannot be kept: %v\n", err)
		return exitFailed
	}
	for _, l := range []words.Lang{words.VI, words.EN} {
		fmt.Fprintln(stdout, words.Tell(l, "enrol.done", id.Machine, id.Unit, dir, dir))
	}
	return exitDone
}
