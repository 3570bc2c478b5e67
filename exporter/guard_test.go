package exporter

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"runtime"
	"testing"
)

// What was compared once is answered without another comparison, by user, hash and password together.
func TestVerdictsRemember(t *testing.T) {
	var v verdicts
	h := []byte(hash(t, "secret"))
	for range 2 {
		if right, busy := v.compare("a", h, "secret"); !right || busy {
			t.Fatal("the right password is wrong")
		}
		if right, busy := v.compare("a", h, "guess"); right || busy {
			t.Fatal("a wrong password is right")
		}
		v.bcrypt.TryLock() // from now on a comparison would never end
	}
	// Guesses are forgotten among themselves; what is right stays known.
	for i := range maxVerdicts + 1 {
		var id [sha256.Size]byte
		binary.BigEndian.PutUint64(id[:], uint64(i)+1)
		v.mu.Lock()
		v.waiting++
		v.mu.Unlock()
		v.leave(id, false)
	}
	if len(v.wrong) > maxVerdicts {
		t.Errorf("%d guesses are remembered", len(v.wrong))
	}
	if right, _ := v.compare("a", h, "secret"); !right {
		t.Error("guesses pushed out what was right")
	}
	v.bcrypt.Unlock()
	if right, _ := v.compare("a", []byte(hash(t, "new")), "secret"); right {
		t.Error("the password before the change is still right")
	}
}

// Whoever floods the server with passwords waits in a bounded line; who is known passes by it.
func TestVerdictsBusy(t *testing.T) {
	var v verdicts
	h := []byte(hash(t, "secret"))
	v.compare("a", h, "secret")
	v.bcrypt.Lock()
	done := make(chan bool, maxWaiting)
	for i := range maxWaiting {
		go func() {
			right, _ := v.compare("a", h, string(rune('a'+i)))
			done <- right
		}()
	}
	waiting := func() int {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.waiting
	}
	for waiting() < maxWaiting {
		runtime.Gosched()
	}
	if _, busy := v.compare("a", h, "one more"); !busy {
		t.Error("the line has no end")
	}
	if right, busy := v.compare("a", h, "secret"); !right || busy {
		t.Error("who is known has to wait")
	}
	v.bcrypt.Unlock()
	for range maxWaiting {
		if <-done {
			t.Error("a guess was right")
		}
	}
	if waiting() != 0 {
		t.Errorf("%d are still waiting", waiting())
	}
}

// A web configuration that became wrong after the start answers no request, over plain HTTP too.
func TestGuardClosed(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "web.yml", []byte("basic_auth_users: {a: "+hash(t, "1")+"}\n"))
	g := &guard{web: &web{file: file}, next: http.HandlerFunc(hello)}
	if code, _, _ := fetch(t, g, "/"); code != http.StatusUnauthorized {
		t.Errorf("without a password: %d", code)
	}
	write(t, dir, "web.yml", []byte("basic_auth_users: {a: 1}\n"))
	if code, _, body := fetch(t, g, "/"); code != http.StatusInternalServerError || body == "" {
		t.Errorf("with a mistake: %d %s", code, body)
	}
}
