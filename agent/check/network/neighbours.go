package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

// The values of the option random of neighbours.
const (
	randomIsNew = "new"
	randomApart = "apart"
)

// maxNeighbours bounds what is read of the system's table and of an inventory; the network of a commune has hundreds.
const maxNeighbours = 65536

func neighboursKind() check.Kind {
	count := func(name, help string) check.FactDef {
		return check.FactDef{Name: name, Help: help, Max: maxNeighbours}
	}
	return check.Kind{
		Name:    "neighbours",
		Family:  "network",
		Summary: "Compares the devices that this machine's table of neighbours (ARP, NDP) has as alive with the inventory. It sends nothing, and its results hold counts.",
		Options: []check.Option{
			{Name: "known", Type: check.TypeStrings, Required: true, Max: 4096,
				Help: "Hardware addresses of the inventory, such as 00:1b:a9:12:34:56; several may stand in one text, with spaces between. [] for an inventory without devices."},
			{Name: "max_new", Type: check.TypeInt, Default: "0", Min: 0, Max: maxNeighbours, Unit: "devices",
				Help: "The state is degraded when more devices than this are alive that are not in the inventory."},
			{Name: "random", Type: check.TypeString, Default: randomIsNew, Enum: []string{randomIsNew, randomApart},
				Help: "What devices not in the inventory are that made up their hardware address themselves, as phones do: new ones, or ones only counted apart."},
			{Name: "seen_within", Type: check.TypeDuration, Min: 1, Max: 86400,
				Help: "Devices that are stale in the table count as well when they were confirmed to be alive within this time; without it only those in use do."},
			{Name: "interfaces", Type: check.TypeStrings, Max: 64, Help: "Names of the interfaces to look at; without it all."},
		},
		Facts: []check.FactDef{
			count("devices_count", "devices that are alive, by hardware address"),
			count("known_count", "of them in the inventory"),
			count("new_count", "of them new: not in the inventory, and not counted apart"),
			count("random_count", "of those not in the inventory, devices that made up their hardware address"),
			count("unseen_count", "devices of the inventory that are not among them"),
			count("stale_count", "entries of the table that tell nothing of now"),
			count("failed_count", "addresses that nobody answers for"),
		},
		Phases: []string{"total"},
		Line:   true,
		New:    newNeighbours,
	}
}

func newNeighbours(o check.Options, _ check.Env) (check.Func, error) {
	n, err := readNeighbours(o)
	if err != nil {
		return nil, err
	}
	return n.check, nil
}

// readNeighbours reads what the plan says.
func readNeighbours(o check.Options) (neighbours, error) {
	n := neighbours{maxNew: int(o.Int("max_new")), apart: o.String("random") == randomApart, within: o.Duration("seen_within"),
		interfaces: o.Strings("interfaces"), known: map[hardware]bool{}, table: neighbourTable, names: interfaceNames}
	for _, text := range o.Strings("known") {
		for s := range strings.FieldsSeq(text) {
			m, err := net.ParseMAC(s)
			if err != nil || len(m) != len(hardware{}) || !hardware(m).device() {
				return n, fmt.Errorf("option %q: %q is no hardware address of a device: write six numbers such as 00:1b:a9:12:34:56", "known", s)
			}
			n.known[hardware(m)] = true
		}
	}
	if len(n.known) > maxNeighbours {
		return n, fmt.Errorf("option %q: %d devices: write at most %d", "known", len(n.known), maxNeighbours)
	}
	return n, nil
}

// neighbours is a check of this kind, with what it asks the system for.
type neighbours struct {
	known      map[hardware]bool
	maxNew     int
	apart      bool
	within     time.Duration
	interfaces []string

	table func() ([]neighbour, error)
	names func() map[int]string // interfaces by index
}

// A hardware address is an EUI-48.
type hardware [6]byte

// device reports whether the address can be one device's: neither of a group nor empty.
func (h hardware) device() bool { return h != hardware{} && h[0]&1 == 0 }

// random reports whether it was made up and not given by a maker: the bit for locally administered addresses (IEEE 802).
func (h hardware) random() bool { return h[0]&2 != 0 }

// maker is the part that names who made the device; it tells nothing of which one it is.
func (h hardware) maker() string { return net.HardwareAddr(h[:3]).String() }

// A nearness is what the system knows of a neighbour.
type nearness uint8

const (
	otherwise nearness = iota // written down by somebody, or without resolution: no sign of life
	proven                    // confirmed within half a minute or so
	inUse                     // written to, and being confirmed
	stale                     // once confirmed
	silentOne                 // asked for, and nobody answered, or not yet
)

// A neighbour is one entry of the system's table.
type neighbour struct {
	index     int           // of the interface
	addr      netip.Addr    // on the network
	hardware  hardware      // zero when there is none, or it is of another form
	nearness  nearness      //
	confirmed time.Duration // since it was confirmed to be alive; negative when that is not told
}

func (n neighbours) check(context.Context) check.Result {
	begin := time.Now()
	r := n.look()
	r.Phases.Add("total", time.Since(begin))
	return r
}

func (n neighbours) look() check.Result {
	var only []int
	if len(n.interfaces) > 0 {
		names := n.names()
		for _, want := range n.interfaces {
			found := len(only)
			for index, name := range names {
				if name == want {
					only = append(only, index)
				}
			}
			if len(only) == found {
				return check.Because(check.Misconfigured, "this machine has no interface %q", want)
			}
		}
	}
	entries, err := n.table()
	switch {
	case errors.Is(err, fs.ErrPermission):
		return check.Because(check.NoPermission, "table of neighbours: %s", err)
	case err != nil:
		return check.Because(check.NotSupported, "table of neighbours: %s", err)
	}
	if only != nil {
		entries = slices.DeleteFunc(entries, func(e neighbour) bool { return !slices.Contains(only, e.index) })
	}
	return n.judge(entries)
}

// judge says what a table means.
func (n neighbours) judge(entries []neighbour) check.Result {
	devices := map[hardware]bool{}
	old, dead := 0, 0
	for _, e := range entries {
		if e.addr.IsMulticast() || e.addr.IsLoopback() {
			continue
		}
		switch {
		case e.nearness == silentOne:
			dead++
		case e.nearness == stale && (n.within == 0 || e.confirmed < 0 || e.confirmed > n.within):
			old++
		case e.nearness != otherwise && e.hardware.device():
			devices[e.hardware] = true
		}
	}
	known, random := 0, 0
	var strangers []hardware
	for d := range devices {
		switch {
		case n.known[d]:
			known++
			continue
		case d.random():
			random++
			if n.apart {
				continue
			}
		}
		strangers = append(strangers, d)
	}
	var r check.Result
	switch {
	case len(devices) == 0 && old == 0 && dead > 0:
		r = check.Because(check.Timeout, "nobody on the local network answers: %d addresses were asked for", dead)
	case len(devices) == 0 && old == 0:
		return check.Because(check.NotSupported, "the table of neighbours is empty: this machine has talked to nobody on its network")
	case len(strangers) > n.maxNew:
		r = check.Because(check.ControlPartial, "%d devices are not in the inventory, at most %d may be%s", len(strangers), n.maxNew, makers(strangers))
	default:
		r = check.Because(check.OK, "")
	}
	r.Facts.Add("devices_count", float64(len(devices)))
	r.Facts.Add("known_count", float64(known))
	r.Facts.Add("new_count", float64(len(strangers)))
	r.Facts.Add("random_count", float64(random))
	r.Facts.Add("unseen_count", float64(len(n.known)-known))
	r.Facts.Add("stale_count", float64(old))
	r.Facts.Add("failed_count", float64(dead))
	return r
}

// makers says who made the devices, as far as that shows, without saying which devices they are.
func makers(strangers []hardware) string {
	var names []string
	random := 0
	for _, s := range strangers {
		if s.random() {
			random++
		} else if m := s.maker(); !slices.Contains(names, m) {
			names = append(names, m)
		}
	}
	slices.Sort(names)
	text := ""
	if len(names) > 0 {
		text = "; makers " + strings.Join(names[:min(len(names), 8)], ", ")
	}
	if random > 0 {
		text += fmt.Sprintf("; %d have a random address", random)
	}
	return text
}

// interfaceNames lists the interfaces of this machine.
func interfaceNames() map[int]string {
	names := map[int]string{}
	all, err := net.Interfaces()
	if err != nil {
		return names
	}
	for _, i := range all {
		names[i.Index] = i.Name
	}
	return names
}
