package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"egovmon/collector/access"
)

// userCmd runs collector user on a state folder.
func userCmd(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), append([]string{"user", "--data", dir}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestUserCommand(t *testing.T) {
	dir := t.TempDir()
	code, out, errs := userCmd(t, dir, "add", "lan.nt", "--role", "admin", "--name", "Nguyễn Thị Lan")
	if code != exitDone || !strings.HasPrefix(out, "http://127.0.0.1:19090/s/") || !strings.Contains(errs, "lan.nt") {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	steps := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"add", "can-bo", "--role", "officer", "--unit", "xa-tu-ky"}, exitDone, "/s/"},
		{[]string{"add", "can-bo", "--role", "officer"}, exitFailed, "taken"},
		{[]string{"add", "hoa", "--role", "officer", "--unit", "xa-khong-co"}, exitFailed, "not in the profile"},
		{[]string{"add", "hoa"}, exitFailed, "write one of"},
		{[]string{"role", "can-bo", "--unit", "-"}, exitDone, "in the log"},
		{[]string{"role", "can-bo"}, exitUsage, "give --role"},
		{[]string{"disable", "can-bo"}, exitDone, "in the log"},
		{[]string{"enable", "can-bo"}, exitDone, "in the log"},
		{[]string{"reset", "can-bo"}, exitDone, "/s/"},
		{[]string{"token", "prom", "--scopes", "metrics,series"}, exitDone, "egov_"},
		{[]string{"token", "prom2", "--scopes", "root"}, exitFailed, "write some of"},
		{[]string{"token", "prom3", "--scopes", "metrics", "--days", "400"}, exitFailed, "within a year"},
		{[]string{"end-token", "prom"}, exitDone, "in the log"},
		{[]string{"list"}, exitDone, "can-bo  officer  -     invited until"},
		{[]string{"remove", "can-bo"}, exitDone, "in the log"},
		{[]string{"remove", "can-bo"}, exitFailed, "no such user"},
		{[]string{"befriend", "can-bo"}, exitFailed, "none of add"},
		{[]string{"add"}, exitUsage, "with whom"},
		{nil, exitUsage, "write list"},
	}
	for _, tt := range steps {
		code, out, errs := userCmd(t, dir, tt.args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%v: exit %d, %s%s; want %d and %q", tt.args, code, out, errs, tt.code, tt.want)
		}
	}
}

// TestRights asks for each path of subcommands without the right that it needs.
func TestRights(t *testing.T) {
	mux := http.NewServeMux()
	r := rightful{mux}
	for _, p := range []string{pathLink, pathUsers, pathRecovery, pathToken, pathRevoke, pathAttest, pathSuspensions, pathConfirm, pathReport, pathPlan, pathAvailability} {
		r.HandleFunc("POST "+p, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode("done") })
	}
	ask := func(path string) int {
		w := httptest.NewRecorder()
		q := httptest.NewRequest("POST", path, nil)
		// An operator may do all but change who may enter.
		mux.ServeHTTP(w, q.WithContext(access.WithUser(t.Context(), "lan@web")))
		return w.Code
	}
	for path, want := range map[string]int{pathLink: 403, pathUsers: 403, pathRecovery: 403, pathToken: 200, pathRevoke: 200, pathAttest: 200, pathSuspensions: 200, pathConfirm: 200, pathReport: 200, pathPlan: 200} {
		if got := ask(path); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	w := httptest.NewRecorder()
	if mux.ServeHTTP(w, httptest.NewRequest("POST", pathReport, nil)); w.Code != 403 {
		t.Errorf("nobody: status %d, want 403", w.Code)
	}
}
