package control

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"egovmon/agent/check"
)

// judgeEncryption says whether the system's disk can be read by who carries it away.
func judgeEncryption(encrypted bool, l *limits) *check.Result {
	var r *check.Result
	switch {
	case encrypted:
		r = because(check.OK, "the system's disk is encrypted")
	case l.required:
		r = because(check.ControlFail, "the system's disk is not encrypted")
	default:
		r = because(check.ControlPartial, "the system's disk is not encrypted, which the plan does not ask for")
	}
	r.Facts.Add("encrypted_code", yes01(encrypted))
	return r
}

// encryption follows the root file system down to the kernel's devices: one made by dm-crypt has a name that says so.
func (t *tree) encryption(context.Context) (bool, error) {
	text, err := t.read("proc/self/mountinfo", maxFile)
	if err != nil {
		return false, fmt.Errorf("the list of file systems: %w", bare(err))
	}
	number := ""
	for line := range strings.Lines(string(text)) {
		// proc(5): the third field is the device, the fifth where it is mounted. The last one for / is in force.
		if f := strings.Fields(line); len(f) > 5 && f[4] == "/" {
			number = f[2]
		}
	}
	if number == "" || strings.HasPrefix(number, "0:") || strings.ContainsAny(number, "/.") {
		return false, fmt.Errorf("the system is not on a disk that the kernel names: %w", errors.ErrUnsupported)
	}
	return t.crypt("sys/dev/block/"+number, 0)
}

// crypt reports whether a device is made by dm-crypt, or all that it is made of is.
func (t *tree) crypt(device string, depth int) (bool, error) {
	if depth > 8 {
		return false, fmt.Errorf("devices upon devices without end: %w", errors.ErrUnsupported)
	}
	id, err := t.text(device + "/dm/uuid")
	if err != nil {
		return false, fmt.Errorf("the disk's device: %w", bare(err))
	}
	if strings.HasPrefix(id, "CRYPT-") {
		return true, nil
	}
	below, err := t.list(device + "/slaves")
	if err != nil {
		return false, fmt.Errorf("what the disk's device is made of: %w", bare(err))
	}
	for _, name := range below {
		if encrypted, err := t.crypt(path.Join(device, "slaves", name), depth+1); !encrypted || err != nil {
			return false, err
		}
	}
	return len(below) > 0, nil
}
