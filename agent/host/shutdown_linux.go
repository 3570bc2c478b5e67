package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// wtmp is where the system writes that it is switched off (utmp(5)); newer systems do without.
	wtmp = "/var/log/wtmp"
	// nologin forbids log-ins while the system goes down (nologin(5)).
	nologin = "/run/nologin"
	// askSystemd bounds the question, since the program itself is being stopped meanwhile.
	askSystemd = 2 * time.Second
)

// ShuttingDown reports whether the system is being switched off or restarted, for a program that is told to stop and does
// not know why. systemd says so (systemctl(1), is-system-running); where it is not to be reached, log-ins are forbidden
// meanwhile.
func ShuttingDown(ctx context.Context) bool { return shuttingDown(ctx, nologin) }

func shuttingDown(ctx context.Context, nologin string) bool {
	ctx, cancel := context.WithTimeout(ctx, askSystemd)
	defer cancel()
	// The command fails for every state but one, and writes the state all the same.
	out, _ := exec.CommandContext(ctx, "systemctl", "is-system-running").Output()
	switch state := strings.TrimSpace(string(out)); state {
	case "", "offline", "unknown":
		_, err := os.Stat(nologin)
		return err == nil
	default:
		return state == "stopping"
	}
}

// ShutDownAt reports whether the system was switched off or restarted in order about when a program ended, as far as its
// record of such things tells.
func ShutDownAt(end time.Time) bool {
	f, err := os.Open(wtmp)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	return err == nil && shutDownAt(f, st.Size(), end)
}

// A record of wtmp has 384 bytes on every Linux that this program is made for: the type in the first two, the user (32
// bytes) from 44 on, seconds since 1970 in four from 340 on.
const (
	recordSize = 384
	userAt     = 44
	userSize   = 32
	secondsAt  = 340
	runLevel   = 1 // RUN_LVL; with the user "shutdown" the system goes down
	lastBytes  = 512 * recordSize
)

// shutDownAt looks through the last records of a wtmp.
func shutDownAt(r io.ReaderAt, size int64, end time.Time) bool {
	size -= size % recordSize
	b := make([]byte, min(size, lastBytes))
	if _, err := r.ReadAt(b, size-int64(len(b))); err != nil {
		return false
	}
	for ; len(b) >= recordSize; b = b[recordSize:] {
		user, _, _ := bytes.Cut(b[userAt:userAt+userSize], []byte{0})
		if binary.LittleEndian.Uint16(b) != runLevel || string(user) != "shutdown" {
			continue
		}
		at := time.Unix(int64(binary.LittleEndian.Uint32(b[secondsAt:])), 0)
		if d := at.Sub(end); d > -30*time.Second && d < 5*time.Minute {
			return true
		}
	}
	return false
}
