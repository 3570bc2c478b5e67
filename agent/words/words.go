// Package words is the one catalogue of what people read: Vietnamese first, English second. It knows the words for
// states and reasons, the phrases of programs and pages, and how numbers, dates and stretches of time are written. Code,
// logs and metrics are English and take nothing from here.
package words

import (
	"fmt"
	"strings"

	"egovmon/agent/check"
)

// A Lang is a language of the catalogue. The zero value reads as VI.
type Lang string

// The languages.
const (
	VI Lang = "vi"
	EN Lang = "en"
)

// ParseLang reads "en" and its regional forms as EN and everything else as VI.
func ParseLang(s string) Lang {
	if l := strings.ToLower(s); l == "en" || strings.HasPrefix(l, "en-") || strings.HasPrefix(l, "en_") {
		return EN
	}
	return VI
}

// A Text is what a person is told of a reason.
type Text struct {
	Title  string // one line: what was found
	Impact string // what citizens or officers cannot do meanwhile; "" when nothing
	Action string // the first step, and whom to call; "" when nothing is to be done
}

// Reason returns the text of a reason. A word that is not on the closed list comes back as its own title.
func Reason(l Lang, r check.Reason) Text {
	e, ok := reasons()[r]
	if !ok {
		return Text{Title: string(r)}
	}
	if l == EN {
		return e.en
	}
	return e.vi
}

// State returns the word for a state.
func State(l Lang, s check.State) string {
	if l == EN {
		return s.String()
	}
	switch s {
	case check.Up:
		return "Hoạt động bình thường"
	case check.Degraded:
		return "Suy giảm"
	case check.Down:
		return "Gián đoạn"
	default:
		return "Không xác định"
	}
}

// Say returns the phrase of a key, with its arguments as of fmt.Sprintf. A key without a phrase comes back in angle
// brackets, so that it is seen. The agent uses [Tell].
func Say(l Lang, key string, args ...any) string { return say(phrases(), l, key, args) }

// Tell is Say with the phrases of the agent alone, whose program is so spared those of the collector.
func Tell(l Lang, key string, args ...any) string { return say(own.get(agentPhrases), l, key, args) }

func say(phrases map[string][2]string, l Lang, key string, args []any) string {
	p, ok := phrases[key]
	if !ok {
		return "<" + key + ">"
	}
	s := p[0]
	if l == EN {
		s = p[1]
	}
	if len(args) == 0 {
		return s
	}
	return fmt.Sprintf(s, args...)
}
