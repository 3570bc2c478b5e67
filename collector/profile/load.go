package profile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"egovmon/agent/plan"
)

// part is one of the files every profile has: its name and how it is read.
type part struct {
	file string
	read func(*reader, *fields, *Profile)
}

func parts() []part {
	return []part{
		{"lines.yaml", (*reader).lines},
		{"law.yaml", (*reader).law},
		{"machines.yaml", (*reader).machines},
		{"offices.yaml", (*reader).offices},
		{"parameters.yaml", (*reader).parameters},
		{"roster.yaml", (*reader).roster},
		{"services.yaml", (*reader).services},
		{"targets.yaml", (*reader).targets},
		{"units.yaml", (*reader).units},
	}
}

var formYear = regexp.MustCompile(`^([0-9]{4})\.yaml$`)

// Load reads a profile from the root of fsys: units, services, machines, lines, offices, roster, targets, law and
// parameters.yaml, and calendars/YYYY.yaml. The error holds all mistakes at once, as [Problems].
func Load(fsys fs.FS) (*Profile, error) {
	p, problems := load(fsys)
	if len(problems) > 0 {
		return nil, problems.sorted()
	}
	return p, nil
}

func load(fsys fs.FS) (*Profile, Problems) {
	p := &Profile{}
	var problems Problems
	var names []string
	for _, part := range parts() {
		names = append(names, part.file)
		read(fsys, part.file, p, &problems, func(r *reader, top *fields) { part.read(r, top, p) })
	}
	entries, err := fs.ReadDir(fsys, "calendars")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, Problem{File: "calendars", What: err.Error()})
	}
	for _, e := range entries {
		m := formYear.FindStringSubmatch(e.Name())
		if m == nil {
			if strings.HasSuffix(e.Name(), ".yaml") || strings.HasSuffix(e.Name(), ".yml") {
				problems = append(problems, Problem{File: path.Join("calendars", e.Name()), What: "no calendar has this name",
					Hint: "call it after its year, e.g. calendars/2026.yaml"})
			}
			continue
		}
		year, _ := strconv.Atoi(m[1])
		if year < minYear || year > maxYear {
			problems = append(problems, Problem{File: path.Join("calendars", e.Name()),
				What: fmt.Sprintf("year %d", year), Hint: fmt.Sprintf("write a year from %d to %d", minYear, maxYear)})
			continue
		}
		read(fsys, path.Join("calendars", e.Name()), p, &problems, func(r *reader, top *fields) { r.calendar(top, p, year) })
	}
	problems = append(problems, strangers(fsys, names)...)
	v := &validator{p: p, problems: &problems}
	v.all()
	p.linesOf = map[string][]int{}
	for i, l := range p.Lines {
		p.linesOf[l.Unit] = append(p.linesOf[l.Unit], i)
	}
	slices.SortFunc(p.Years, func(a, b Year) int { return cmp.Compare(a.Year, b.Year) })
	slices.SortFunc(p.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return p, problems
}

// strangers reports YAML files that nobody reads: most likely one of the known names, misspelt.
func strangers(fsys fs.FS, known []string) Problems {
	var ps Problems
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return Problems{{What: err.Error(), Hint: "name the folder of a profile"}}
	}
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if e.IsDir() || ext != ".yaml" && ext != ".yml" || slices.Contains(known, e.Name()) {
			continue
		}
		hint := "a profile has " + strings.Join(known, ", ") + " and calendars/YYYY.yaml"
		if near := plan.Nearest(e.Name(), known); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		ps = append(ps, Problem{File: e.Name(), What: "nothing reads this file", Hint: hint})
	}
	return ps
}

// read opens one file, bounded, and hands its mapping to each.
func read(fsys fs.FS, name string, p *Profile, problems *Problems, each func(*reader, *fields)) {
	r := &reader{file: name, problems: problems}
	text, err := readFile(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key := strings.TrimSuffix(name, ".yaml")
		if key == "law" {
			key = "law_sets"
		}
		r.wrong(nil, fmt.Sprintf("create it, with `%s: []` when there is nothing to say", key), "the file is missing")
		return
	case err != nil:
		r.wrong(nil, "make it a plain file that this account may read", "%v", err)
		return
	}
	top := r.document(text)
	if top == nil {
		return
	}
	if f := r.mapping(top, name); f != nil {
		each(r, f)
		f.done()
	}
	p.Files = append(p.Files, File{name, text})
}

// readFile reads at most one byte more than a file may have.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}
