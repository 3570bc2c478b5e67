package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"
)

// A row is one object of WMI: its properties by name, as the scripting interface hands them out, nil where WMI has no
// value. Whole numbers come as int32 or uint8, those of 64 bits as texts, times as texts (see row.time).
type row map[string]any

// An objects asks WMI for the objects of a class with some of its properties, a bounded number of them. A class or a namespace that
// is not there is fs.ErrNotExist, one that the account may not ask fs.ErrPermission.
type objects func(ctx context.Context, namespace, class string, properties ...string) ([]row, error)

// errValue says that a property is not there or has another type than its class declares.
var errValue = errors.New("a value of another form than expected")

// number returns a whole number that is not negative as its class declares it: uint32 comes as int32.
func (r row) number(name string) (uint64, error) {
	switch v := r[name].(type) {
	case int32:
		return uint64(uint32(v)), nil
	case int16:
		return uint64(uint16(v)), nil
	case uint8:
		return uint64(v), nil
	case uint32:
		return uint64(v), nil
	case string:
		if n, err := strconv.ParseUint(v, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s: %w", name, errValue)
}

func (r row) yes(name string) (bool, error) {
	if v, ok := r[name].(bool); ok {
		return v, nil
	}
	return false, fmt.Errorf("%s: %w", name, errValue)
}

func (r row) text(name string) (string, error) {
	if v, ok := r[name].(string); ok {
		return v, nil
	}
	return "", fmt.Errorf("%s: %w", name, errValue)
}

// time reads a date of WMI (CIM_DATETIME), the same in every language of Windows: 20261122081500.123456+420, with the
// distance to UTC in minutes.
func (r row) time(name string) (time.Time, error) {
	const length, dot, sign = 25, 14, 21
	s, err := r.text(name)
	if err != nil {
		return time.Time{}, err
	}
	wrong := fmt.Errorf("%s: a time of another form than expected: %w", name, errValue)
	if len(s) != length || s[dot] != '.' || s[sign] != '+' && s[sign] != '-' {
		return time.Time{}, wrong
	}
	at, err := time.Parse("20060102150405", s[:dot])
	if err != nil {
		return time.Time{}, wrong
	}
	micro, err1 := strconv.ParseUint(s[dot+1:sign], 10, 32)
	minutes, err2 := strconv.ParseUint(s[sign+1:], 10, 16)
	if err1 != nil || err2 != nil || minutes > 14*60 {
		return time.Time{}, wrong
	}
	shift := time.Duration(minutes) * time.Minute
	if s[sign] == '+' {
		shift = -shift
	}
	return at.Add(shift + time.Duration(micro)*time.Microsecond), nil
}

// ask is s.objects that may be missing, and that says of which class it speaks when it fails.
func (s *station) ask(ctx context.Context, namespace, class string, properties ...string) ([]row, error) {
	if s.objects == nil {
		return nil, fmt.Errorf("%s: %w", class, errNoReader)
	}
	rows, err := s.objects(ctx, namespace, class, properties...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", class, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: %w", class, fs.ErrNotExist)
	}
	return rows, nil
}
