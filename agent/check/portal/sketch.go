package portal

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode"

	"egovmon/agent/check/web"
)

// sketchSize is how many numbers a fingerprint has.
const sketchSize = 44

// maxWords bounds the text that a fingerprint is made of, in bytes.
const maxWords = 512 << 10

// A sketch is the fingerprint of a text: the smallest hashes of its runs of three words, in order, by which the share of runs that
// two texts have in common can be told (bottom-k sketch; Broder, On the resemblance and containment of documents, 1997). Digits
// count as one another, so that dates and counters are no change.
type sketch []uint32

// newSketch makes the fingerprint of the lines of a page. What tolerate removes is left out.
func newSketch(lines []string, tolerate func(string) string) sketch {
	var s sketch
	var run [3]string
	n := 0
	for _, line := range lines {
		for w := range strings.FieldsSeq(folded(tolerate(line))) {
			run[0], run[1], run[2] = run[1], run[2], w
			if n++; n >= len(run) {
				s = s.with(hashOf(run[:]))
			}
		}
	}
	if n > 0 && n < len(run) {
		s = s.with(hashOf(run[len(run)-n:]))
	}
	return s
}

// folded is a text in small letters with every run of digits as one 0, and signs as spaces.
func folded(s string) string {
	digit := false
	return strings.Map(func(r rune) rune {
		was := digit
		digit = unicode.IsDigit(r)
		switch {
		case digit && was:
			return -1
		case digit:
			return '0'
		case unicode.IsLetter(r), unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return ' '
	}, s)
}

func hashOf(words []string) uint32 {
	h := fnv.New64a()
	for _, w := range words {
		_, _ = h.Write([]byte(w))
		_, _ = h.Write([]byte{0})
	}
	v := h.Sum64()
	return uint32(v ^ v>>32)
}

// with puts a number in its place, when it is among the smallest.
func (s sketch) with(v uint32) sketch {
	if len(s) == sketchSize && v >= s[len(s)-1] {
		return s
	}
	i := 0
	for i < len(s) && s[i] < v {
		i++
	}
	if i < len(s) && s[i] == v {
		return s
	}
	if len(s) < sketchSize {
		s = append(s, 0)
	}
	copy(s[i+1:], s[i:])
	s[i] = v
	return s
}

// changed estimates the share of what two texts have that only one of them has: 0 for the same text, 1 for texts with nothing in
// common. Two empty ones are the same.
func (s sketch) changed(from sketch) float64 {
	seen, both := 0, 0
	for i, j := 0, 0; seen < sketchSize && (i < len(s) || j < len(from)); seen++ {
		switch {
		case j == len(from) || i < len(s) && s[i] < from[j]:
			i++
		case i == len(s) || from[j] < s[i]:
			j++
		default:
			both++
			i++
			j++
		}
	}
	if seen == 0 {
		return 0
	}
	return 1 - float64(both)/float64(seen)
}

// sketchMark stands before a fingerprint that is written, and names its kind.
const sketchMark = "t1:"

// String writes the fingerprint as a plan has it; at most 240 bytes.
func (s sketch) String() string {
	b := make([]byte, 0, 4*len(s))
	for _, v := range s {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return sketchMark + base64.RawURLEncoding.EncodeToString(b)
}

// parseSketch reads what String wrote.
func parseSketch(text string) (sketch, error) {
	rest, ok := strings.CutPrefix(text, sketchMark)
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if !ok || err != nil || len(b)%4 != 0 || len(b) > 4*sketchSize {
		return nil, fmt.Errorf("%.20q is no fingerprint: write what the check prints with reference: show", text)
	}
	var s sketch
	for ; len(b) > 0; b = b[4:] {
		v := binary.BigEndian.Uint32(b)
		if len(s) > 0 && v <= s[len(s)-1] {
			return nil, fmt.Errorf("%.20q is no fingerprint: its numbers are out of order", text)
		}
		s = append(s, v)
	}
	return s, nil
}

// words are the lines of a page that a fingerprint is made of.
func words(page []byte, leave *web.Selector) []string {
	_, _, lines := web.Words(page, leave, maxWords)
	return lines
}
