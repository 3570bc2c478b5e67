package profile

import (
	"testing"

	"egovmon/deploy/profiles"
)

func sample(t testing.TB) *Profile {
	t.Helper()
	fsys, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSample(t *testing.T) {
	p := sample(t)
	t.Log(len(p.Units), len(p.Services), len(p.Machines), len(p.Lines))
}
