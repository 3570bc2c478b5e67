package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"egovmon/agent/words"
)

// UIDs of the Vietnamese dashboards, by which links and alerts name them. The English ones end in [English].
const (
	Overview = "egovmon-overview"
	Unit     = "egovmon-unit"
	System   = "egovmon-system"

	English = "-en"
)

// classic is Grafana's model of a dashboard that every version from 10 on reads from provisioned files.
//
//lint:ignore SA1019 Grafana 13 still takes no other model from provisioned files
type classic = dashboard.Dashboard

// Files returns the dashboards of both languages as Grafana's classic JSON, by name: LANGUAGE/DASHBOARD.json.
func Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, l := range []words.Lang{words.VI, words.EN} {
		for name, b := range boards() {
			d := b.render(l)
			if err := d.Validate(); err != nil {
				return nil, fmt.Errorf("dashboard %s in %s: %w", name, l, err)
			}
			text, err := encode(d)
			if err != nil {
				return nil, fmt.Errorf("dashboard %s in %s: %w", name, l, err)
			}
			files[string(l)+"/"+name+".json"] = text
		}
	}
	return files, nil
}

// boards are all dashboards by file name.
func boards() map[string]board {
	return map[string]board{"overview": overview(), "unit": unit(), "system": system()}
}

// encode writes a dashboard for people to read and compare: indented, and with the comparisons of PromQL as they are.
func encode(d classic) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
