package access

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"egovmon/agent/durable"
)

// privateMode: the system has permission bits that say who may read a file.
const privateMode = runtime.GOOS != "windows"

// A storedSession is one session in sessions.json.
type storedSession struct {
	SHA256 string    `json:"sha256"` // of the cookie's secret
	User   string    `json:"user"`
	Ends   time.Time `json:"ends"`
}

// loadSessions reads what was open when the program ended. A file that cannot be read as sessions costs those, no more:
// their holders ask for a new link.
func (a *Access) loadSessions() error {
	path := filepath.Join(a.dir, sessionsFile)
	data, err := durable.Read(path, maxSessionsBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	var stored []storedSession
	if err := json.Unmarshal(data, &stored); err != nil {
		a.log.Warn("the sessions of the last start are lost; ask for a new link", "file", path, "err", err)
		return nil
	}
	for _, s := range stored {
		raw, err := hex.DecodeString(s.SHA256)
		if err != nil || len(raw) != len(digest{}) || s.User == "" || s.Ends.After(a.now().Add(SessionLife)) {
			continue
		}
		a.sessions[digest(raw)] = session{s.User, s.Ends}
	}
	a.dropEndedLocked(a.now())
	dropOldest(a.sessions, maxSessions, func(s session) time.Time { return s.ends })
	return nil
}

func (a *Access) dropEndedLocked(now time.Time) {
	for d, s := range a.sessions {
		if !now.Before(s.ends) {
			delete(a.sessions, d)
		}
	}
}

func (a *Access) saveSessionsLocked() error {
	stored := make([]storedSession, 0, len(a.sessions))
	for d, s := range a.sessions {
		stored = append(stored, storedSession{hex.EncodeToString(d[:]), s.user, s.ends.UTC()})
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(a.dir, sessionsFile), data)
}
