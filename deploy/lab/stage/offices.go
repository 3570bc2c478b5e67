//go:build linux

package stage

import (
	"errors"
	"fmt"

	"egovmon/deploy/lab/district"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/town"
)

// Mailboxes: one of the district, and one of the province that takes its letters.
const (
	mailBox = "vhtt@" + zoneDistrict
	postBox = "so-khcn@" + zoneProvince
)

// mailRecords makes the keys and the records of both mail domains, by zone.
func (s *Stage) mailRecords(a *actors) (map[string][]string, error) {
	a.keys = map[string]*servers.DKIMKey{}
	of := map[string][]string{}
	for zone, at := range map[string]int{zoneDistrict: mailAt, zoneProvince: postAt} {
		key, err := servers.NewDKIMKey()
		if err != nil {
			return nil, err
		}
		if of[zone], err = servers.MailRecords("mail", s.town.ProvinceAddr(at), key); err != nil {
			return nil, err
		}
		a.keys[zone] = key
	}
	return of, nil
}

// openMail starts the mail servers of the district's domain and of the province's.
func (s *Stage) openMail(a *actors) error {
	boxes := map[string]map[string]string{zoneDistrict: {mailBox: probePassword}, zoneProvince: {postBox: probePassword}}
	s.ends.Boxes = map[string]district.Box{}
	for _, u := range s.units { // the district's own machine has its mailbox elsewhere, so that letters go to and fro
		domain, host := zoneDistrict, mailName
		if u.ID == district.Home {
			domain, host = zoneProvince, postName
		}
		box := u.Machine + "@" + domain
		boxes[domain][box] = probePassword
		s.ends.Boxes[u.ID] = district.Box{Address: box, Submission: host + ":587", IMAP: host + ":993"}
	}
	for _, w := range []struct {
		to                **servers.Mail
		dir, host, domain string
		at                int
	}{{&a.mail, "mail", mailName, zoneDistrict, mailAt}, {&a.post, "post", postName, zoneProvince, postAt}} {
		p, err := s.place(town.Province, w.dir, s.town.ProvinceAddr(w.at))
		if err != nil {
			return err
		}
		if *w.to, err = servers.StartMail(s.ctx, p, servers.MailConfig{PKI: a.pki, Host: w.host, Domains: []string{w.domain}, DKIM: a.keys[w.domain],
			Boxes: boxes[w.domain]}); err != nil {
			return err
		}
		s.stops = append(s.stops, (*w.to).Stop)
	}
	s.ends.Mail = district.Mail{SMTP: mailName + ":587", IMAP: mailName + ":993", Domain: zoneDistrict, ServerName: mailName}
	s.ends.Letters = mailBox
	s.ends.Post = district.Mail{SMTP: postName + ":25", Domain: zoneProvince, ServerName: postName}
	return nil
}

// openToken makes the signing token of the district's officer, and looks whether a program finds it.
func (s *Stage) openToken(a *actors) error {
	p, err := s.place(town.District, "token", s.town.CollectorAddr())
	if err != nil {
		return err
	}
	if a.token, err = servers.NewToken(s.ctx, p, servers.TokenConfig{Label: "can-bo", PIN: probePassword, Owner: a.officer}); err != nil {
		return err
	}
	there, err := a.token.Present(s.ctx)
	if err == nil && !there {
		err = errors.New("the signing token is not to be found, though it was made")
	}
	return err
}

// openClocks starts three servers of time: so many it takes to find the one that is wrong.
func (s *Stage) openClocks(a *actors) error {
	for i, at := range []int{clockAt, clockAt + 1, clockAt + 2} {
		p, err := s.place(town.Province, fmt.Sprintf("clock-%d", i+1), s.town.ProvinceAddr(at))
		if err != nil {
			return err
		}
		c, err := servers.StartClock(s.ctx, p, servers.ClockConfig{})
		if err != nil {
			return err
		}
		s.stops = append(s.stops, c.Stop)
		a.clocks, s.ends.Clocks = append(a.clocks, c), append(s.ends.Clocks, c.Addr())
	}
	return nil
}

// openMessages starts the companies that bring messages to telephones.
func (s *Stage) openMessages(a *actors) error {
	p, err := s.place(town.National, "messages", s.town.NationalAddr(messagesAt))
	if err != nil {
		return err
	}
	if a.messages, err = servers.StartMessages(s.ctx, p, servers.MessagesConfig{APIKey: "lab", SecretKey: probePassword, Token: probePassword, Templates: []string{"su-co"}}); err != nil {
		return err
	}
	s.stops = append(s.stops, a.messages.Stop)
	s.ends.Messages = a.messages.Addr()
	return nil
}

// openDesk starts what stands on a machine's desk: the program that signs, and the printer in its network.
func (s *Stage) openDesk(u *unit) error {
	p := servers.Place{Dir: u.dir, Netns: town.Netns(u.pc), IP: loopback}
	sign, err := servers.StartSignService(s.ctx, p, servers.SignServiceConfig{})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, sign.Stop)
	a := s.town.DistrictPrinter()
	for _, c := range s.town.Communes {
		if c.PC == u.pc {
			a = c.Printer
		}
	}
	if u.printer, err = servers.StartPrinter(s.ctx, servers.Place{Netns: town.Netns(u.gateway), IP: a}, servers.PrinterConfig{Name: "may-in-" + u.ID}); err != nil {
		return err
	}
	s.stops = append(s.stops, u.printer.Stop)
	s.ends.Signs = true
	s.ends.Printers[u.ID] = u.printer.Addr()
	return nil
}
