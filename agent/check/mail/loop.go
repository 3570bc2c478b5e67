package mail

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// The phases of mailloop.
const (
	phaseLook   = "look"   // the mailbox is opened and searched
	phaseSubmit = "submit" // the letter is handed in
	phaseWait   = "wait"   // until it was found
)

// Bounds of a loop.
const (
	maxPeers     = 16
	maxLetters   = 16 // read in one run; the newest first, the others in the next ones
	lettersTold  = 8  // of which the facts tell
	hopsTold     = 8
	maxLoopLine  = 64 << 10
	maxLoopHeard = 4 << 20
)

func mailloopKind() check.Kind {
	return check.Kind{
		Name:    "mailloop",
		Family:  "mail",
		Summary: "Letters between the monitoring mailboxes of the machines: handed in, found again by IMAP, timed, compared and deleted; it touches no other letter.",
		Options: loopOptions(),
		Facts:   loopFacts(),
		Phases:  []string{phaseLook, phaseSubmit, phaseWait, phaseTotal},
		Target:  func(o check.Options) []string { return hostsOf(o.String("address"), o.String("imap")) },
		New:     newLoop,
	}
}

func loopOptions() []check.Option {
	return slices.Concat([]check.Option{
		{Name: "address", Type: check.TypeAddress, Required: true, Help: "Where letters are handed in, as host:port (587 or 465)."},
		{Name: "starttls", Type: check.TypeString, Default: tlsRequired, Enum: []string{tlsRequired, tlsImplicit},
			Help: "required: TLS is turned on there (587). implicit: TLS from the start (465)."},
		{Name: "imap", Type: check.TypeAddress, Required: true, Help: "Where the mailbox is, as host:port (993 or 143)."},
		{Name: "imap_starttls", Type: check.TypeString, Default: tlsImplicit, Enum: []string{tlsImplicit, tlsRequired},
			Help: "implicit: TLS from the start (993). required: TLS is turned on there (143)."},
		{Name: "mailbox", Type: check.TypeString, Required: true, Help: "The mail address of this machine's own monitoring mailbox, which no other machine uses."},
		{Name: "user", Type: check.TypeString, Required: true, Help: "The account of the mailbox, for both servers."},
		{Name: "password", Type: check.TypeSecret, Required: true, Help: "Its password; it is sent through verified TLS only."},
		{Name: "key", Type: check.TypeSecret, Required: true, Help: "The key that all machines of the loop share: letters without its signature are not of the loop."},
		{Name: "peers", Type: check.TypeStrings, Max: maxPeers,
			Help: "Mailboxes of other machines, which get each letter too and look for it there; ${loop.peers} in a profile lets the collector choose them. Our own mailbox always gets it."},
		{Name: "each", Type: check.TypeInt, Default: "2", Min: 1, Max: maxPeers, Help: "How many of the peers get one letter; the next letter goes to the next ones."},
		{Name: "folder", Type: check.TypeString, Default: "egovmon", Help: "The loop's own folder of the mailbox: letters of the loop are moved there, read and deleted."},
		{Name: "pace", Type: check.TypeDuration, Default: "10m", Min: 1, Max: 86400, Help: "The least time from one letter to the next; runs between only look."},
		{Name: "daily", Type: check.TypeInt, Default: "500", Min: 2, Max: 20000, Help: "The most copies sent in a day (UTC), one for each mailbox; then runs only look. The count outlives a start of the agent and a change of the plan."},
		{Name: "late", Type: check.TypeDuration, Default: "5m", Min: 1, Max: 86400, Help: "A letter that takes longer than this is mail_late."},
		{Name: "lost", Type: check.TypeDuration, Default: "1h", Min: 2, Max: 7 * 86400, Help: "A letter that the server took and that is not there after this time is mail_lost; when it comes after all it was late."},
		{Name: "wait", Type: check.TypeDuration, Min: 0, Max: 600, Help: "How long a run waits for the letter that it has handed in, and looks again; without it as long as the timeout lets it. What is not there then is found by a later run."},
		{Name: "attachment", Type: check.TypeBytes, Default: "4KiB", Min: 1, Max: 64 << 10, Help: "The size of the attachment that is compared by its hash."},
		{Name: "pass", Type: check.TypeStrings, Max: 3, Help: "What the receiver must have found in order: of [spf, dkim, dmarc]; another result, or none, is mail_auth."},
		{Name: "authserv", Type: check.TypeString, Help: "The name under which the receiving server writes what it found (Authentication-Results); without it that of the topmost header, when that server itself took the letter from outside. What stands below the Received header with which it took the letter is never believed."},
		pauseOption(),
		reach.FamilyOption(),
	}, reach.TLSOptions())
}

func loopFacts() []check.FactDef {
	const seconds = 30 * 86400
	facts := []check.FactDef{
		{Name: "login_code", Help: "1 when the monitoring account could log in, 0 when it could not", Max: 1},
		{Name: "searched_code", Help: "1 when the mailbox was searched to the end, so that what was not found was not there", Max: 1},
		{Name: "sent_serial", Help: "the letter handed in by this run; the same number is found at the other end", Max: maxSerial},
		{Name: "sent_unix", Help: "when it was", Max: 1 << 40},
		{Name: "first_peer_code", Help: "the first of the plan's peers that it went to, from 1; the others follow it in their order", Min: 1, Max: maxPeers},
		{Name: "accepted_count", Help: "mailboxes that the server took it for", Max: maxPeers + 1},
		{Name: "refused_count", Help: "mailboxes that the server refused it for", Max: maxPeers + 1},
		{Name: "letters_count", Help: "letters of the loop found by this run", Max: maxLetters},
		{Name: "left_count", Help: "letters left for the next run", Max: 1 << 20},
		{Name: "duplicates_count", Help: "of those found, how many came a second time", Max: maxLetters},
		{Name: "altered_count", Help: "of those found, how many are not what was sent", Max: maxLetters},
		{Name: "foreign_count", Help: "letters that bear the loop's header without its signature", Max: maxLetters},
		{Name: "own_transit_s", Help: "how long our own letter took, the last one found", Max: seconds},
		{Name: "transit_max_s", Help: "how long the slowest letter found by this run took", Max: seconds},
		{Name: "pending_count", Help: "our letters that are not back yet", Max: maxPending},
		{Name: "pending_oldest_s", Help: "how long the oldest of them has been under way", Max: seconds},
		{Name: "lost_count", Help: "our letters that became lost with this run", Max: maxPending},
		{Name: "came_after_all_count", Help: "our letters found by this run that had been lost", Max: maxLetters},
		{Name: "hops_count", Help: "servers that the letter told of last passed", Max: maxHeaders},
		{Name: "future_hops_count", Help: "of these, how many stamped it later than it was found", Max: maxHeaders},
		{Name: "spf_code", Help: "SPF as the receiver saw it: 0 none, 1 pass, 2 fail, 3 softfail, 4 neutral, 5 temperror, 6 permerror, 7 policy, 8 another word", Max: authOther},
		{Name: "dkim_code", Help: "DKIM as the receiver saw it, in the same numbers", Max: authOther},
		{Name: "dmarc_code", Help: "DMARC as the receiver saw it, in the same numbers", Max: authOther},
	}
	for i := range hopsTold {
		facts = append(facts, check.FactDef{Name: fmt.Sprintf("hop%d_s", i+1), Help: fmt.Sprintf("from server %d to the next one, by their own clocks", i+1), Max: seconds})
	}
	for i := range lettersTold {
		facts = append(facts,
			check.FactDef{Name: fmt.Sprintf("letter%d_serial", i+1), Help: fmt.Sprintf("letter %d of those found: its number", i+1), Max: maxSerial},
			check.FactDef{Name: fmt.Sprintf("letter%d_transit_s", i+1), Help: "how long it took", Max: seconds},
			check.FactDef{Name: fmt.Sprintf("letter%d_altered_code", i+1), Help: "1 when it is not what was sent, else 0", Max: 1})
	}
	return facts
}

// A loopCheck is one check of the kind mailloop. A run uses it alone.
type loopCheck struct {
	smtp       *smtpCheck
	imap       *imapCheck
	key        func() (string, error)
	mailbox    string
	peers      []string
	each       int
	folder     string // as IMAP has it, quoted
	pace       time.Duration
	daily      int
	attachment int
	pass       []string
	authserv   string
	timeout    time.Duration
	wait       time.Duration // -1 for as long as there is time
	now        func() time.Time

	ledger ledger
	keys   loopKeys
	known  bool      // the ledger holds what was kept before this start
	turn   int       // the peer that the next letter goes to first
	last   time.Time // when the last letter was handed in
	day    time.Time // UTC
	copies int       // sent that day
	notes  check.Notes
}

func newLoop(o check.Options, env check.Env) (check.Func, error) {
	c, err := newLoopCheck(o, env)
	if err != nil {
		return nil, err
	}
	return c.run, nil
}

func newLoopCheck(o check.Options, env check.Env) (*loopCheck, error) {
	out := maps.Clone(o)
	send, err := newServer(out, env)
	if err != nil {
		return nil, err
	}
	out["address"], out["starttls"] = o["imap"], o["imap_starttls"]
	fetch, err := newServer(out, env)
	if err != nil {
		return nil, fmt.Errorf("option \"imap\": %w", err)
	}
	fetch.lockout = send.lockout // one account
	fetch.bounds = bounds{maxLoopLine, maxLoopHeard}
	c := &loopCheck{
		smtp: &smtpCheck{server: send}, imap: &imapCheck{server: fetch}, key: func() (string, error) { return reach.Secret(env, o.String("key")) },
		mailbox: o.String("mailbox"), peers: o.Strings("peers"), each: int(o.Int("each")), pace: o.Duration("pace"), daily: int(o.Int("daily")),
		attachment: int(o.Int("attachment")), authserv: o.String("authserv"), timeout: env.Timeout, wait: -1, now: send.now,
		ledger: ledger{late: o.Duration("late"), lost: o.Duration("lost")}, notes: env.Kept(),
	}
	if o.Has("wait") {
		c.wait = o.Duration("wait")
	}
	return c, c.validate(o)
}

// validate checks what one option says about another.
func (c *loopCheck) validate(o check.Options) error {
	if err := mailAddress(c.mailbox); err != nil {
		return fmt.Errorf("option \"mailbox\": %w", err)
	}
	for i, p := range c.peers {
		if err := mailAddress(p); err != nil {
			return fmt.Errorf("option \"peers\": %w", err)
		}
		if p == c.mailbox || slices.Contains(c.peers[:i], p) {
			return fmt.Errorf("option \"peers\": %q stands twice or is our own: name different mailboxes", p)
		}
	}
	c.folder = o.String("folder")
	if strings.EqualFold(c.folder, "INBOX") || c.folder == "" || strings.ContainsFunc(c.folder, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"\%*{}()&`, r) }) {
		return fmt.Errorf("option \"folder\": %q is no folder of the loop's own: write a word of ASCII letters other than INBOX, e.g. egovmon", c.folder)
	}
	if c.ledger.lost <= c.ledger.late {
		return fmt.Errorf("option \"lost\": %s is no longer than late (%s): a letter is late before it is lost", c.ledger.lost, c.ledger.late)
	}
	if copies := min(c.each, len(c.peers)) + 1; c.daily < copies {
		return fmt.Errorf("option \"daily\": %d is fewer than the %d copies of one letter: write more, or fewer for each", c.daily, copies)
	}
	for _, m := range o.Strings("pass") {
		if !slices.Contains(authMethods, strings.ToLower(m)) {
			return fmt.Errorf("option \"pass\": %q is none of %s", m, strings.Join(authMethods, ", "))
		}
		c.pass = append(c.pass, strings.ToLower(m))
	}
	return nil
}

// mailAddress checks an address as it stands in a command: ASCII, without blanks and brackets.
func mailAddress(s string) error {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || len(s) > 254 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>"\,;:()[]`, r) }) || strings.Contains(domain, "@") {
		return fmt.Errorf("%q is no mail address: write e.g. egovmon-xa-01@example.vn", s)
	}
	return nil
}

// hostsOf lists the hosts of addresses, each once.
func hostsOf(addresses ...string) []string {
	var hosts []string
	for _, a := range addresses {
		if host, _, err := net.SplitHostPort(a); err == nil && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// chosen are the mailboxes of the next letter: our own, and each of the peers in turn.
func (c *loopCheck) chosen() []string {
	to := []string{c.mailbox}
	for i := range min(c.each, len(c.peers)) {
		to = append(to, c.peers[(c.turn+i)%len(c.peers)])
	}
	return to
}

// due reports whether a letter may be handed in now.
func (c *loopCheck) due(now time.Time) bool {
	c.recall()
	if day := now.UTC().Truncate(24 * time.Hour); !day.Equal(c.day) {
		c.day, c.copies = day, 0
	}
	since := now.Sub(c.last)
	return (c.last.IsZero() || since >= c.pace || since < -c.pace) && c.copies+min(c.each, len(c.peers))+1 <= c.daily
}

// run makes one run.
func (c *loopCheck) run(ctx context.Context) check.Result {
	if _, ok := ctx.Deadline(); !ok && c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	begin := time.Now()
	r := &loopRun{loopCheck: c, ctx: ctx}
	bad := r.around().UnlessCalledOff(ctx)
	result := bad.Result()
	r.tell()
	r.phases.Add(phaseTotal, time.Since(begin))
	result.Phases, result.Facts = r.phases, r.facts
	return result
}
