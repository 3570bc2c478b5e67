package dashboards

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"egovmon/exporter"
)

// TestProvisioning reads Grafana's provisioning files strictly and holds them to what the dashboards need.
func TestProvisioning(t *testing.T) {
	read := func(name string, into any) {
		text, err := os.ReadFile("../deploy/grafana/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Load(text, into, yaml.WithKnownFields()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool              `yaml:"isDefault"`
			Editable                     bool              `yaml:"editable"`
			JSONData                     map[string]any    `yaml:"jsonData"`
			SecureJSONData               map[string]string `yaml:"secureJsonData"`
		}
	}
	read("datasource.yml", &sources)
	d := sources.Datasources[0]
	if len(sources.Datasources) != 1 || d.Type != *source().Type || d.Access != "proxy" || d.Editable || d.URL != "${EGOVMON_URL}" {
		t.Errorf("data source %+v", d)
	}
	if d.JSONData["httpHeaderName1"] != "Authorization" || d.SecureJSONData["httpHeaderValue1"] != "Bearer ${EGOVMON_TOKEN}" {
		t.Errorf("the token is sent as %v with what stands in %v", d.JSONData["httpHeaderName1"], d.SecureJSONData)
	}
	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type    string
			FolderUID             string `yaml:"folderUid"`
			DisableDeletion       bool   `yaml:"disableDeletion"`
			AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
			UpdateIntervalSeconds int    `yaml:"updateIntervalSeconds"`
			Options               map[string]any
		}
	}
	read("dashboards.yml", &providers)
	p := providers.Providers[0]
	if len(providers.Providers) != 1 || p.Type != "file" || p.AllowUIUpdates || p.Options["path"] == "" {
		t.Errorf("provider %+v", p)
	}
	ini, err := os.ReadFile("../deploy/grafana/grafana.ini")
	if err != nil {
		t.Fatal(err)
	}
	path, _ := p.Options["path"].(string)
	if !strings.Contains(string(ini), "default_home_dashboard_path = "+path+"/overview.json\n") {
		t.Errorf("grafana.ini opens another page than one of %s", path)
	}
}

// TestFamilies holds the dashboards to show every family, but for those that are made to be joined with or that
// other families say better.
func TestFamilies(t *testing.T) {
	elsewhere := map[string]string{
		exporter.CheckFact:     "every number of every kind: for questions that no dashboard foresees",
		exporter.CheckInfo:     "always 1, to join on",
		exporter.CheckInterval: "of the plan, beside the last run",
	}
	var all strings.Builder
	for _, d := range decoded(t) {
		panels, _ := panelsOf(d)
		for _, p := range panels {
			all.WriteString(strings.Join(exprsOf(t, p), "\n"))
		}
	}
	for _, f := range exporter.Families() {
		if _, ok := elsewhere[f.Name]; !ok && !strings.Contains(all.String(), f.Name) {
			t.Errorf("%s is shown nowhere", f.Name)
		}
	}
}
