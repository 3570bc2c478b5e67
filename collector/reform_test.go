package main

import (
	"slices"
	"testing"
	"time"

	"egovmon/collector/board"
	"egovmon/collector/history"
)

// Rows of 2023 in the units of 2026: the service as a whole stays, communes that were merged are one, with the outages of
// all, and one commune alone can be asked for.
func TestInUnitsOfToday(t *testing.T) {
	p, err := openProfile("")
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	from := time.Date(2023, 6, 1, 0, 0, 0, 0, time.UTC)
	q := board.HistoryQuery{From: from, To: from.AddDate(0, 1, 0), Today: true}
	a := history.Account{Up: 90, Down: 10}
	row := func(unit string) history.Row {
		return history.Row{Service: "mail", Unit: unit, Calendars: []history.Counted{{Calendar: history.Hours24x7, Account: a, Figures: a.Figures()}}, Outages: []history.Outage{{From: from, To: from.Add(time.Hour), Down: 10}}}
	}
	rows := []history.Row{row(""), row("xa-an-thanh"), row("xa-van-to")}
	got, former := inUnitsOf(p, rows, q, day)
	if len(got) != 2 || got[0].Unit != "" || got[1].Unit != "xa-chi-minh-2025" || got[1].Calendars[0].Account.Up != 180 || len(got[1].Outages) != 2 {
		t.Errorf("%+v", got)
	}
	if want := []string{"Xã An Thanh", "Xã Văn Tố"}; !slices.Equal(former["xa-chi-minh-2025"], want) {
		t.Errorf("former units %q, want %q", former["xa-chi-minh-2025"], want)
	}
	q.Unit = "xa-tu-ky-2025"
	if got, _ := inUnitsOf(p, rows, q, day); len(got) != 0 {
		t.Errorf("of another commune: %+v", got)
	}
	if got, former := inUnitsOf(p, rows, board.HistoryQuery{From: q.From, To: q.To}, from); len(got) != 3 || len(former) != 0 {
		t.Errorf("on a day of the period: %+v, %v", got, former)
	}
}
