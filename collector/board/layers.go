package board

import (
	"slices"
	"strings"

	"egovmon/agent/words"
)

// A layersPart is the section of the four layers as its template reads it.
type layersPart struct {
	Sums  []layerSum // of all units, one for each layer; none hides the section
	Units []layerUnit
	Fold  bool // the units are folded on narrow screens
	Count int
}

// A layerSum is one layer over all units.
type layerSum struct {
	Name               string
	Measured, Attested layerPart
}

// A layerUnit is one unit in every layer.
type layerUnit struct {
	Name   string
	Layers []layerSum
}

// A layerPart is the measured or the attested controls of one layer, by state. None means that the layer has none.
type layerPart struct {
	Counts   []controlCount
	Sentence string // all of it, for the title
}

type controlCount struct {
	State string // for the style sheet
	Sign  string // its id
	N     string
	Word  string
}

// controlStates lists the states of controls in the order in which they are shown: what asks for a person goes first.
func controlStates() []string {
	return []string{ControlFail, ControlExpired, ControlMissing, ControlWaiting, ControlPartial, ControlUnknown, ControlExcepted, ControlPass, ControlNA}
}

// controlSign is the sign of a state: that of a service where one means the same.
func controlSign(state string) string {
	switch state {
	case ControlPass:
		return "up"
	case ControlPartial:
		return "degraded"
	case ControlFail:
		return "down"
	case ControlNA:
		return "none"
	case ControlExcepted, ControlWaiting:
		return "expired" // a clock: it is permitted for a time, or waits for a person
	default:
		return state
	}
}

func newLayers(g grid, units []UnitLayers) layersPart {
	if len(units) == 0 {
		return layersPart{}
	}
	p := layersPart{Fold: len(units) > wordUnits, Count: len(units)}
	var sum [Layers]Layer
	for k := range sum {
		sum[k] = Layer{Controls{}, Controls{}}
	}
	for _, u := range units {
		row := layerUnit{Name: or(u.Name.in(g.l), g.unitName(u.Unit))}
		for k, layer := range u.Layers {
			layer.Measured.addTo(sum[k].Measured)
			layer.Attested.addTo(sum[k].Attested)
			row.Layers = append(row.Layers, g.layer(k, layer))
		}
		p.Units = append(p.Units, row)
	}
	for k, layer := range sum {
		p.Sums = append(p.Sums, g.layer(k, layer))
	}
	return p
}

// addTo adds the counts to another set of them, by the states that the board knows.
func (c Controls) addTo(to Controls) {
	for state, n := range c {
		if !slices.Contains(controlStates(), state) {
			state = ControlUnknown
		}
		to[state] += max(0, n)
	}
}

func (g grid) layer(k int, layer Layer) layerSum {
	name := words.Say(g.l, "control.layer"+string(rune('1'+k)))
	return layerSum{name, g.layerPart(layer.Measured), g.layerPart(layer.Attested)}
}

func (g grid) layerPart(c Controls) layerPart {
	known := Controls{}
	c.addTo(known)
	var p layerPart
	var said []string
	for _, s := range controlStates() {
		if known[s] == 0 {
			continue
		}
		n := controlCount{s, controlSign(s), words.Number(g.l, int64(known[s])), words.Say(g.l, "control."+s)}
		p.Counts = append(p.Counts, n)
		said = append(said, n.N+" "+lower(n.Word))
	}
	if p.Sentence = strings.Join(said, ", "); p.Sentence == "" {
		p.Sentence = words.Say(g.l, "layer.none")
	}
	return p
}
