package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/alert"
	"egovmon/collector/fleet"
	"egovmon/collector/profile"
)

// A nomadConfig says where Nomad is, for `collector fleet`. Without addresses there is none.
type nomadConfig struct {
	Addresses  []string `yaml:"addresses"`   // of servers, asked in turn, e.g. https://nomad-1.example.vn:4646
	Region     string   `yaml:"region"`      // default the asked server's own
	Namespace  string   `yaml:"namespace"`   // of the agents' job; default "default"
	Job        string   `yaml:"job"`         // default egovmon-agent
	Pool       string   `yaml:"pool"`        // node pool of the agents' machines; default agents, "*" for every one
	TokenFile  string   `yaml:"token_file"`  // holds the ACL token
	CAFile     string   `yaml:"ca_file"`     // certificates that a server may have
	CertFile   string   `yaml:"cert_file"`   // ours
	KeyFile    string   `yaml:"key_file"`    // ours
	ServerName string   `yaml:"server_name"` // in the servers' certificate, usually server.global.nomad
}

// openFleet makes the watcher of Nomad, where there is one.
func (c *center) openFleet() error {
	n := c.config.Nomad
	c.started = c.now()
	if len(n.Addresses) == 0 {
		return nil
	}
	client, err := fleet.NewClient(fleet.Config{Addresses: n.Addresses, Region: n.Region, Namespace: n.Namespace, Job: n.Job, Pool: n.Pool,
		TokenFile: n.TokenFile, CAFile: n.CAFile, CertFile: n.CertFile, KeyFile: n.KeyFile, ServerName: n.ServerName}, c.now)
	if err != nil {
		return err
	}
	c.nomad = fleet.NewWatcher(client, c.log)
	return nil
}

// watchFleet asks Nomad until ctx ends.
func (c *center) watchFleet(ctx context.Context) error {
	if c.nomad == nil {
		return nil
	}
	return c.nomad.Run(ctx)
}

// fleet compares expected, deployed and reporting machines.
func (c *center) fleet() []fleet.Machine {
	var inventory fleet.Inventory
	if c.nomad != nil {
		inventory = c.nomad.Inventory()
	}
	now := c.now()
	return fleet.Compare(c.district().MachinesAt(now), inventory, fleet.Reported{Since: c.started, Machines: c.intake.Status()}, now)
}

func runFleet(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("fleet", "Lists the machines that the profile expects, those that Nomad runs an agent on, and those that report, and says where\n"+
		"the three disagree. It asks the collector that runs.", stderr)
	data := fs.String("data", "", "folder of the state `DIR`")
	asJSON := fs.Bool("json", false, "write one JSON array")
	lang := fs.String("lang", "vi", "language: vi or en")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "collector fleet: %v\n", err)
		return exitUsage
	}
	var machines []fleet.Machine
	if err := call(ctx, dir, http.MethodGet, pathFleet, nil, &machines); err != nil {
		fmt.Fprintf(stderr, "collector fleet: %v\n", err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, machines)
	}
	l := words.ParseLang(*lang)
	t := tabwriter.NewWriter(stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, words.Say(l, "fleet.head"))
	for _, m := range machines {
		heard := "–"
		if !m.Heard.IsZero() {
			heard = m.Heard.In(profile.Zone()).Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.ID, m.Unit, m.Deployed, heard, words.Say(l, "fleet."+string(m.What)))
	}
	if err := t.Flush(); err != nil {
		return exitFailed
	}
	var w alert.WatcherStatus
	if err := call(ctx, dir, http.MethodGet, pathWatcher, nil, &w); err != nil {
		fmt.Fprintf(stderr, "collector fleet: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "\n%s\n", watcherLine(l, w, time.Now()))
	return exitDone
}
