package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"egovmon/agent/durable"
)

// Who acts, as it is named in the log.
const (
	Operator = "operator@local" // the holder of a one-time link
	Program  = "program@local"  // whoever sends the local token
)

// How long things are good for, and how many there may be.
const (
	LinkLife    = 15 * time.Minute
	SessionLife = 12 * time.Hour

	maxLinks    = 32  // open links; one more ends the oldest
	maxSessions = 256 // one more ends the oldest

	failuresAtOnce   = 20 // wrong secrets that are answered in full, …
	failuresASecond  = 1  // … and how fast that number comes back
	localTokenFile   = "local.token"
	sessionsFile     = "sessions.json"
	maxTokenBytes    = 512
	maxSessionsBytes = 256 << 10
)

// Options say how to make an Access.
type Options struct {
	// Dir is the data folder. It holds local.token and sessions.json, both mode 0600.
	Dir string
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Hosts are names and addresses that the Host header may have besides those of loopback, without a port.
	Hosts []string
	// Logger takes what happened: sessions that began, requests that were refused. Nil discards it.
	Logger *slog.Logger
	// Log takes every change of users and tokens as a leaf. Without one there are no users.
	Log Log
}

// An Access knows the users, the sessions, the open links and the tokens. Its methods may be called from several
// goroutines.
type Access struct {
	dir      string
	now      func() time.Time
	hosts    map[string]bool
	log      *slog.Logger
	token    string
	failures *rate.Limiter
	pages    *template.Template
	people   people
	locks    locks
	hashing  chan struct{} // holds as many as passwords are being checked

	mu       sync.Mutex
	links    map[digest]time.Time // when each open link ends
	sessions map[digest]session
}

// A digest is the SHA-256 of a secret.
type digest [sha256.Size]byte

type session struct {
	user string
	ends time.Time
}

// New reads the local token and the sessions from the data folder, and writes a token when there is none.
func New(o Options) (*Access, error) {
	a := &Access{
		dir: o.Dir, now: o.Now, log: o.Logger, hosts: map[string]bool{},
		failures: rate.NewLimiter(failuresASecond, failuresAtOnce),
		links:    map[digest]time.Time{},
		sessions: map[digest]session{},
		hashing:  make(chan struct{}, maxHashing),
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	for _, h := range o.Hosts {
		if h = plainHost(h); h != "" {
			a.hosts[h] = true
		}
	}
	var err error
	if a.pages, err = parsePages(); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if err := durable.MkdirAll(a.dir); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if err := a.loadToken(); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if err := a.loadSessions(); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	a.people.log, a.people.dir, a.people.now, a.people.changed = o.Log, a.dir, a.now, a.endSessions
	if err := a.people.open(a.log); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	return a, nil
}

// LocalToken returns the token for programs on this machine.
func (a *Access) LocalToken() string { return a.token }

// Link makes a one-time link below base, e.g. http://127.0.0.1:19090, that opens a session within [LinkLife].
func (a *Access) Link(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("access: a link below %q: want a base such as http://127.0.0.1:19090", base)
	}
	secret, now := rand.Text(), a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for d, ends := range a.links {
		if !now.Before(ends) {
			delete(a.links, d)
		}
	}
	dropOldest(a.links, maxLinks-1, func(t time.Time) time.Time { return t })
	a.links[sha256.Sum256([]byte(secret))] = now.Add(LinkLife)
	return u.Scheme + "://" + u.Host + linkPath + secret, nil
}

// redeem uses a link up. It reports whether the link was good; then the caller holds the secret of a new session.
func (a *Access) redeem(link string) (secret string, ok bool, err error) {
	d, now := digest(sha256.Sum256([]byte(link))), a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	ends, known := a.links[d]
	delete(a.links, d)
	if !known || !now.Before(ends) {
		return "", false, nil
	}
	a.dropEndedLocked(now)
	dropOldest(a.sessions, maxSessions-1, func(s session) time.Time { return s.ends })
	secret = rand.Text()
	a.sessions[sha256.Sum256([]byte(secret))] = session{Operator, now.Add(SessionLife)}
	return secret, true, a.saveSessionsLocked()
}

// holder returns who the secret of a session stands for; ok is false when for nobody.
func (a *Access) holder(secret string) (w Who, ok bool) {
	d := digest(sha256.Sum256([]byte(secret)))
	a.mu.Lock()
	s, ok := a.sessions[d]
	ok = ok && a.now().Before(s.ends)
	a.mu.Unlock()
	if !ok {
		return Who{}, false
	}
	return a.named(s.user)
}

// named returns what a user may do. The holder of a one-time link may do everything while there are no users; once there
// are, it mends what they cannot, and takes note of nothing: that is for people with names.
func (a *Access) named(user string) (w Who, ok bool) {
	if user == Operator {
		w = newWho(Operator, RoleAdmin, "")
		if a.Any() {
			w.Person = false
			w.scopes = slices.DeleteFunc(w.scopes, func(s Scope) bool { return s == ScopeAck })
		}
		return w, true
	}
	u, ok := a.people.get(user)
	if !ok || u.Disabled || u.Password == "" {
		return Who{}, false
	}
	return newWho(u.ID, u.Role, u.Unit), true
}

// local is who sends the local token: a program of this machine.
func local() Who { return newProgram(Program, newWho("", RoleAdmin, "").scopes) }

// isToken compares in a time that tells nothing of the token.
func (a *Access) isToken(s string) bool {
	got, want := sha256.Sum256([]byte(s)), sha256.Sum256([]byte(a.token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func (a *Access) loadToken() error {
	path := filepath.Join(a.dir, localTokenFile)
	data, err := durable.Read(path, maxTokenBytes)
	if errors.Is(err, fs.ErrNotExist) {
		a.token = rand.Text()
		return durable.Replace(path, []byte(a.token+"\n"))
	}
	if err != nil {
		return fmt.Errorf("local token: %w", err)
	}
	a.token = strings.TrimSpace(string(data))
	if len(a.token) < len(rand.Text()) || strings.ContainsAny(a.token, " \t\r\n") {
		return fmt.Errorf("local token %s: holds no token: delete the file, and the next start writes a new one", path)
	}
	if fi, err := os.Stat(path); err == nil && privateMode && fi.Mode().Perm()&0o077 != 0 {
		a.log.Warn("the local token could be read by others, and no longer can; to be sure, delete it and start again", "file", path)
		if err := os.Chmod(path, 0o600); err != nil {
			return fmt.Errorf("local token: %w", err)
		}
	}
	return nil
}

// dropOldest leaves at most n entries of m: those with the latest times.
func dropOldest[V any](m map[digest]V, n int, at func(V) time.Time) {
	for len(m) > n {
		var oldest digest
		first := true
		for d, v := range m {
			if first || at(v).Before(at(m[oldest])) {
				oldest, first = d, false
			}
		}
		delete(m, oldest)
	}
}
