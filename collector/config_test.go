package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigMistakes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, configFile)
	text := "listen: 127.0.0.1:1\nalert:\n  mail:\n    host: relay.test\n    password_fil: x\nremote_write:\n  - nmae: x\nseries:\n  retention: long\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := loadConfig(dir, "")
	want := "configuration: " + path + `:5: alert.mail: unknown key "password_fil": did you mean "password_file"?` + "\n" +
		path + `:7: remote_write[0]: unknown key "nmae": did you mean "name"?`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:1\nseries:\n  retention: long\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadConfig(dir, ""); err == nil || !strings.HasPrefix(err.Error(), "configuration: "+path+":3: ") {
		t.Errorf("a value of another form: got %v", err)
	}
}
