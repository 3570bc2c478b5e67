package alert

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// sampleConfig is the configuration made from the sample profile, with contacts.
func sampleConfig(t *testing.T) (*profile.Profile, []byte) {
	t.Helper()
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	if o, ok := p.Office("VHTT", now); ok {
		o.Contacts = []profile.Contact{{Kind: ByMail, Value: "vhtt@tuky.test"}, {Kind: ByWebhook, Value: "http://127.0.0.1:9/\"x"}, {Kind: "phone", Value: "0912"}}
	}
	text, err := Routes(p, now, "hanh-chinh", profile.NewDate(2026, 1, 1), profile.NewDate(2028, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	return p, text
}

// TestTimeIntervals holds the intervals against the calendar itself, as Alertmanager reads them: seasons, Tết, a substitute day,
// a day off on a weekend, in quarters of an hour over two years.
func TestTimeIntervals(t *testing.T) {
	p, text := sampleConfig(t)
	list := intervalsOf(t, text)
	from, to := profile.NewDate(2026, 1, 1).Start(), profile.NewDate(2028, 1, 1).Start()
	hours := p.ServiceHours("hanh-chinh", "", from, to)
	open, wrong := 0, 0
	for at := from; at.Before(to); at = at.Add(15 * time.Minute) {
		for len(hours) > 0 && !at.Before(hours[0].End) {
			hours = hours[1:]
		}
		want, got := len(hours) > 0 && !at.Before(hours[0].Start), list(at)
		if want {
			open++
		}
		if got != want {
			if wrong++; wrong < 5 {
				t.Errorf("%s: working hours %v, want %v", at.In(profile.Zone()), got, want)
			}
		}
	}
	if open < 10_000 || wrong > 0 {
		t.Errorf("%d quarters of an hour are open, %d are wrong", open, wrong)
	}
	if _, err := Routes(p, from, "no-such-hours", profile.NewDate(2026, 1, 1), profile.NewDate(2027, 1, 1)); err == nil {
		t.Error("hours that no calendar has are taken")
	}
}

// intervalsOf reads the intervals as Alertmanager documents them: a time is within when it is of the year, of the month, of the
// days, at its beginning or after, and before its end.
func intervalsOf(t *testing.T, text []byte) func(at time.Time) bool {
	t.Helper()
	var c struct {
		TimeIntervals []struct {
			Intervals []amInterval `yaml:"time_intervals"`
		} `yaml:"time_intervals"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	within := map[string]bool{} // by minute
	for _, i := range c.TimeIntervals[0].Intervals {
		a, b, ok := strings.Cut(i.Days[0], ":")
		if !ok {
			b = a
		}
		from, err := strconv.Atoi(a)
		to, err2 := strconv.Atoi(b)
		if err != nil || err2 != nil {
			t.Fatalf("days %q", i.Days)
		}
		for day := from; day <= to; day++ {
			for _, x := range i.Times {
				for m := 0; m < 24*60; m += 15 {
					if clock := fmt.Sprintf("%02d:%02d", m/60, m%60); clock >= x.Start && clock < x.End {
						within[fmt.Sprintf("%s-%s-%d %s", i.Years[0], i.Months[0], day, clock)] = true
					}
				}
			}
		}
	}
	return func(at time.Time) bool { return within[at.UTC().Format("2006-1-2 15:04")] }
}

// TestAmtool checks the configuration with Debian's amtool, and to whom alerts go.
func TestAmtool(t *testing.T) {
	program, err := exec.LookPath("amtool")
	if err != nil {
		t.Skip("amtool is missing: apt-get install prometheus-alertmanager")
	}
	_, text := sampleConfig(t)
	file := filepath.Join(t.TempDir(), "alertmanager.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "check-config", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	for labels, want := range map[string]string{
		"role=it severity=page service=kyso_usb":     "office-VHTT",
		"role=it severity=ticket service=kyso_usb":   "office-VHTT",
		"role=it severity=page service=mail":         "office-VHTT-not-by-mail",
		"role=it severity=page service=tthc":         "office-VP",
		"role=unit severity=page unit=xa-an-thanh":   "don-vi",
		"role=it severity=page":                      "ky-thuat",
		"role=calendar severity=none":                "nobody",
		"role=watchdog severity=none":                "watchdog",
		"role=vhtt severity=ticket service=kyso_usb": "office-VHTT",
	} {
		out, err := exec.Command(program, append([]string{"config", "routes", "test", "--config.file=" + file}, strings.Fields(labels)...)...).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s goes to %q, %v, want %q", labels, got, err, want)
		}
	}
	for _, c := range [][2]string{{"to: vhtt@tuky.test", "an address of the profile"}, {"- hanh-chinh", "working hours"}, {placeholder, "an example"}} {
		if !strings.Contains(strings.ReplaceAll(string(text), "[hanh-chinh]", "- hanh-chinh"), c[0]) {
			t.Errorf("the configuration lacks %s", c[1])
		}
	}
	if by, _, _ := strings.Cut(string(text[strings.Index(string(text), "name: office-VHTT-not-by-mail"):]), "- name: office-VHTT\n"); strings.Contains(by, "email") {
		t.Errorf("what is told of mail goes by mail: %s", by)
	}
}
