package profiles_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
)

// roomEnv tells the test program to run the checks of a machine itself in another root folder, as told there.
const roomEnv = "EGOVMON_CATALOGUE_ROOM"

// A room is a machine of an office, as its own checks see it: a root folder with what they read.
type room struct {
	Root string   // becomes the root folder
	Plan string   // as the machine is told
	IDs  []string // of the checks to run
	Now  time.Time
	Kept map[string][]byte // what the checks kept in an earlier run, by check and name
}

// A stay is what the checks said, and what they keep.
type stay struct {
	Results map[string]check.Result
	Kept    map[string][]byte
}

// roomNotes are the notes of one check.
type roomNotes struct {
	kept  map[string][]byte
	check string
}

// Note returns what was kept.
func (n roomNotes) Note(name string) []byte { return n.kept[n.check+" "+name] }

// Keep keeps it.
func (n roomNotes) Keep(name string, data []byte) { n.kept[n.check+" "+name] = data }

// ofTheMachine reports whether a check looks at the machine that it runs on. m27 is of a portal, m19 of a centre.
func ofTheMachine(k plan.Check) bool {
	id := k.Options.String("id")
	return k.Kind == "host" || k.Kind == "inventory" || k.Kind == "control" && id != "m27" && id != "m19"
}

// enter runs the checks of a room in a process of its own.
func (c *cast) enter(r room) stay {
	c.t.Helper()
	text, err := json.Marshal(r)
	c.must(err)
	to, from, err := os.Pipe()
	c.must(err)
	defer to.Close()
	cmd := exec.CommandContext(c.t.Context(), os.Args[0], "-test.run=^TestCatalogue$")
	cmd.Env = append(os.Environ(), roomEnv+"=1", checktest.AtOnce)
	cmd.Stdin, cmd.ExtraFiles = bytes.NewReader(text), []*os.File{from}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	c.must(cmd.Start())
	from.Close()
	var s stay
	bad := json.NewDecoder(to).Decode(&s)
	if err := cmd.Wait(); err != nil || bad != nil {
		c.t.Fatalf("the room %s: %v, %v: %.500s", r.Root, err, bad, said.String())
	}
	return s
}

// inRoom is what the process of a room does.
func inRoom(t *testing.T) {
	var r room
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(3, "results")
	parsed, err := plan.Parse([]byte(r.Plan), kinds.Table())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Chroot(r.Root); err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir("/"); err != nil {
		t.Fatal(err)
	}
	s := stay{map[string]check.Result{}, r.Kept}
	if s.Kept == nil {
		s.Kept = map[string][]byte{}
	}
	for _, k := range parsed.Checks {
		if !slices.Contains(r.IDs, k.ID) {
			continue
		}
		kind, _ := kinds.Table().Lookup(k.Kind)
		f, err := kind.New(k.Options, check.Env{Check: k.ID, Timeout: 20 * time.Second, Now: func() time.Time { return r.Now }, Notes: roomNotes{s.Kept, k.ID}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		s.Results[k.ID] = f(ctx)
		cancel()
	}
	if err := json.NewEncoder(out).Encode(s); err != nil {
		t.Fatal(err)
	}
}

// furnish lays out the files of recorded machines below a folder, and then more of them, all last written at that instant. GONE takes one away.
func (c *cast) furnish(root string, at time.Time, recordings []string, more map[string]string) {
	c.t.Helper()
	put := func(name string, data []byte) {
		path := filepath.Join(root, filepath.FromSlash(name))
		if string(data) == "GONE" {
			c.must(os.RemoveAll(path))
			return
		}
		c.must(os.MkdirAll(filepath.Dir(path), 0o755))
		c.must(os.WriteFile(path, data, 0o644))
		c.must(os.Chtimes(path, at, at))
	}
	for _, name := range recordings {
		a, err := txtar.ParseFile(name)
		c.must(err)
		for _, f := range a.Files {
			data := f.Data
			if rest, ok := bytes.CutPrefix(data, []byte("PACKED\n")); ok {
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				_, err := z.Write(rest)
				c.must(err)
				c.must(z.Close())
				data = b.Bytes()
			}
			put(f.Name, data)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		put(name, []byte(more[name]))
	}
}
