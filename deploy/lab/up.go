//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"egovmon/agent/token/talk"
	"egovmon/deploy/lab/control"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/stage"
	"egovmon/deploy/lab/town"
)

// keepCommand is the word for the process that a lab lives in; people do not type it.
const keepCommand = "keep"

const (
	lockFile  = "lock"
	binFolder = "programs"
	// onlyOne is an abstract socket that every lab with namespaces holds: it goes with its process.
	onlyOne = "@egovmon-lab"
)

// options are those of up, and of the lab without a command.
type options struct {
	dir, listen, from, bin, transcript string
	communes                           int
	loopback, simple, prometheus       bool
}

func (o *options) flags(fs *flag.FlagSet) {
	fs.IntVar(&o.communes, "communes", 0, fmt.Sprintf("how many communes, 1 to %d; default %d, on loopback %d", town.Most, stage.DefaultCommunes, stage.LoopbackTowns))
	fs.BoolVar(&o.loopback, "loopback", false, "without namespaces and without root: fewer faults, up in seconds")
	fs.BoolVar(&o.simple, "simple", false, "stand-ins in place of the real servers: no Debian packages but iproute2, fewer faults")
	fs.BoolVar(&o.prometheus, "prometheus", false, "beside the collector Prometheus with the shipped rules, Alertmanager and VictoriaMetrics (Debian packages)")
	fs.StringVar(&o.listen, "listen", stage.DefaultListen, "`ADDR` of the board on this machine's loopback")
	fs.StringVar(&o.from, "range", town.DefaultRange.String(), "private `NETWORK` of 16 bits for the addresses within the lab")
	fs.StringVar(&o.bin, "bin", "", "folder `DIR` with the programs agent and collector; without it they are built from this source tree")
	fs.StringVar(&o.transcript, "transcript", "", "keep the transcript in `FILE`, too (JSON lines)")
}

// check completes the options. The error is one line that says what to do.
func (o *options) check() (netip.Prefix, error) {
	if o.communes == 0 {
		if o.communes = stage.DefaultCommunes; o.loopback {
			o.communes = stage.LoopbackTowns
		}
	}
	if o.communes < 1 || o.communes > town.Most {
		return netip.Prefix{}, fmt.Errorf("--communes %d: a lab has from 1 to %d", o.communes, town.Most)
	}
	from, err := netip.ParsePrefix(o.from)
	if err != nil {
		return from, fmt.Errorf("--range %.60q: want a network such as %s", o.from, town.DefaultRange)
	}
	host, _, err := net.SplitHostPort(o.listen)
	if ip, e := netip.ParseAddr(host); err != nil || e != nil || !ip.IsLoopback() {
		return from, fmt.Errorf("--listen %.60q: want an address of this machine's loopback such as %s", o.listen, stage.DefaultListen)
	}
	if o.prometheus {
		if err := servers.Require(servers.MetricsPrograms()...); err != nil {
			return from, fmt.Errorf("--prometheus: %w", err)
		}
	}
	if o.loopback {
		return from, nil
	}
	if os.Geteuid() != 0 {
		return from, errors.New("cần quyền root để tạo mạng riêng: chạy `sudo go run ./deploy/lab up`, hoặc thêm --loopback để chạy không cần root (ít sự cố hơn). / Root is needed for network namespaces; --loopback does without")
	}
	if err := servers.Require("ip"); err != nil {
		return from, err
	}
	if err := stage.Missing(); err != nil && !o.simple {
		return from, fmt.Errorf("%w (--simple does without them)", err)
	}
	if d := private(o.dir); d != "" && !o.simple {
		return from, fmt.Errorf("only its owner may enter %s, and servers of the lab give up being root: name another folder with --dir", d)
	}
	plan, err := town.New(o.communes, from)
	if err != nil {
		return from, fmt.Errorf("--range: %w", err)
	}
	taken, err := hostNetworks()
	if err != nil {
		return from, err
	}
	if p := plan.Clash(taken); p.IsValid() {
		return from, fmt.Errorf("this machine uses %s, which lies in the lab's range %s: name another one with --range, e.g. --range 10.%d.0.0/16", p, from, from.Addr().As4()[1]-1)
	}
	return from, nil
}

// private names the first folder on the way to dir that others may not enter, "" when they may enter all of them.
func private(dir string) string {
	for d := filepath.Dir(dir); ; d = filepath.Dir(d) {
		if st, err := os.Stat(d); err == nil && st.Mode()&0o001 == 0 {
			return d
		}
		if d == filepath.Dir(d) {
			return ""
		}
	}
}

// hostNetworks lists the networks of this machine's own addresses and routes.
func hostNetworks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			out = append(out, p.Masked())
		}
	}
	text, err := os.ReadFile("/proc/net/route")
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		dst, err1 := strconv.ParseUint(f[1], 16, 32)
		mask, err2 := strconv.ParseUint(f[7], 16, 32)
		if err1 != nil || err2 != nil {
			continue // the headline
		}
		bits := 0
		for m := uint32(mask); m != 0; m >>= 1 {
			bits += int(m & 1)
		}
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(dst), byte(dst >> 8), byte(dst >> 16), byte(dst >> 24)}), bits))
	}
	return out, err
}

// labDir is the lab's folder.
func labDir(flag string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if os.Geteuid() == 0 {
		return "/run/egovmon-lab", nil
	}
	if s := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(s) {
		return filepath.Join(s, "egovmon-lab"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the lab: %w; name one with --dir", err)
	}
	return filepath.Join(home, ".local", "state", "egovmon-lab"), nil
}

func runUp(ctx context.Context, e env, args []string) int {
	fs, dir := newFlags(e, "up", "Dựng phòng thử và trả về khi mọi dịch vụ đã chạy. / Puts the lab up and returns when every service works.")
	var o options
	o.flags(fs)
	if _, code, ok := parse(fs, args, 0); !ok {
		return code
	}
	k, code := o.start(ctx, e, *dir, false)
	if k == nil {
		return code
	}
	c := control.Dial(o.dir)
	link, err := c.Link(ctx)
	if err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	fmt.Fprintf(e.out, "\nBảng theo dõi / Board:  %s\n  (link dùng một lần, 15 phút; `lab status` in link mới / good once; `lab status` prints another)\n", link)
	if st, err := c.Status(ctx); err == nil {
		e.links(st)
	}
	fmt.Fprintf(e.out, "Thử / Try:              lab fault line-cut\nDỡ / Take down:         lab down\n")
	return exitDone
}

// A keeper is the process that a lab lives in.
type keeper struct {
	cmd  *exec.Cmd
	held io.Closer // its standard input: with it, it ends
	done chan struct{}
}

// start starts the keeper and waits until the lab is up. With tied, the lab ends with this program. The keeper is nil
// after a failure, which has been told.
func (o *options) start(ctx context.Context, e env, dir string, tied bool) (*keeper, int) {
	var err error
	if o.dir, err = labDir(dir); err != nil {
		return nil, e.fail(exitUsage, "%v", err)
	}
	if _, err := o.check(); err != nil {
		return nil, e.fail(exitUsage, "%v", err)
	}
	if _, err := control.Dial(o.dir).Status(ctx); err == nil {
		return nil, e.fail(exitFailed, "a lab is running in %s already: `lab status` shows it, `lab down` takes it down", o.dir)
	}
	begin := time.Now()
	self, err := os.Executable()
	if err != nil {
		return nil, e.fail(exitFailed, "%v", err)
	}
	args := []string{keepCommand, "--dir", o.dir, "--communes", strconv.Itoa(o.communes), "--listen", o.listen, "--range", o.from}
	for flag, v := range map[string]string{"--bin": o.bin, "--transcript": o.transcript} {
		if v != "" {
			if v, err = filepath.Abs(v); err != nil {
				return nil, e.fail(exitUsage, "%v", err)
			}
			args = append(args, flag, v)
		}
	}
	for flag, on := range map[string]bool{"--loopback": o.loopback, "--simple": o.simple, "--prometheus": o.prometheus, "--tied": tied} {
		if on {
			args = append(args, flag)
		}
	}
	k := &keeper{cmd: exec.Command(self, args...), done: make(chan struct{})}
	k.cmd.Args[0] = "lab"
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, e.fail(exitFailed, "%v", err)
	}
	defer r.Close()
	k.cmd.Stdout = w
	if tied {
		if k.held, err = k.cmd.StdinPipe(); err != nil {
			return nil, e.fail(exitFailed, "%v", err)
		}
	}
	if err := k.cmd.Start(); err != nil {
		return nil, e.fail(exitFailed, "%v", err)
	}
	_ = w.Close()
	go func() {
		defer close(k.done)
		_ = k.cmd.Wait() // it has said what went wrong
	}()
	stop := context.AfterFunc(ctx, func() { _ = k.cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		word, text, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "step":
			fmt.Fprintf(e.out, "%5.1fs  %s\n", time.Since(begin).Seconds(), text)
		case "ready":
			fmt.Fprintf(e.out, "%5.1fs  sẵn sàng (ready)\n", time.Since(begin).Seconds())
			return k, exitDone
		case "error":
			<-k.done
			return nil, e.fail(exitFailed, "%s", text)
		}
	}
	<-k.done
	return nil, e.fail(exitFailed, "the lab ended before it was ready: see %s, if it is there", filepath.Join(o.dir, "log"))
}

// end asks the keeper to end and waits.
func (k *keeper) end() {
	_ = k.held.Close()
	<-k.done
}

// runKeep is the process that a lab lives in. It tells on standard output how far it is: "step TEXT", "ready" or "error TEXT".
func runKeep(ctx context.Context, e env, args []string) int {
	fs, dir := newFlags(e, keepCommand, "The process that a lab lives in; `lab up` starts it.")
	var o options
	o.flags(fs)
	tied := fs.Bool("tied", false, "end when standard input does")
	if _, code, ok := parse(fs, args, 0); !ok {
		return code
	}
	o.dir = *dir
	// Who started it may be gone later: what it says then goes nowhere.
	signalIgnorePipe()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if *tied {
		go func() {
			_, _ = io.Copy(io.Discard, e.in)
			cancel()
		}()
	}
	if err := o.keep(ctx, cancel, func(format string, args ...any) { fmt.Fprintf(e.out, format+"\n", args...) }); err != nil {
		fmt.Fprintf(e.out, "error %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return exitFailed
	}
	return exitDone
}

// keep puts the lab up and keeps it until ctx ends or somebody asks to take it down.
func (o *options) keep(ctx context.Context, cancel func(), say func(format string, args ...any)) (err error) {
	from, err := o.check()
	if err != nil {
		return err
	}
	free, err := o.claim(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()
	logs, err := os.OpenFile(filepath.Join(o.dir, "lab.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close()
	cfg := stage.Config{Dir: o.dir, Communes: o.communes, Range: from, Loopback: o.loopback, Simple: o.simple, Prometheus: o.prometheus, Listen: o.listen, Bin: o.bin,
		Say: func(text string) { say("step %s", text) }, Log: slog.New(slog.NewTextHandler(logs, nil))}
	if o.transcript != "" {
		f, err := os.OpenFile(o.transcript, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		cfg.Transcript = func(line []byte) { _, _ = f.Write(line) }
	}
	for _, p := range []string{"agent", "collector"} {
		if _, err := os.Stat(filepath.Join(o.bin, p)); o.bin != "" && err != nil {
			return fmt.Errorf("--bin: %w: name a folder with the programs agent and collector", err)
		}
	}
	if cfg.Bin == "" {
		say("step chương trình (programs)")
		cfg.Bin = filepath.Join(o.dir, binFolder)
		if err := build(ctx, cfg.Bin); err != nil {
			return err
		}
	}
	s, err := stage.Up(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Down()) }()
	l, err := control.Listen(o.dir)
	if err != nil {
		return err
	}
	serving := make(chan error, 1)
	go func() { serving <- control.Serve(ctx, l, s, cancel) }()
	say("ready")
	select {
	case err := <-serving:
		return err
	case <-ctx.Done():
		return nil
	}
}

// claim takes the lab's folder for this process, and clears what a killed one has left. free empties the folder again.
func (o *options) claim(ctx context.Context) (free func() error, err error) {
	if err := os.MkdirAll(o.dir, 0o711); err != nil {
		return nil, fmt.Errorf("%w: name another folder with --dir", err)
	}
	lock, err := os.OpenFile(filepath.Join(o.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: name another folder with --dir", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("a lab is running in %s already: `lab down` takes it down", o.dir)
	}
	var only net.Listener
	if !o.loopback {
		if only, err = net.Listen("unix", onlyOne); err != nil {
			_ = lock.Close()
			return nil, errors.New("another lab is running on this machine, in another folder: take it down first with `lab down --dir ITS_FOLDER`")
		}
	}
	release := func() error {
		if only != nil {
			_ = only.Close()
		}
		return lock.Close()
	}
	if err := foreign(o.dir); err != nil {
		return nil, errors.Join(err, release())
	}
	if err := clearUp(ctx, o.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("what an earlier lab left cannot be taken away: %w", err), release())
	}
	if !o.loopback {
		if left := strangers(); len(left) > 0 {
			return nil, errors.Join(fmt.Errorf("there are network namespaces that this lab did not make: %s: take them away with `ip netns del %s`", left[0], strings.Join(left, "; ip netns del ")), release())
		}
	}
	return func() error { return errors.Join(empty(o.dir), release(), ignoreNotEmpty(os.Remove(o.dir))) }, nil
}

// strangers lists the namespaces with the lab's prefix that are left.
func strangers() []string {
	entries, _ := os.ReadDir("/run/netns")
	var out []string
	for _, d := range entries {
		if strings.HasPrefix(d.Name(), town.Prefix) {
			out = append(out, d.Name())
		}
	}
	return out
}

// own lists what a lab makes in its folder.
func own() []string {
	return []string{"lab.json", "lab.log", lockFile, control.Socket, stage.TranscriptFile, binFolder, "bin", "collector", "log", "pc", "profile", "servers"}
}

// foreign refuses a folder that holds other things than a lab's: emptying it would take them away.
func foreign(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range entries {
		if !slices.Contains(own(), d.Name()) {
			return fmt.Errorf("%s holds %s, which is no lab's: name an empty folder with --dir", dir, d.Name())
		}
	}
	return nil
}

// clearUp takes away what an earlier lab of the folder left.
func clearUp(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := stage.Clear(ctx, dir); err != nil {
		return err
	}
	return empty(dir)
}

// empty takes a lab's files away, the lock last.
func empty(dir string) error {
	var errs []error
	for _, name := range own() {
		if name != lockFile {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
		}
	}
	return errors.Join(append(errs, ignoreMissing(os.Remove(filepath.Join(dir, lockFile))))...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func ignoreNotEmpty(err error) error {
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return ignoreMissing(err)
}

// build builds the three programs from the source tree that this program is run in.
func build(ctx context.Context, into string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the program go is missing: install it, or name a folder with the programs agent, collector and egovmon-token with --bin")
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	for p, name := range map[string]string{"agent": "agent", "collector": "collector", "agent/token": talk.Name()} {
		// Run through another program, an executable comes from go's cache when it is there.
		out, err := exec.CommandContext(ctx, "go", "run", "-exec", "cp", "egovmon/"+p, filepath.Join(into, name)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("build %s: %w: %.500s (run the lab inside the source tree, or use --bin)", p, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

func runDown(ctx context.Context, e env, args []string) int {
	fs, dirFlag := newFlags(e, "down", "Dỡ phòng thử: tiến trình, mạng, tệp. / Takes the lab down: processes, namespaces, files.")
	if _, code, ok := parse(fs, args, 0); !ok {
		return code
	}
	dir, err := labDir(*dirFlag)
	if err != nil {
		return e.fail(exitUsage, "%v", err)
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(e.out, "không có phòng thử nào / there is no lab")
		return exitDone
	}
	if err := foreign(dir); err != nil {
		return e.fail(exitUsage, "%v", err)
	}
	if control.Dial(dir).Down(ctx) == nil {
		for ctx.Err() == nil && locked(dir) {
			time.Sleep(20 * time.Millisecond)
		}
	}
	if err := clearUp(ctx, dir); err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	if err := ignoreNotEmpty(os.Remove(dir)); err != nil {
		return e.fail(exitFailed, "%v", err)
	}
	fmt.Fprintln(e.out, "đã dỡ / the lab is down")
	return exitDone
}

// locked reports whether a process holds the lab's folder.
func locked(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}
