package dashboards

import (
	"strconv"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// stateValues give the codes of states their words and colours, and a time without samples its own.
func stateValues(l words.Lang) []dashboard.ValueMapping {
	return append([]dashboard.ValueMapping{valueMap(map[string]dashboard.ValueMappingResult{
		strconv.Itoa(codeUp):       shown(words.State(l, check.Up), blue, 0),
		strconv.Itoa(codeDegraded): shown(words.State(l, check.Degraded), amber, 1),
		strconv.Itoa(codeDown):     shown(words.State(l, check.Down), red, 2),
		strconv.Itoa(codeUnknown):  shown(words.State(l, check.Unknown), grey, 3),
	})}, noData(l))
}

// successValues are those of egovmon_check_success.
func successValues(l words.Lang) []dashboard.ValueMapping {
	good := text{"Đạt", "works"}
	return append([]dashboard.ValueMapping{valueMap(map[string]dashboard.ValueMappingResult{
		"1": shown(good.in(l), blue, 0),
		"0": shown(words.State(l, check.Down), red, 1),
	})}, noData(l))
}

// presenceValues are those of a machine: heard of lately, or not.
func presenceValues(l words.Lang) []dashboard.ValueMapping {
	here, silent := text{"Có liên lạc", "heard of"}, text{"Im lặng", "silent"}
	return append([]dashboard.ValueMapping{valueMap(map[string]dashboard.ValueMappingResult{
		"1": shown(here.in(l), blue, 0),
		"0": shown(silent.in(l), grey, 1),
	})}, noData(l))
}

// hoursValues are those of egovmon_working_time.
func hoursValues(l words.Lang) []dashboard.ValueMapping {
	in, out := text{"Trong giờ", "working time"}, text{"Ngoài giờ", "outside"}
	return append([]dashboard.ValueMapping{valueMap(map[string]dashboard.ValueMappingResult{
		"1": shown(in.in(l), blue, 0),
		"0": shown(out.in(l), faint, 1),
	})}, noData(l))
}

// stateWords give the values of the label state their words and colours.
func stateWords(l words.Lang) []dashboard.ValueMapping {
	colors := map[check.State]string{check.Up: blue, check.Degraded: amber, check.Down: red, check.Unknown: grey}
	values := map[string]dashboard.ValueMappingResult{}
	for i, s := range check.States() {
		values[s.String()] = shown(words.State(l, s), colors[s], i)
	}
	return []dashboard.ValueMapping{valueMap(values)}
}

// reasonWords give the values of the label reason their titles.
func reasonWords(l words.Lang) []dashboard.ValueMapping {
	values := map[string]dashboard.ValueMappingResult{}
	for i, r := range check.Reasons() {
		index := int32(i)
		title := words.Reason(l, r).Title
		values[string(r)] = dashboard.ValueMappingResult{Text: &title, Index: &index}
	}
	return []dashboard.ValueMapping{valueMap(values)}
}

// noData is what a time without samples shows.
func noData(l words.Lang) dashboard.ValueMapping {
	return dashboard.ValueMapping{SpecialValueMap: &dashboard.SpecialValueMap{Type: dashboard.MappingTypeSpecialValue,
		Options: dashboard.DashboardSpecialValueMapOptions{Match: dashboard.SpecialValueMatchNullAndNan,
			Result: shown(nothing.in(l), faint, 9)}}}
}

var nothing = text{"Không có dữ liệu", "No data"}

func valueMap(values map[string]dashboard.ValueMappingResult) dashboard.ValueMapping {
	return dashboard.ValueMapping{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: values}}
}

func shown(word, color string, index int) dashboard.ValueMappingResult {
	return dashboard.ValueMappingResult{Text: &word, Color: &color, Index: new(int32(index))}
}
