package machine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

// inventoryKind is control m25 of the model "4 lớp": what an inventory of the office's machines must hold of this one.
func inventoryKind() check.Kind {
	const century = 100 * 365 * 86400
	serial := func(name, of string) check.FactDef {
		return check.FactDef{Name: name, Help: "the first 48 bits of the SHA-256 of " + of + ", which shows a change", Max: 1 << 48}
	}
	return check.Kind{
		Name:    "inventory",
		Family:  "machine",
		Summary: "What this computer is, for the inventory (control m25): system, maker and model, serial number, memory, disks, network links; and what of it has changed.",
		Options: []check.Option{
			{Name: "changed_for", Type: check.TypeDuration, Default: "24h", Min: 60, Max: 90 * 86400, Help: "How long a change is shown as content_changed."},
			{Name: "reviewed", Type: check.TypeString, Help: "The day on which somebody last compared the inventory with the machine, YYYY-MM-DD; without it this is not judged."},
			{Name: "max_age", Type: check.TypeDuration, Default: "8784h", Min: 86400, Max: century, Help: "How long ago that may be: longer is stale."},
		},
		Facts: []check.FactDef{
			{Name: "memory_bytes", Help: "memory", Max: 1 << 53},
			{Name: "disks_bytes", Help: "size of the disks that are built in", Max: 1 << 53},
			{Name: "links_count", Help: "network links with a hardware address", Max: 10000},
			{Name: "fields_count", Help: "fields of the inventory that could be read", Max: 100},
			{Name: "missing_count", Help: "fields of the inventory that could not", Max: 100},
			{Name: "changed_count", Help: "fields that have changed within changed_for", Max: 100},
			serial("system_hash_serial", "the system's name and version"),
			serial("hardware_hash_serial", "maker, model, serial number, memory and disks"),
			serial("network_hash_serial", "the hardware addresses"),
		},
		Phases: []string{"total"},
		New: func(o check.Options, env check.Env) (check.Func, error) {
			return newInventory(o, env, readAsset)
		},
	}
}

// An asset is what an inventory holds of a machine. Fields that could not be read are empty.
type asset struct {
	System string // with its version
	Maker  string
	Model  string
	Serial string // only who administers the machine may read it on most systems
	Memory uint64 // bytes
	Disks  uint64 // bytes, of those built in
	Links  []string
}

// A field is one line of the inventory; value is "" when it could not be read.
type field struct {
	name, value string
	needed      bool
}

func (a asset) fields() []field {
	bytes := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
	return []field{
		{"system", a.System, true}, {"maker", a.Maker, true}, {"model", a.Model, true}, {"serial", a.Serial, false},
		{"memory", bytes(a.Memory), true}, {"disks", bytes(a.Disks), true}, {"links", strings.Join(a.Links, " "), true},
	}
}

// serialOf is a number that stands for texts.
func serialOf(texts ...string) float64 {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	return float64(binary.BigEndian.Uint64(sum[:8]) >> 16)
}

type inventory struct {
	read     func(ctx context.Context) (asset, error)
	now      func() time.Time
	notes    check.Notes
	shown    time.Duration
	reviewed time.Time
	maxAge   time.Duration
}

func newInventory(o check.Options, env check.Env, read func(context.Context) (asset, error)) (check.Func, error) {
	v := inventory{read: read, now: env.Now, notes: env.Kept(), shown: o.Duration("changed_for"), maxAge: o.Duration("max_age")}
	if v.now == nil {
		v.now = time.Now
	}
	if s := o.String("reviewed"); s != "" {
		var err error
		if v.reviewed, err = time.Parse(time.DateOnly, s); err != nil {
			return nil, fmt.Errorf("option \"reviewed\": %q is no day: write it as 2026-11-23", s)
		}
	}
	return func(ctx context.Context) check.Result {
		begin := time.Now()
		r := v.run(ctx)
		r.Phases.Add("total", time.Since(begin))
		return r
	}, nil
}

func (v inventory) run(ctx context.Context) check.Result {
	a, err := v.read(ctx)
	if err != nil {
		return check.Because(check.NotSupported, "the inventory of this machine: %v", err)
	}
	now := v.now()
	known := v.remember(a, now)
	return v.judge(a, known, now)
}

// What is remembered was seen before: the values in force and what changed last.
type remembered struct {
	Fields  map[string]string    `json:"fields"`
	Changed map[string]time.Time `json:"changed,omitempty"`
}

const noteName = "inventory"

// remember compares with what was kept and keeps what is now. A field that cannot be read now has not changed.
func (v inventory) remember(a asset, now time.Time) remembered {
	var m remembered
	before := v.notes.Note(noteName)
	if json.Unmarshal(before, &m) != nil || len(m.Fields) > 100 || len(m.Changed) > 100 {
		m = remembered{}
	}
	if m.Fields == nil {
		m.Fields = map[string]string{}
	}
	if m.Changed == nil {
		m.Changed = map[string]time.Time{}
	}
	for _, f := range a.fields() {
		if old, seen := m.Fields[f.name]; f.value != "" && old != f.value {
			if seen {
				m.Changed[f.name] = now.UTC().Truncate(time.Second)
			}
			m.Fields[f.name] = f.value
		}
	}
	for name, at := range m.Changed {
		if now.Sub(at) > v.shown || at.After(now.Add(time.Hour)) {
			delete(m.Changed, name)
		}
	}
	if b, err := json.Marshal(m); err == nil && string(b) != string(before) {
		v.notes.Keep(noteName, b)
	}
	return m
}

func (v inventory) judge(a asset, m remembered, now time.Time) check.Result {
	var missing, changed, shown []string
	read := 0
	for _, f := range a.fields() {
		if f.value != "" {
			read++
		} else if f.needed {
			missing = append(missing, f.name)
		}
		if _, ok := m.Changed[f.name]; ok {
			changed = append(changed, f.name)
		}
		// Hardware addresses tell which machine it is to everybody on the network; their number does here.
		if f.value != "" && f.name != "links" {
			shown = append(shown, f.name+" "+f.value)
		}
	}
	r := check.Because(check.OK, "%s", strings.Join(shown, "; "))
	switch {
	case len(changed) > 0:
		r = check.Because(check.ContentChanged, "changed: %s; now %s", strings.Join(changed, ", "), strings.Join(shown, "; "))
	case !v.reviewed.IsZero() && now.Sub(v.reviewed) > v.maxAge:
		r = check.Because(check.Stale, "the inventory was last compared on %s", v.reviewed.Format(time.DateOnly))
	case len(missing) > 0:
		r = check.Because(check.Partial, "not readable: %s; %s", strings.Join(missing, ", "), strings.Join(shown, "; "))
	}
	r.Facts.Add("fields_count", float64(read))
	r.Facts.Add("missing_count", float64(len(missing)))
	r.Facts.Add("changed_count", float64(len(changed)))
	r.Facts.Add("links_count", float64(len(a.Links)))
	if a.Memory > 0 {
		r.Facts.Add("memory_bytes", float64(a.Memory))
	}
	if a.Disks > 0 {
		r.Facts.Add("disks_bytes", float64(a.Disks))
	}
	if a.System != "" {
		r.Facts.Add("system_hash_serial", serialOf(a.System))
	}
	if read > 0 {
		r.Facts.Add("hardware_hash_serial", serialOf(a.Maker, a.Model, a.Serial, fmt.Sprint(a.Memory), fmt.Sprint(a.Disks)))
	}
	if len(a.Links) > 0 {
		r.Facts.Add("network_hash_serial", serialOf(a.Links...))
	}
	return r
}

// hardwareLinks are the hardware addresses of the links that are built in or plugged in, sorted: those that the system made
// up for itself (bridges, tunnels, containers) come and go.
func hardwareLinks() []string {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var list []string
	for _, i := range all {
		if m := i.HardwareAddr; len(m) == 6 && m[0]&2 == 0 && i.Flags&net.FlagLoopback == 0 && !slices.Contains(list, m.String()) {
			list = append(list, m.String())
		}
	}
	return slices.Sorted(slices.Values(list))
}

// brief is a text of the firmware or the system in a form that fits: makers leave texts such as "To be filled by O.E.M.".
func brief(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	switch strings.ToLower(strings.Trim(s, ".")) {
	case "to be filled by o.e.m", "default string", "system manufacturer", "system product name", "system serial number", "none", "n/a", "not specified", "0":
		return ""
	}
	if len(s) > 48 {
		s = strings.ToValidUTF8(s[:48], "")
	}
	return s
}
