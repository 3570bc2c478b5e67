//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"egovmon/agent/words"
	"egovmon/deploy/lab/control"
	"egovmon/deploy/lab/fault"
	"egovmon/deploy/lab/stage"
)

// signalIgnorePipe lets writes to a pipe without a reader fail in peace.
func signalIgnorePipe() { signal.Ignore(syscall.SIGPIPE) }

func runFault(ctx context.Context, e env, args []string) int {
	fs, dirFlag := newFlags(e, "fault", "Gây (on, mặc định) hoặc gỡ (off) một sự cố. / Brings a fault about (on, the default) or takes it away (off).")
	unit := fs.String("unit", "", "which commune: its `ID`, machine or site; default the first one")
	names, code, ok := parse(fs, args, 2)
	if !ok {
		return code
	}
	if len(names) == 0 {
		return e.fail(exitUsage, "which fault? `lab faults` lists them")
	}
	on := len(names) == 1 || names[1] == "on"
	if !on && names[1] != "off" {
		return e.fail(exitUsage, "%.60q: want on or off", names[1])
	}
	f, err := fault.Find(names[0])
	if err != nil {
		return e.fail(exitUsage, "%v", err)
	}
	dir, err := labDir(*dirFlag)
	if err != nil {
		return e.fail(exitUsage, "%v", err)
	}
	a, err := control.Dial(dir).Fault(ctx, f.Name, *unit, on)
	if err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	word := "gỡ / off"
	if on {
		word = "gây / on"
	}
	fmt.Fprintf(e.out, "%s: %s %s\n  %s\n", word, a.Fault, a.Unit, f.Title.VI)
	return exitDone
}

func runFaults(_ context.Context, e env, args []string) int {
	fs, _ := newFlags(e, "faults", "Các sự cố, nguyên nhân thật, ai xử lý, ảnh hưởng gì. / The faults: true cause, owner, what they hurt.")
	asJSON := fs.Bool("json", false, "write JSON")
	if _, code, ok := parse(fs, args, 0); !ok {
		return code
	}
	if *asJSON {
		if err := json.NewEncoder(e.out).Encode(fault.All()); err != nil {
			return e.fail(exitFailed, "%v", err)
		}
		return exitDone
	}
	for _, f := range fault.All() {
		hurts := strings.Join(f.Hurts, " ")
		if f.Hurts == nil {
			hurts = "-"
		}
		where := "cả huyện / everywhere"
		if f.Scope == fault.OneUnit {
			where = "một xã / one commune"
		}
		fmt.Fprintf(e.out, "%-21s %s\n%21s %s\n%21s nguyên nhân / cause: %s · xử lý / owner: %s · ảnh hưởng / hurts: %s · %s\n", f.Name, f.Title.VI, "", f.Title.EN, "", f.Cause, f.Owner, hurts, where)
	}
	return exitDone
}

func runStatus(ctx context.Context, e env, args []string) int {
	fs, dirFlag := newFlags(e, "status", "Phòng thử đang ra sao, kèm link mới. / How the lab is, with a fresh link.")
	asJSON := fs.Bool("json", false, "write one JSON object")
	if _, code, ok := parse(fs, args, 0); !ok {
		return code
	}
	dir, err := labDir(*dirFlag)
	if err != nil {
		return e.fail(exitUsage, "%v", err)
	}
	c := control.Dial(dir)
	st, err := c.Status(ctx)
	if err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	if *asJSON {
		if err := json.NewEncoder(e.out).Encode(st); err != nil {
			return e.fail(exitFailed, "%v", err)
		}
		return exitDone
	}
	fmt.Fprintf(e.out, "Chạy từ / up since %s, %d đơn vị / units\n", words.DateTime(words.VI, st.Since), len(st.Units))
	for _, u := range st.Units {
		fmt.Fprintf(e.out, "  %-24s %-24s %s\n", u.ID, u.Machine, u.Netns)
	}
	for _, f := range st.Faults {
		fmt.Fprintf(e.out, "Sự cố đang gây / fault on: %s %s (%s)\n", f.Fault, f.Unit, words.Clock(f.Since))
	}
	b, err := c.Board(ctx)
	if err != nil {
		fmt.Fprintf(e.out, "Máy chủ thu thập không trả lời / the collector does not answer: %v\n", err)
		return exitDone
	}
	for _, i := range openOf(b) {
		fmt.Fprintf(e.out, "Sự cố hệ thống nêu / incident: %s %s%s %s (%s)\n", i.Kind, i.Service, i.Unit, i.Reason, words.Clock(i.Opened))
	}
	if link, err := c.Link(ctx); err == nil {
		fmt.Fprintf(e.out, "Bảng theo dõi / board: %s\n", link)
	}
	e.links(st)
	return exitDone
}

// links shows the pages beside the board.
func (e env) links(st stage.Status) {
	for _, l := range st.Links {
		fmt.Fprintf(e.out, "%s: %s\n", l.Name, l.URL)
	}
}

func openOf(b stage.Board) []stage.Incident {
	return slices.DeleteFunc(slices.Clone(b.Incidents), func(i stage.Incident) bool { return !i.Closed.IsZero() })
}

// runMenu puts the lab up, shows the link and a menu, and takes it down at the end.
func runMenu(ctx context.Context, e env, args []string) int {
	fs, dirFlag := newFlags(e, "", "Dựng phòng thử, hiện bảng theo dõi và danh mục sự cố; Ctrl-C để dỡ. / Up, the board's link and a menu; Ctrl-C takes it down.")
	var o options
	o.flags(fs)
	if _, code, ok := parse(fs, args, 0); !ok {
		return code
	}
	k, code := o.start(ctx, e, *dirFlag, true)
	if k == nil {
		return code
	}
	defer func() {
		fmt.Fprintln(e.out, "\nđang dỡ / taking it down …")
		k.end()
	}()
	c := control.Dial(o.dir)
	link, err := c.Link(ctx)
	if err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	st, err := c.Status(ctx)
	if err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	fmt.Fprintf(e.out, "\nMở trong trình duyệt / open in a browser:\n  %s\n\n", link)
	e.links(st)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(e.in); sc.Scan(); {
			select {
			case lines <- sc.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	on := map[string]bool{}
	showMenu(e, st.Offered, on)
	for {
		fmt.Fprint(e.out, "số sự cố, Enter: danh mục, q: thoát / number, Enter: menu, q: quit > ")
		select {
		case <-ctx.Done():
			return exitDone
		case line, ok := <-lines:
			line = strings.TrimSpace(line)
			switch {
			case line == "q":
				return exitDone
			case !ok:
				<-ctx.Done() // no keyboard: until Ctrl-C
				return exitDone
			case line == "":
				showMenu(e, st.Offered, on)
			default:
				choose(ctx, e, c, st.Offered, on, line)
			}
		case <-k.done:
			return e.fail(exitFailed, "the lab has ended")
		}
	}
}

func showMenu(e env, offered []string, on map[string]bool) {
	for i, name := range offered {
		f, err := fault.Find(name)
		if err != nil {
			continue
		}
		mark := " "
		if on[name] {
			mark = "*"
		}
		fmt.Fprintf(e.out, "%s %2d  %s / %s\n", mark, i+1, f.Title.VI, f.Title.EN)
	}
}

// choose brings a fault of the menu about, or takes it away when it is on.
func choose(ctx context.Context, e env, c *control.Client, offered []string, on map[string]bool, line string) {
	var n int
	if _, err := fmt.Sscanf(line, "%d", &n); err != nil || n < 1 || n > len(offered) {
		fmt.Fprintf(e.out, "1 … %d, hoặc / or q\n", len(offered))
		return
	}
	name := offered[n-1]
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, err := c.Fault(ctx, name, "", !on[name])
	if err != nil {
		fmt.Fprintf(e.out, "%v\n", err)
		return
	}
	on[name] = !on[name]
	word := "đã gỡ / off"
	if on[name] {
		word = "đã gây, bảng theo dõi sẽ báo sau khoảng 20–30 giây / on, the board tells within about 20 to 30 s"
	}
	fmt.Fprintf(e.out, "%s %s: %s\n", name, a.Unit, word)
}
