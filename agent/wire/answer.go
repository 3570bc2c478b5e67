package wire

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// LayoutTime is the form of [Answer.Time]: UTC with milliseconds.
const LayoutTime = "2006-01-02T15:04:05.000Z"

// FormatTime writes t as it stands in an answer.
func FormatTime(t time.Time) string { return t.UTC().Format(LayoutTime) }

// ParseTime reads an answer's time. Any form of RFC 3339 is taken; the result is UTC.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("time %.40q of the answer: want RFC 3339, such as 2026-11-23T01:00:00.000Z", s)
	}
	return t.UTC(), nil
}

// EncodeAnswer writes an answer as JSON with a newline. One of more than MaxAnswer bytes is an [ErrLimit].
func EncodeAnswer(a Answer) ([]byte, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if len(b) >= MaxAnswer {
		return nil, fmt.Errorf("answer of %d bytes: %w", len(b), ErrLimit)
	}
	return append(b, '\n'), nil
}

// DecodeAnswer reads one answer of at most MaxAnswer bytes. Keys that this version does not know are passed over: the
// collector may be newer.
func DecodeAnswer(r io.Reader) (Answer, error) {
	var a Answer
	b, err := ReadAll(r, MaxAnswer)
	if err != nil {
		return a, fmt.Errorf("answer: %w", err)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return Answer{}, fmt.Errorf("answer %.80q is not the collector's JSON: %w", b, err)
	}
	return a, nil
}

// ReadAll reads r to its end; more than most bytes are an [ErrLimit].
func ReadAll(r io.Reader, most int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, fmt.Errorf("more than %d bytes: %w", most, ErrLimit)
	}
	return b, nil
}
