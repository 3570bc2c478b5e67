//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"egovmon/agent/durable"
	"egovmon/deploy/lab/district"
	"egovmon/deploy/lab/fault"
	"egovmon/deploy/lab/lateline"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/town"
)

// Defaults.
const (
	DefaultListen   = "127.0.0.1:19190"
	DefaultCommunes = 6
	LoopbackTowns   = 2 // communes of a lab on loopback
	every           = 10 * time.Second
	readyWithin     = 2 * time.Minute
	downWithin      = 30 * time.Second
)

// A Config says what lab to put up.
type Config struct {
	Dir      string       // the lab's folder; everything in it is the lab's
	Communes int          // from 1 to town.Most
	Range    netip.Prefix // of addresses; ignored on loopback
	Loopback bool         // no namespaces: fewer faults, no root
	Simple   bool         // stand-ins in place of the real servers; always so on loopback
	// Prometheus adds a Prometheus that scrapes the collector, an Alertmanager, and a VictoriaMetrics that takes its remote write.
	Prometheus bool
	Listen     string // where the board is, on this machine's loopback
	Bin        string // folder with the programs agent, collector and egovmon-token
	// Transcript, unless nil, is given every line of the transcript.
	Transcript func(line []byte)
	// Say is told how far things are.
	Say func(text string)
	Log *slog.Logger
}

// A unit is one site with an agent.
type unit struct {
	district.Commune
	pc, gateway, carrier string // sites; "" on loopback
	dir                  string // of its machine
	agent                *program
	printer              *servers.Printer  // nil on loopback
	token                *servers.Token    // with which the machine signs; nil for none
	signer, client       *servers.Identity // whose key is on it, and who asks for signatures by mobile phone
	wall                 stopper           // a captive portal, while it is there
	late                 *lateline.Line    // while its line is slow
}

// A stopper is a server that can be stopped for good.
type stopper interface{ Stop() error }

// A Stage is a lab that runs.
type Stage struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	trace  *Trace
	town   *town.Town
	units  []*unit // the communes, and last the district itself
	port   func(std int) int
	api    *api
	told   *office
	centre *program
	lines  *lines
	pki    *servers.PKI // of the real servers; nil with stand-ins
	ends   district.Endpoints
	names  map[string]netip.Addr
	stops  []func() error // in the order of the starts
	script *transcript
	series *series // nil without Prometheus

	hands   map[string]hand
	missing map[string]string // why a fault of the catalogue is not to be had here

	mu     sync.Mutex
	active []Active
}

// A hand brings a fault about (on), or takes it away. It returns once that is done, and may be called twice.
type hand func(ctx context.Context, u *unit, on bool) error

// An Active is a fault that is on.
type Active struct {
	Fault string    `json:"fault"`
	Unit  string    `json:"unit,omitempty"`
	Since time.Time `json:"since"`
}

// Up puts a lab up and returns once its board shows every service as working. When it fails, nothing is left. Down ends
// it; so does the end of ctx, without waiting.
func Up(ctx context.Context, cfg Config) (_ *Stage, err error) {
	s := &Stage{cfg: cfg, hands: map[string]hand{}, missing: map[string]string{}, names: map[string]netip.Addr{}, port: func(std int) int { return std }}
	if s.cfg.Say == nil {
		s.cfg.Say = func(string) {}
	}
	if s.cfg.Log == nil {
		s.cfg.Log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.trace = &Trace{Version: traceVersion, Dir: cfg.Dir, Since: time.Now().UTC(), Keeper: Proc{"lab", os.Getpid(), startOf(os.Getpid())}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Down())
		}
	}()
	if err := os.Setenv(marker, cfg.Dir); err != nil { // its programs inherit it
		return nil, err
	}
	if err := s.trace.change(func() {}); err != nil {
		return nil, err
	}
	if s.script, err = newTranscript(cfg.Dir, cfg.Transcript); err != nil {
		return nil, err
	}
	s.stops = append(s.stops, s.script.close)
	begin := time.Now()
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"mạng (network)", s.makeNetwork},
		{"máy chủ (servers)", s.openServers},
		{"Prometheus", s.openSeries},
		{"bộ dữ liệu (profile)", s.writeProfile},
		{"máy chủ thu thập (collector)", s.openCentre},
		{"máy trạm các đơn vị (agents)", s.openAgents},
		{"lượt đo đầu tiên (first results)", s.waitReady},
	} {
		if step.what == "Prometheus" && !cfg.Prometheus {
			continue
		}
		s.cfg.Say(step.what)
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
		s.cfg.Log.Info("step done", "step", step.what, "after", time.Since(begin).Round(time.Millisecond))
	}
	s.layHands()
	s.script.write(Line{What: "ready", Seconds: time.Since(begin).Seconds()})
	go s.watch(s.ctx)
	return s, nil
}

// Down takes the lab down and returns once nothing of it is left but its folder.
func (s *Stage) Down() error {
	if s.script != nil {
		s.script.write(Line{What: "down"})
	}
	s.cancel()
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	s.stops = nil
	ctx, cancel := context.WithTimeout(context.Background(), downWithin)
	defer cancel()
	return errors.Join(append(errs, s.trace.clear(ctx))...)
}

// place is where a server of a site stands, with a folder of its own.
func (s *Stage) place(site, name string, ip netip.Addr) (servers.Place, error) {
	dir := filepath.Join(s.cfg.Dir, "servers", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return servers.Place{}, err
	}
	p := servers.Place{Dir: dir, IP: ip, Log: s.logTo(name)}
	if s.cfg.Loopback {
		p.IP = loopback
		p.Port = servers.FreePorts(loopback)
		return p, nil
	}
	p.Netns = town.Netns(site)
	return p, nil
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// netns is the namespace of a site, "" on loopback.
func (s *Stage) netns(site string) string {
	if s.cfg.Loopback {
		return ""
	}
	return town.Netns(site)
}

// makeNetwork makes the namespaces, cables and routes.
func (s *Stage) makeNetwork() error {
	communes, err := district.Communes(s.cfg.Communes, time.Now())
	if err != nil {
		return err
	}
	for _, c := range communes {
		s.units = append(s.units, &unit{Commune: c})
	}
	s.units = append(s.units, &unit{Commune: district.Commune{ID: district.Home, VI: "Huyện Tứ Kỳ", EN: "Tứ Kỳ District", Machine: district.HomeProbe}})
	for _, u := range s.units {
		u.dir = filepath.Join(s.cfg.Dir, "pc", u.Machine)
		if err := os.MkdirAll(u.dir, 0o700); err != nil {
			return err
		}
	}
	if s.cfg.Loopback {
		return nil
	}
	if s.town, err = town.New(s.cfg.Communes, s.cfg.Range); err != nil {
		return err
	}
	for i, u := range s.units[:len(s.units)-1] {
		c := s.town.Communes[i]
		u.pc, u.gateway, u.carrier = c.PC, c.Gateway, c.Carrier
	}
	home := s.units[len(s.units)-1]
	home.pc, home.gateway, home.carrier = town.District, town.DistrictGW, town.Carrier1
	if err := s.trace.change(func() {
		for _, site := range s.town.Sites {
			s.trace.Netns = append(s.trace.Netns, town.Netns(site))
		}
	}); err != nil {
		return err
	}
	if err := batch(s.ctx, "", false, s.town.Make()); err != nil {
		return err
	}
	for _, site := range s.town.Sites {
		if err := sysctl(town.Netns(site), s.town.Sysctls(site)); err != nil {
			return err
		}
		if err := batch(s.ctx, town.Netns(site), false, s.town.Furnish(site)); err != nil {
			return err
		}
	}
	s.lines = &lines{town: s.town, cut: map[end]map[string]bool{}}
	if err := s.furnishMachines(); err != nil {
		return err
	}
	return nil
}

// diskSize is the size of a machine's disk.
const diskSize = "size=48m,mode=0700"

// furnishMachines gives every machine a disk, and a resolver to machines and servers.
func (s *Stage) furnishMachines() error {
	for _, u := range s.units {
		if err := s.trace.change(func() { s.trace.Mounts = append(s.trace.Mounts, u.dir) }); err != nil {
			return err
		}
		if err := mount(u.dir, diskSize); err != nil {
			return err
		}
		if err := s.resolveAt(u.pc); err != nil {
			return err
		}
	}
	return errors.Join(s.resolveAt(town.Province), s.resolveAt(town.National))
}

// resolveAt has the programs of a site ask the lab's resolver, see ip-netns(8).
func (s *Stage) resolveAt(site string) error {
	_, err := os.Stat(etcNetns)
	conf := filepath.Join(etcNetns, town.Netns(site))
	if err := s.trace.change(func() {
		if errors.Is(err, os.ErrNotExist) {
			s.trace.Files = append(s.trace.Files, etcNetns)
		}
		s.trace.Files = append(s.trace.Files, conf)
	}); err != nil {
		return err
	}
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return err
	}
	text := fmt.Appendf(nil, "nameserver %s\noptions timeout:1 attempts:3\n", s.town.ProvinceAddr(resolverAt))
	return os.WriteFile(filepath.Join(conf, "resolv.conf"), text, 0o644)
}

// writeProfile writes the profile and the collector's configuration.
func (s *Stage) writeProfile() error {
	communes, carriers := make([]district.Commune, 0, len(s.units)), map[string]string{}
	for _, u := range s.units {
		if u.ID != district.Home {
			communes = append(communes, u.Commune)
		}
		carriers[u.ID] = map[string]string{town.Carrier1: "Nhà mạng A", town.Carrier2: "Nhà mạng B"}[u.carrier]
	}
	if err := district.Write(filepath.Join(s.cfg.Dir, "profile"), communes, carriers, s.ends, every); err != nil {
		return err
	}
	names := "[localhost]"
	if s.town != nil {
		names = fmt.Sprintf("[%q]", s.town.CollectorAddr())
	}
	dir := filepath.Join(s.cfg.Dir, "collector")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	channels := "webhook: {}"
	if s.ends.Letters != "" { // the office has its mailbox at the server whose faults it is told of
		channels += fmt.Sprintf(", mail: {host: %q, port: 25, ca_file: %q, from: %q}", mailName, s.ends.Roots, "giam-sat@"+zoneDistrict)
	}
	return durable.Replace(filepath.Join(dir, "collector.yaml"), fmt.Appendf(nil, "names: %s\nnode_metrics: false\nalert: {%s}\nincidents: {flap_window: 30s, silence: 10s}\n%s", names, channels, s.series.remoteWrite()))
}

// Fault brings a fault about or takes it away. unit is the id of a commune, "" for the first one; it is ignored where the
// fault strikes everywhere. Doing what is done already is no error.
func (s *Stage) Fault(ctx context.Context, name, unitID string, on bool) (Active, error) {
	f, err := fault.Find(name)
	if err != nil {
		return Active{}, err
	}
	h, ok := s.hands[f.Name]
	if !ok {
		why := s.missing[f.Name]
		if why == "" {
			why = "the servers of this lab cannot do it"
		}
		return Active{}, fmt.Errorf("fault %s is not to be had here: %s", f.Name, why)
	}
	a := Active{Fault: f.Name, Since: time.Now().UTC()}
	var u *unit
	if f.Scope == fault.OneUnit {
		if u, err = s.unit(unitID); err != nil {
			return Active{}, err
		}
		a.Unit = u.ID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := h(ctx, u, on); err != nil {
		return a, fmt.Errorf("fault %s: %w", f.Name, err)
	}
	rest := s.active[:0:0]
	for _, o := range s.active {
		if o.Fault == a.Fault && o.Unit == a.Unit {
			a.Since = o.Since
			continue
		}
		rest = append(rest, o)
	}
	what := "fault-off"
	if on {
		rest, what = append(rest, a), "fault-on"
	}
	s.active = rest
	s.script.write(Line{What: what, Fault: a.Fault, Unit: a.Unit, Cause: string(f.Cause), Owner: f.Owner, Component: f.Component})
	return a, nil
}

// unit finds a commune by its id, its machine or its site.
func (s *Stage) unit(id string) (*unit, error) {
	if id == "" {
		return s.units[0], nil
	}
	var known []string
	for _, u := range s.units {
		if u.ID == id || u.Machine == id || u.pc != "" && u.pc == id {
			return u, nil
		}
		known = append(known, u.ID)
	}
	return nil, fmt.Errorf("there is no unit %.60q in this lab: it has %v", id, known)
}

// Missing says why a fault of the catalogue is not to be had here; "" for one that is.
func (s *Stage) Missing(name string) string {
	if _, ok := s.hands[name]; ok {
		return ""
	}
	if why := s.missing[name]; why != "" {
		return why
	}
	return "the servers of this lab cannot do it"
}
