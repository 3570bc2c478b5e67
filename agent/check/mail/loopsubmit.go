package mail

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// submit hands in one letter. It may take half of the time that is left.
func (r *loopRun) submit() *reach.Fault {
	ctx := r.ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	ses := &session{server: r.smtp.server}
	bad := r.smtp.server.meet(ctx, ses, "QUIT\r\n", func(s *session) *reach.Fault {
		if bad := r.smtp.talk(s); bad != nil {
			return bad
		}
		return r.handIn(s)
	})
	r.heardOf(ses)
	return bad
}

// handIn gives one letter to a server that has let us in. RFC 5321, section 3.3.
func (r *loopRun) handIn(s *session) *reach.Fault {
	to := r.chosen()
	t := token{serial: newSerial(), sent: r.now().Truncate(time.Millisecond).UTC(), from: r.mailbox}
	attachment := content(t.serial, r.secret, r.attachment)
	t.sum = sha256.Sum256(attachment)
	text := compose(t, r.secret, attachment, to)
	size := ""
	if r.smtp.offers.has("SIZE") {
		size = fmt.Sprintf(" SIZE=%d", len(text)) // RFC 1870: what does not fit is refused at once
	}
	reply, bad := s.ask("MAIL FROM:<"+r.mailbox+">"+size+"\r\n", "MAIL")
	if bad != nil {
		return bad
	}
	if reply.code != 250 {
		return handInFault(reply, "the server does not take a letter from our mailbox")
	}
	accepted, bad := r.recipients(s, to)
	if bad != nil {
		return bad
	}
	r.firstPeer = r.turn
	r.turn += len(to) - 1 // the next peers get the next letter, whatever became of this one
	if reply, bad = s.ask("DATA\r\n", "DATA"); bad != nil {
		return bad
	}
	if reply.code != 354 {
		return handInFault(reply, "the server does not take a letter")
	}
	// From here on the letter counts as sent, whether we hear of it or not.
	r.last, r.copies = r.now(), r.copies+len(accepted)
	r.keep()
	if reply, bad = s.ask(string(text)+".\r\n", "the letter"); bad != nil {
		return bad
	}
	if reply.code != 250 {
		return handInFault(reply, "the server refuses the letter")
	}
	r.sent, r.sentAt, r.accepted = t.serial, t.sent, len(accepted)
	r.ledger.post(t.serial, r.now(), t.proof())
	r.keepLedger()
	return nil
}

// recipients names the mailboxes. That one of the peers is refused is told and is no reason not to send; our own must
// be taken.
func (r *loopRun) recipients(s *session, to []string) (accepted []string, bad *reach.Fault) {
	silent := ""
	if r.smtp.offers.has("DSN") {
		silent = " NOTIFY=NEVER" // RFC 3461, section 4.1: what is lost is seen here, and reports would only fill the mailbox
	}
	for i, address := range to {
		reply, bad := s.ask("RCPT TO:<"+address+">"+silent+"\r\n", "RCPT")
		switch {
		case bad != nil:
			return nil, bad
		case reply.code == 250 || reply.code == 251:
			accepted = append(accepted, address)
		case i == 0:
			r.refused++
			return nil, handInFault(reply, "the server does not take letters for our own mailbox")
		default:
			r.refused++
			r.bad = worse(r.bad, reach.Failf(check.Partial, "the server does not take letters for %s: %s", told(address), reply.numbers()))
		}
	}
	return accepted, nil
}

// handInFault is a refusal. Only the numbers are told: the words repeat what was sent.
func handInFault(r reply, what string) *reach.Fault {
	if r.code/100 != 4 && r.code/100 != 5 {
		return reach.Failf(check.Protocol, "%s: %s", what, r.numbers())
	}
	why := ""
	if strings.HasSuffix(r.numbers(), ".2.2") {
		why = " (the mailbox is full)" // RFC 3463, section 3.3
	}
	return reach.Failf(check.MailRejected, "%s: %s%s", what, r.numbers(), why)
}
