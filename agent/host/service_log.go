package host

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// LogFile is the log of an agent that nothing else keeps a log of (a Windows service), in its data folder. The one
// before it is LogFile + ".old".
const LogFile = "agent.log"

const maxLog = 4 << 20

// A Log is a file that never grows beyond 4 MiB: then it becomes the old one, and a new one is begun.
type Log struct {
	path string
	max  int64

	mu   sync.Mutex // guards what follows
	f    *os.File
	size int64
}

// OpenLog opens the log in the data folder, and makes both where they are missing.
func OpenLog(dir string) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{path: filepath.Join(dir, LogFile), max: maxLog}
	return l, l.open()
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.size = f, st.Size()
	return nil
}

// Write appends one message. What does not fit into the file begins a new one.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return 0, os.ErrClosed
	}
	if l.size > 0 && l.size+int64(len(p)) > l.max {
		_ = l.f.Close()
		l.f = nil
		// Where the old one cannot be replaced, this one goes on.
		_ = os.Rename(l.path, l.path+".old")
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
