package plan

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type station struct {
	Listen string        `yaml:"listen"`
	Keep   time.Duration `yaml:"keep"`
	Mail   *relay        `yaml:"mail"`
	Others []relay       `yaml:"others"`
	Hidden string        `yaml:"-"`
	Labels map[string]string
}

type relay struct {
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"comments", "# nothing here\n", ""},
		{"all", "listen: a:1\nkeep: 3h\nmail: {host: h, port: 25}\nothers: [{host: x}]\n", ""},
		{"empty parts", "mail:\nothers:\n", ""},
		{"typo", "\nlistn: a:1\n", `f.yaml:2: unknown key "listn": did you mean "listen"?`},
		{"typo inside", "mail:\n  host: h\n  prot: 25\n", `f.yaml:3: mail: unknown key "prot": did you mean "port"?`},
		{"typo in a list", "others:\n  - host: h\n  - hots: h\n", `f.yaml:3: others[1]: unknown key "hots": did you mean "host"?`},
		{"nothing like it", "colour: red\n", `f.yaml:1: unknown key "colour": known here are listen, keep, mail, others`},
		{"two at once", "mail:\n  prot: 1\nlistn: a\n", "f.yaml:2: mail: unknown key \"prot\": did you mean \"port\"?\n" +
			"f.yaml:3: unknown key \"listn\": did you mean \"listen\"?"},
		{"twice", "listen: a\nlisten: b\n", `f.yaml:2: key "listen" stands twice: keep one`},
		{"another form", "mail: yes\n", "f.yaml:1: mail: this must be a mapping: write `key: value` lines"},
		{"a list", "- a\n", "f.yaml:1: this must be a mapping: write `key: value` lines"},
		{"an alias", "listen: &a x\n", "f.yaml:1: an anchor or alias (& or *): write the value out at each place"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s station
			got := ""
			if err := Settings("f.yaml", []byte(tt.text), &s); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	var s station
	if err := Settings("f.yaml", []byte("listen: a:1\nkeep: 3h\nmail: {host: h, port: 25}\nothers: [{host: x}]\n"), &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(station{Listen: "a:1", Keep: 3 * time.Hour, Mail: &relay{"h", 25}, Others: []relay{{Host: "x"}}}, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	err := Settings("f.yaml", []byte("listen: a\nmail:\n  port: many\n"), &s)
	if ms, ok := errors.AsType[Mistakes](err); !ok || len(ms) != 1 || ms[0].Line != 3 {
		t.Errorf("a value of another form: %v", err)
	}
	if err := Settings("f.yaml", []byte("{"), &s); err == nil {
		t.Error("broken YAML was read")
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("listen: a\nmail: {host: x}\n")
	f.Add("others: [[], {host: {}}]\n? [a]\n: b")
	f.Fuzz(func(t *testing.T, text string) {
		var s station
		if err := Settings("f", []byte(text), &s); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
