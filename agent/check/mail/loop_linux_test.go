package mail

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// peerName is the mailbox of the other machine of the loop.
const peerName = "probe2@xa.test"

// A vantage is one machine of a loop, with a clock that goes as far ahead as a test says.
type vantage struct {
	t     *testing.T
	run   check.Func
	ahead atomic.Int64
}

// newVantage makes the check of one machine.
func newVantage(t *testing.T, m *servers.Mail, pki *servers.PKI, mailbox string, with check.Options) *vantage {
	t.Helper()
	v := &vantage{t: t}
	o := check.Options{"address": m.Submission(), "imap": m.IMAPS(), "roots": pki.Roots, "mailbox": mailbox, "user": mailbox, "password": "mailbox", "key": "loop"}
	maps.Copy(o, with)
	f, err := mailloopKind().New(checktest.WithDefaults(t, mailloopKind(), o), check.Env{
		Now: func() time.Time { return time.Now().Add(time.Duration(v.ahead.Load())) },
		Secret: func(name string) (string, error) {
			switch name {
			case "mailbox":
				return password, nil
			case "loop":
				return "khoa chung", nil
			case "wrong":
				return "wrong", nil
			}
			return "", errors.New("there is none")
		}})
	if err != nil {
		t.Fatal(err)
	}
	v.run = f
	return v
}

// look runs the check once, this much later than before.
func (v *vantage) look(later time.Duration) check.Result {
	v.t.Helper()
	v.ahead.Add(int64(later))
	ctx, cancel := context.WithTimeout(v.t.Context(), 20*time.Second)
	defer cancel()
	r := v.run(ctx)
	checktest.Sound(v.t, mailloopKind(), r)
	v.t.Log(r.Reason, r.Detail, r.Facts, r.Phases)
	return r
}

func TestLoop(t *testing.T) {
	m, pki := startMailServer(t)
	a := newVantage(t, m, pki, userName, check.Options{"peers": []string{peerName}})
	want(t, a.look(0), check.OK, "")
	b := newVantage(t, m, pki, peerName, nil)
	want(t, b.look(0), check.OK, "")
}
