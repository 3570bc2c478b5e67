package mail

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// A mailboxView is the open mailbox of one run. It finds letters by the loop's header alone, and deletes none but those
// in the loop's own folder.
type mailboxView struct {
	run  *loopRun
	s    *session
	n    int // of the last command
	move bool
	uids bool // UID EXPUNGE
	took time.Duration
}

// openMailbox logs in.
func (r *loopRun) openMailbox(s *session) (*mailboxView, *reach.Fault) {
	caps, bad := r.imap.open(s)
	if bad != nil {
		return nil, bad
	}
	box := &mailboxView{run: r, s: s, move: slices.Contains(caps, "MOVE"), uids: slices.Contains(caps, "UIDPLUS")}
	if slices.Contains(caps, "IMAP4REV2") { // both are part of it: RFC 9051, appendix E
		box.move, box.uids = true, true
	}
	if !box.move && !box.uids {
		return nil, reach.Failf(check.NotSupported, "the server has neither MOVE nor UIDPLUS, without which other letters of the mailbox could be deleted with ours")
	}
	return box, nil
}

// do sends one command and reads until it is answered.
func (b *mailboxView) do(command, what string) (end response, said []response, bad *reach.Fault) {
	b.n++
	end, said, bad = b.s.command("L"+strconv.Itoa(b.n), command+"\r\n", what)
	if bad == nil && end.tag == "+" {
		bad = reach.Failf(check.Protocol, "%s: the server asks for more than there is", what)
	}
	return end, said, bad
}

// must is do for a command that has to be obeyed.
func (b *mailboxView) must(command, what string) ([]response, *reach.Fault) {
	end, said, bad := b.do(command, what)
	if bad != nil {
		return nil, bad
	}
	if end.word != "OK" {
		return nil, refusedByIMAP(end, what)
	}
	return said, nil
}

// refusedByIMAP is the fault of a command that was not obeyed.
func refusedByIMAP(end response, what string) *reach.Fault {
	if end.word != "NO" {
		return reach.Failf(check.Protocol, "%s is answered %s", what, told(end.line))
	}
	code := responseCode(end.rest)
	if code == "OVERQUOTA" { // RFC 9208, section 4.3.1
		return reach.Failf(check.Quota, "%s is refused: the mailbox is full", what)
	}
	if code != "" {
		code = ": " + code
	}
	return reach.Failf(check.MailRejected, "%s is refused%s", what, code)
}

// look moves letters of the loop from the inbox to its folder, reads them there and deletes them. all looks into the
// folder also when nothing was moved: a run that was cut short may have left some there.
func (b *mailboxView) look(all bool) *reach.Fault {
	begin := time.Now()
	defer func() { b.took = time.Since(begin) }()
	if _, bad := b.must("SELECT INBOX", "opening the inbox"); bad != nil {
		return bad
	}
	uids, bad := b.search()
	if bad != nil {
		return bad
	}
	if len(uids) > 0 {
		if bad = b.moveAll(uids); bad != nil {
			return bad
		}
	}
	if len(uids) > 0 || all {
		if bad = b.empty(); bad != nil {
			return bad
		}
	}
	b.run.opened, b.run.searched = true, b.run.left == 0
	return nil
}

// search lists the letters of the open folder that bear the loop's header, and that nobody has deleted.
func (b *mailboxView) search() ([]uint64, *reach.Fault) {
	said, bad := b.must(`UID SEARCH UNDELETED HEADER "`+tokenHeader+`" ""`, "SEARCH")
	if bad != nil {
		return nil, bad
	}
	var uids []uint64
	for _, r := range said {
		if r.word != "SEARCH" {
			continue
		}
		for w := range strings.FieldsSeq(r.rest) {
			uid, err := strconv.ParseUint(w, 10, 32)
			if err != nil || uid == 0 {
				return nil, reach.Failf(check.Protocol, "SEARCH: %s is no number of a letter", told(w))
			}
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids), nil
}

// maxMoved letters are moved with one command, so that it stays a short line.
const maxMoved = 64

// moveAll moves letters to the loop's folder, which is made when it is not there. Of more than maxMoved the newest go.
func (b *mailboxView) moveAll(uids []uint64) *reach.Fault {
	set := uidSet(uids[max(0, len(uids)-maxMoved):])
	command := "UID MOVE "
	if !b.move {
		command = "UID COPY "
	}
	end, _, bad := b.do(command+set+" "+b.run.folder, "moving letters to the loop's folder")
	if bad == nil && end.word == "NO" {
		if _, _, bad = b.do("CREATE "+b.run.folder, "making the loop's folder"); bad == nil {
			end, _, bad = b.do(command+set+" "+b.run.folder, "moving letters to the loop's folder")
		}
	}
	switch {
	case bad != nil:
		return bad
	case end.word != "OK":
		return refusedByIMAP(end, "moving letters to the loop's folder")
	case b.move:
		return nil
	}
	return b.expunge(set)
}

// expunge deletes letters of the open folder, and no others.
func (b *mailboxView) expunge(set string) *reach.Fault {
	if _, bad := b.must("UID STORE "+set+` +FLAGS.SILENT (\Deleted)`, "deleting"); bad != nil {
		return bad
	}
	command := "EXPUNGE" // only in the loop's own folder is it come to this
	if b.uids {
		command = "UID EXPUNGE " + set
	}
	_, bad := b.must(command, "deleting")
	return bad
}

// empty reads the letters in the loop's folder and deletes them.
func (b *mailboxView) empty() *reach.Fault {
	end, _, bad := b.do("SELECT "+b.run.folder, "opening the loop's folder")
	if bad != nil {
		return bad
	}
	if end.word == "NO" {
		return nil // it is not there: it is made with the first letter
	}
	if end.word != "OK" {
		return refusedByIMAP(end, "opening the loop's folder")
	}
	uids, bad := b.search()
	if bad != nil || len(uids) == 0 {
		return bad
	}
	room := max(0, maxLetters-len(b.run.found)-b.run.again-b.run.foreign)
	b.run.left = max(0, len(uids)-room)
	uids = uids[b.run.left:]
	if len(uids) == 0 {
		return nil
	}
	for _, uid := range slices.Backward(uids) { // the newest first
		if bad := b.fetch(uid); bad != nil {
			return bad
		}
	}
	b.run.keepLedger() // a letter that is deleted and not known to have been found would be lost after a restart
	return b.expunge(uidSet(uids))
}

// fetch reads one letter.
func (b *mailboxView) fetch(uid uint64) *reach.Fault {
	size := letterSize(b.run.attachment)
	said, bad := b.must(fmt.Sprintf("UID FETCH %d (UID RFC822.SIZE INTERNALDATE BODY.PEEK[]<0.%d>)", uid, size), "FETCH")
	if bad != nil {
		return bad
	}
	for _, r := range said {
		f, ok := parseFetch(r.line)
		if ok && f.uid == uid && f.has {
			b.run.meetLetter(f.text, f.size <= uint64(size), f.placed)
			return nil
		}
	}
	return nil // somebody else has deleted it meanwhile
}

// uidSet writes numbers as a set: 3:5,9.
func uidSet(uids []uint64) string {
	var parts []string
	for i := 0; i < len(uids); {
		j := i
		for j+1 < len(uids) && uids[j+1] == uids[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, strconv.FormatUint(uids[i], 10))
		} else {
			parts = append(parts, fmt.Sprintf("%d:%d", uids[i], uids[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// A fetched letter is what one answer to FETCH holds.
type fetched struct {
	uid, size uint64
	placed    time.Time
	text      []byte
	has       bool // the text was among it
}

// parseFetch reads `* 3 FETCH (UID 12 RFC822.SIZE 600 INTERNALDATE "23-Nov-2026 10:00:00 +0700" BODY[]<0> "…")`, whose
// literals stand as Go's quoted strings.
func parseFetch(line string) (f fetched, ok bool) {
	_, rest, ok := strings.Cut(line, " FETCH (")
	if !ok {
		return f, false
	}
	for {
		rest = strings.TrimLeft(rest, " ")
		if rest == "" || rest[0] == ')' {
			return f, true
		}
		var name, value string
		if name, rest, ok = strings.Cut(rest, " "); !ok {
			return f, false
		}
		if value, rest, ok = fetchValue(rest); !ok {
			return f, false
		}
		switch name = strings.ToUpper(name); {
		case name == "UID":
			f.uid, _ = strconv.ParseUint(value, 10, 32)
		case name == "RFC822.SIZE":
			f.size, _ = strconv.ParseUint(value, 10, 63)
		case name == "INTERNALDATE":
			if t, err := time.Parse("2-Jan-2006 15:04:05 -0700", strings.TrimSpace(value)); err == nil {
				f.placed = t.UTC()
			}
		case strings.HasPrefix(name, "BODY[]"):
			f.text, f.has = []byte(value), value != "NIL"
		}
	}
}

// fetchValue takes one value off: a quoted string, a list, or a word.
func fetchValue(s string) (value, rest string, ok bool) {
	switch {
	case s == "":
		return "", "", false
	case s[0] == '"':
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", false
		}
		value, err = strconv.Unquote(quoted)
		return value, s[len(quoted):], err == nil
	case s[0] == '(':
		end := strings.IndexByte(s, ')')
		if end < 0 {
			return "", "", false
		}
		return s[:end+1], s[end+1:], true
	}
	end := strings.IndexAny(s, " )")
	if end < 0 {
		return "", "", false
	}
	return s[:end], s[end:], true
}
