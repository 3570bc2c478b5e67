package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"egovmon/agent/check"
)

// The controls that can be measured, as they are called in the catalogue of a law set.
const (
	antiMalware    = "m01"
	signatureAge   = "m02"
	malwareAgent   = "m03"
	hostFirewall   = "m04"
	patchAge       = "m05"
	systemSupport  = "m06"
	listeningPorts = "m07"
	oldServices    = "m08"
	remoteControl  = "m09"
	administrators = "m10"
	idleAccounts   = "m11"
	passwordRules  = "m12"
	lockOut        = "m13"
	autoRun        = "m14"
	diskEncryption = "m15"
	timeSync       = "m16"
	securityLog    = "m17"
	logForwarder   = "m18"
	centreReach    = "m19"
	backupAge      = "m20"
	hostsFile      = "m21"
	addedTrust     = "m22"
	badSoftware    = "m23"
	upkeepPower    = "m26"
	portalRules    = "m27"
)

// A measure reads what one control needs and judges it.
type measure func(ctx context.Context) *check.Result

func controlKind() check.Kind {
	return check.Kind{
		Name:    "control",
		Family:  "control",
		Summary: "One security control of this machine, read without changing anything: " + titles() + ".",
		Options: options(),
		Facts:   facts(),
		Phases:  []string{"total"},
		Target:  targets,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			now := env.Now
			if now == nil {
				now = time.Now
			}
			sys := local()
			sys.network = from(env.Source)
			return newControl(o, sys, now)
		},
	}
}

// A title is what a control is called in the list of kinds.
type title struct{ id, text string }

func allTitles() []title {
	return []title{
		{antiMalware, "protection against malware"},
		{signatureAge, "age of its signatures"},
		{malwareAgent, "agent that reports malware to a centre"},
		{hostFirewall, "host firewall"},
		{patchAge, "age of the last patch"},
		{systemSupport, "support of the operating system"},
		{listeningPorts, "listening ports"},
		{oldServices, "Telnet, FTP, SMBv1, LLMNR"},
		{remoteControl, "control from elsewhere"},
		{administrators, "administrators"},
		{idleAccounts, "accounts that nobody uses"},
		{passwordRules, "length and age of passwords"},
		{lockOut, "lock of accounts and screens"},
		{autoRun, "autorun of USB disks"},
		{diskEncryption, "disk encryption"},
		{timeSync, "time synchronisation"},
		{securityLog, "reach of the log"},
		{logForwarder, "forwarding of the log"},
		{centreReach, "centre of monitoring within reach"},
		{backupAge, "age and place of the backup"},
		{hostsFile, "hosts file and resolvers"},
		{addedTrust, "added root certificates and proxies"},
		{badSoftware, "unwanted software"},
		{upkeepPower, "errors of disks, UPS, ends without a shutdown"},
		{portalRules, "TLS, HSTS, HTTPS and IPv6 of the portal"},
	}
}

func ids() (list []string) {
	for _, t := range allTitles() {
		list = append(list, t.id)
	}
	return list
}

func titles() string {
	var list []string
	for _, t := range allTitles() {
		list = append(list, t.id+" "+t.text)
	}
	return strings.Join(list, ", ")
}

// newControl makes the check of one control from what the plan says and what this system can be asked.
func newControl(o check.Options, sys system, now func() time.Time) (check.Func, error) {
	id := o.String("id")
	if !slices.Contains(ids(), id) {
		return nil, fmt.Errorf("option \"id\": %q is no control that can be measured: write one of %s", id, strings.Join(ids(), ", "))
	}
	if err := onlyFor(o, id); err != nil {
		return nil, err
	}
	l, err := readLimits(o, id)
	if err != nil {
		return nil, err
	}
	return (&runner{measure: sys.measure(id, l, now)}).run, nil
}

// A runner runs a measure so that a dead network disk or a hung service of the system ends the run, not the agent.
type runner struct {
	measure measure
	busy    atomic.Bool // a reading is under way, perhaps from a run before
}

// grace is how long before the end of the run a reading is given up.
const grace = 50 * time.Millisecond

func (r *runner) run(ctx context.Context) check.Result {
	begin := time.Now()
	res := r.once(ctx)
	res.Phases.Add("total", time.Since(begin))
	return res
}

func (r *runner) once(ctx context.Context) check.Result {
	if !r.busy.CompareAndSwap(false, true) {
		return check.Because(check.NotSupported, "the system still has not answered what an earlier run asked")
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) > 2*grace {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-grace))
		defer cancel()
	}
	answer := make(chan check.Result, 1)
	go func() {
		res := r.try(ctx)
		r.busy.Store(false)
		answer <- res
	}()
	select {
	case res := <-answer:
		return res
	case <-ctx.Done():
		return check.Because(check.NotSupported, "the system did not answer in time")
	}
}

// try turns a panic over odd data of the system into a result: it must not end the agent.
func (r *runner) try(ctx context.Context) (res check.Result) {
	defer func() {
		if p := recover(); p != nil {
			res = check.Because(check.Internal, "a reader failed: %v", p)
		}
	}()
	return *r.measure(ctx)
}

// because is check.Because for judgements: they hand on where the result lies, since copies of it for each case made up
// half of their code. It is not to be inlined: that would bring the copies back.
//
//go:noinline
func because(r check.Reason, format string, args ...any) *check.Result {
	res := check.Because(r, format, args...)
	return &res
}

// unread is the result for a value that could not be read.
func unread(err error) *check.Result {
	if errors.Is(err, fs.ErrPermission) {
		return because(check.NoPermission, "%v", err)
	}
	return because(check.NotSupported, "%v", err)
}

// bare takes the operation and the path out of a file error: paths may hold names of users.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// yes01 writes a yes or no as a number.
func yes01(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
