package signature

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/token/talk"
	"egovmon/agent/token/tokentest"
)

// TestMain lets this program stand in for egovmon-token, under a name that says how it misbehaves.
func TestMain(m *testing.M) {
	if how, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "fake-"); ok {
		misbehave(how)
		os.Exit(0)
	}
	checktest.Child(Kinds())
	os.Exit(tokentest.Main(m))
}

// misbehave answers as no helper should.
func misbehave(how string) {
	at := func() { _ = os.WriteFile(os.Getenv("FAKE_AT"), nil, 0o600) }
	switch how {
	case "hang":
		// What it started keeps the pipe open, and must be gone with it.
		child := exec.Command("sleep", "1000")
		child.Stdout = os.Stdout
		_ = child.Start()
		_ = os.WriteFile(os.Getenv("FAKE_CHILD"), []byte(strconv.Itoa(child.Process.Pid)), 0o600)
		at()
		time.Sleep(time.Hour)
	case "deaf": // never reads: what the agent writes must not block it for ever
		at()
		time.Sleep(time.Hour)
	case "crash":
		os.Exit(7)
	case "flood":
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return
			}
		}
	case "garbage":
		_, _ = io.WriteString(os.Stdout, "hello\n")
		time.Sleep(time.Hour)
	case "version":
		_, _ = io.WriteString(os.Stdout, `{"v":9}`+"\n")
		time.Sleep(time.Hour)
	case "silent":
		_, _ = io.WriteString(os.Stdout, `{"v":1}`+"\n")
		time.Sleep(time.Hour)
	case "reason":
		_, _ = io.WriteString(os.Stdout, `{"v":1,"error":{"reason":"missed_stopped","detail":"x"}}`+"\n")
		time.Sleep(time.Hour)
	case "up":
		_, _ = io.WriteString(os.Stdout, `{"v":1,"error":{"reason":"ok","detail":"x"}}`+"\n")
		time.Sleep(time.Hour)
	default:
		lie(how)
	}
}

// lie passes a conversation with the true helper on, but for what it says in the end.
func lie(how string) {
	cmd := exec.Command(os.Getenv("FAKE_TRUE"))
	cmd.Stdin = os.Stdin
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		os.Exit(9)
	}
	for lines := bufio.NewReader(out); ; {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var a talk.Answer
		if json.Unmarshal(text, &a) == nil && a.Done != nil {
			d := a.Done
			switch how {
			case "digest":
				d.Digest[0] ^= 1
			case "partly":
				d.Whole = false
			case "revocation":
				d.OCSPs--
			case "time":
				d.SigningTime = d.SigningTime.Add(time.Hour)
			case "other":
				d.CMS = bytes.Replace(d.CMS, []byte{2, 47, 49}, []byte{2, 48, 49}, 1) // the attribute that names the certificate
			case "cut":
				d.CMS = d.CMS[:len(d.CMS)-1]
			}
			text, _ = json.Marshal(a)
			text = append(text, '\n')
		}
		if _, err := os.Stdout.Write(text); err != nil {
			return
		}
	}
}

// Whatever the helper does, the agent says so in time.
func TestSignHelperMisbehaves(t *testing.T) {
	l := newSignLab(t)
	honest := tokentest.Helper(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FAKE_TRUE", honest)
	for _, tt := range []struct {
		how    string
		reason check.Reason
		detail string
	}{
		{"hang", check.Timeout, "did not answer in time"},
		{"deaf", check.Timeout, "did not answer in time"},
		{"crash", check.Internal, "it ended without an answer: exit status 7"},
		{"flood", check.Internal, "a message has more than 12582912 bytes"},
		{"garbage", check.Internal, "a message that cannot be read"},
		{"version", check.Internal, "speaks version 9, the agent version 1"},
		{"silent", check.Internal, "answered something else"},
		{"reason", check.Internal, "x"},
		{"up", check.Internal, "x"},
		{"digest", check.SignatureInvalid, "message digest"},
		{"partly", check.SignatureInvalid, "does not cover the whole document"},
		{"revocation", check.SignatureInvalid, "1 answers and 0 lists are embedded, want 2 and 0"},
		{"time", check.SignatureInvalid, "signing time"},
		{"other", check.SignatureInvalid, ""},
		{"cut", check.SignatureInvalid, "its ASN.1 is not that of a signed message"},
	} {
		t.Run(tt.how, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "fake-"+tt.how)
			if err := os.Symlink(self, path); err != nil {
				t.Fatal(err)
			}
			l := *l
			l.t, l.find = t, func() (string, error) { return path, nil }
			t.Setenv("FAKE_AT", filepath.Join(dir, "at"))
			t.Setenv("FAKE_CHILD", filepath.Join(dir, "child"))
			if tt.reason == check.Timeout {
				l.dueAt = filepath.Join(dir, "at")
			}
			want(t, l.run(nil), tt.reason, tt.detail)
			if tt.how == "hang" {
				gone(t, filepath.Join(dir, "child"))
			}
		})
	}
}

// gone checks that what a helper started has ended with it. A process that was killed may lie about until its parent, by
// then the first of all, asks for it.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stat := filepath.Join("/proc", string(text), "stat")
	for range 2000 {
		line, err := os.ReadFile(stat)
		_, after, _ := strings.Cut(string(line), ") ")
		if err != nil || strings.HasPrefix(after, "Z") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("what the helper started runs on as %s", text)
}

// A helper that does not stand beside the agent, or is none.
func TestSignHelperAbsent(t *testing.T) {
	l := newSignLab(t)
	l.find = talk.Find // beside the test's own program there is none
	want(t, l.run(nil), check.NotSupported, "egovmon-token does not stand beside the agent: install it from the same package")
	path := filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.find = func() (string, error) { return path, nil }
	want(t, l.run(nil), check.NotSupported, "cannot be started")
}
