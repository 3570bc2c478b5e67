package exporter

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"sync"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// A guard lets those requests through that a web configuration allows.
type guard struct {
	web   *web
	next  http.Handler
	limit *rate.Limiter // nil for none
	known verdicts
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := g.web.config()
	if err != nil {
		http.Error(w, "the web configuration of this program cannot be read; its owner finds why by starting it again", http.StatusInternalServerError)
		return
	}
	if g.limit != nil && !g.limit.Allow() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "more requests than rate_limit of the web configuration allows", http.StatusTooManyRequests)
		return
	}
	for k, v := range c.headers {
		w.Header().Set(k, v)
	}
	if len(c.users) == 0 {
		g.next.ServeHTTP(w, r)
		return
	}
	if user, password, ok := r.BasicAuth(); ok {
		hash, exists := c.users[user]
		if !exists {
			hash = []byte(nobody)
		}
		right, busy := g.known.compare(user, hash, password)
		switch {
		case busy:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many passwords are being compared", http.StatusTooManyRequests)
			return
		case right && exists:
			g.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), webUser{}, user)))
			return
		}
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="egovmon", charset="UTF-8"`)
	http.Error(w, "user name and password are needed", http.StatusUnauthorized)
}

type webUser struct{}

// WebUser returns the user of the web configuration whose password came with a request behind [Secure]; "" when the
// configuration names none.
func WebUser(ctx context.Context) string {
	user, _ := ctx.Value(webUser{}).(string)
	return user
}

// nobody is the bcrypt hash of random bytes that were thrown away, of cost 10. A name that does not exist is compared
// with it, so that the time of an answer does not tell which names do.
const nobody = "$2a$10$uEnfvcKsTk.7EeJ/Pn/uMu4VW/oT0D/PkXw9rXhCSYbpfBvuKVuZC"

// Bounds of what is remembered and of what waits.
const (
	maxVerdicts = maxUsers
	maxWaiting  = 16
)

// verdicts remembers which passwords were right and which were wrong, by a keyed hash, since bcrypt is made to be slow
// and a scrape comes every few seconds. The two are kept apart, so that nobody who guesses can make room at the expense
// of those who know. The zero value is ready for use.
type verdicts struct {
	mu           sync.Mutex
	key          []byte
	right, wrong map[[sha256.Size]byte]bool
	waiting      int
	bcrypt       sync.Mutex // one comparison at a time: it keeps a core busy
}

// compare reports whether a password fits a hash; busy when too many others wait to know.
func (v *verdicts) compare(user string, hash []byte, password string) (right, busy bool) {
	id, known, right := v.look(user, hash, password)
	if known {
		return right, false
	}
	if !v.enter() {
		return false, true
	}
	v.bcrypt.Lock()
	if _, known, right = v.look(user, hash, password); !known {
		right = bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	}
	v.bcrypt.Unlock()
	v.leave(id, right)
	return right, false
}

func (v *verdicts) look(user string, hash []byte, password string) (id [sha256.Size]byte, known, right bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.key == nil {
		v.key = make([]byte, sha256.Size)
		_, _ = rand.Read(v.key) // never fails
		v.right, v.wrong = map[[sha256.Size]byte]bool{}, map[[sha256.Size]byte]bool{}
	}
	m := hmac.New(sha256.New, v.key)
	for _, part := range [][]byte{[]byte(user), hash, []byte(password)} {
		sum := sha256.Sum256(part)
		_, _ = m.Write(sum[:])
	}
	m.Sum(id[:0])
	return id, v.right[id] || v.wrong[id], v.right[id]
}

func (v *verdicts) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting == maxWaiting {
		return false
	}
	v.waiting++
	return true
}

func (v *verdicts) leave(id [sha256.Size]byte, right bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting--
	m := v.wrong
	if right {
		m = v.right
	}
	if len(m) >= maxVerdicts {
		clear(m)
	}
	m[id] = true
}
