package main

import (
	"fmt"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/push"
	"egovmon/agent/words"
)

// Whatever keeps a machine from the collector has a name and a first step, in both languages.
func TestReachWords(t *testing.T) {
	for _, p := range push.Problems() {
		for _, l := range []words.Lang{words.VI, words.EN} {
			for _, key := range []string{"reach." + string(p), "reach.do." + string(p)} {
				if s := words.Tell(l, key); strings.HasPrefix(s, "<") {
					t.Errorf("%s has no phrase in %s", key, l)
				}
			}
		}
	}
}

func TestUnreached(t *testing.T) {
	for _, tt := range []struct {
		err    error
		reason check.Reason
		advice string
	}{
		{&push.ProxyError{Problem: push.ProxyAuth, Proxy: "p:1"}, check.Auth, "reach.do.proxy_auth"},
		{&push.RefusedError{Status: 403, Code: "revoked"}, check.Auth, "reach.do.revoked"},
		{fmt.Errorf("x: %w", push.ErrWrongPeer), check.TLSUntrusted, "reach.do.wrong_peer"},
		{push.ErrClock, check.TLSNotYetValid, "reach.do.wrong_clock"},
	} {
		f := unreached(tt.err, words.VI)
		if f.State != check.Down || f.Reason != tt.reason || f.advice != tt.advice || f.Detail != tt.err.Error() || f.Said != words.Tell(words.VI, strings.Replace(tt.advice, ".do", "", 1)) {
			t.Errorf("%v: %+v", tt.err, f)
		}
	}
}
