package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/exporter"
)

func runRun(ctx context.Context, args []string, _, stderr io.Writer) int {
	fs := newFlags("run", "Follows the collector's plan with this machine's enrolled identity, until it is stopped.", stderr)
	data := fs.String("data", "", "data folder `DIR`")
	config := fs.String("config", "", "configuration `FILE`; default agent.yaml in the data folder, which may be missing")
	listen := fs.String("listen", "", "`ADDR` for /metrics and /probe; default 127.0.0.1:19100, or what the configuration says; - for none")
	verbose := fs.Bool("v", false, "log more")
	if ok, code := parse(fs, args, 0); !ok {
		return code
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "agent run: %v\n", err)
		return exitUsage
	}
	cfg, err := daemon.LoadConfig(dir, *config)
	if err != nil {
		fmt.Fprintf(stderr, "agent run: %v\n", err)
		return exitUsage
	}
	if *listen != "" {
		cfg.Listen = *listen
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	id, err := host.LoadIdentity(dir)
	if err != nil {
		fmt.Fprintf(stderr, "agent run: %v\n", err)
		return exitUsage
	}
	d, err := daemon.Open(daemon.Options{Dir: dir, Identity: id, Kinds: kinds.Table(), Config: cfg, Build: exporter.ThisBuild(), Log: log, ShutDownAt: host.ShutDownAt})
	if err != nil {
		fmt.Fprintf(stderr, "agent run: %v\n", err)
		return exitFailed
	}
	ctx, stop := context.WithCancel(ctx)
	var guest sync.WaitGroup
	guest.Go(func() { frugal(ctx) })
	defer guest.Wait()
	defer stop()
	if err := d.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(stderr, "agent run: %v\n", err)
		return exitFailed
	}
	return exitDone
}
