package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"egovmon/collector/alert"
	"egovmon/collector/profile"
)

func runAlertmanager(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("alertmanager", "Writes a configuration for an Alertmanager that gets the alerts of deploy/prometheus: routes by owning office and severity, and the\n"+
		"working hours of the calendars, with seasons, holidays, substitute and make-up days, as time intervals. Addresses that the profile\n"+
		"does not have are examples. Check the file with `amtool check-config`.", stderr)
	dir := fs.String("profile", "", "folder `DIR` of the district's profile; default the sample in the program")
	year := fs.Int("year", time.Now().In(profile.Zone()).Year(), "the first `YEAR` of the working hours; they end with the year after")
	hours := fs.String("hours", "hanh-chinh", "`NAME` of the hours in the calendars")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	p, err := openProfile(*dir)
	if err == nil && (*year < 2000 || *year > 2198) {
		err = fmt.Errorf("--year %d: want a year from 2000 to 2198", *year)
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector alertmanager: %v\n", err)
		return exitUsage
	}
	text, err := alert.Routes(p, time.Now(), *hours, profile.NewDate(*year, time.January, 1), profile.NewDate(*year+2, time.January, 1))
	if err == nil {
		_, err = stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector alertmanager: %v\n", err)
		return exitFailed
	}
	return exitDone
}
