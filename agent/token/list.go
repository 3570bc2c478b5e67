package main

import (
	"egovmon/agent/check"
	"egovmon/agent/token/pcsc"
	"egovmon/agent/token/pkcs11"
	"egovmon/agent/token/talk"
)

// maxModules bounds how many drivers one request may name.
const maxModules = 8

// list shows what the tokens of some modules show without a PIN. A module that fails does not hide the others.
func list(modules []string) *talk.Answer {
	a := &talk.Answer{List: []talk.Module{}}
	for _, path := range modules[:min(len(modules), maxModules)] {
		m := talk.Module{Path: path}
		var err error
		if m.Tokens, err = tokens(path); err != nil {
			m.Error = check.CleanDetail(err.Error())
		}
		a.List = append(a.List, m)
	}
	return a
}

func tokens(path string) ([]talk.Token, error) {
	m, err := pkcs11.Open(path)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	all, err := m.Tokens()
	var out []talk.Token
	for _, t := range all[:min(len(all), talk.MaxKeys)] {
		one := talk.Token{Slot: t.Slot, Label: t.Label, Serial: t.Serial, Maker: t.Maker, Model: t.Model, Flags: t.Flags}
		s, err := m.Session(t)
		if err != nil {
			return out, err
		}
		certs, err := s.Certificates()
		s.Close()
		if err != nil {
			return out, err
		}
		for _, c := range certs {
			one.Certificates = append(one.Certificates, talk.Certificate{ID: c.ID, Label: c.Label, DER: c.DER})
		}
		out = append(out, one)
	}
	return out, err
}

func readers() (*talk.Answer, error) {
	all, err := pcsc.Readers()
	if err != nil {
		return nil, because(check.NoPermission, "the readers of smart cards cannot be listed: %v", err)
	}
	a := &talk.Answer{Readers: []talk.Reader{}}
	for _, r := range all {
		a.Readers = append(a.Readers, talk.Reader{Name: r.Name, Card: r.Card})
	}
	return a, nil
}
