package control

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"egovmon/agent/check"
)

// answers are what WMI says, by class, as the scripting interface of Windows hands it out: rows or an error.
type answers map[string]any

func (a answers) ask(_ context.Context, _, class string, _ ...string) ([]row, error) {
	switch v := a[class].(type) {
	case []row:
		return v, nil
	case error:
		return nil, v
	}
	return nil, fmt.Errorf("WMI: %w", fs.ErrNotExist)
}

// bootLog is a System log of a Vietnamese Windows 10, the newest record first, as wevtapi renders it.
func bootLog(records ...string) events {
	return func(_ context.Context, channel, _ string, newest bool, most int) ([]string, error) {
		if channel != "System" || !newest {
			return nil, errors.New("another log was asked")
		}
		return records[:min(most, len(records))], nil
	}
}

func started(at string) string {
	return `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Kernel-General' Guid='{a68ca8b7-004f-d7b6-a698-07e2de0f1f5d}'/><EventID>12</EventID><Version>1</Version><Level>4</Level><Task>1</Task><Opcode>0</Opcode><Keywords>0x8000000000000080</Keywords><TimeCreated SystemTime='` + at + `'/><EventRecordID>10211</EventRecordID><Correlation/><Execution ProcessID='4' ThreadID='8'/><Channel>System</Channel><Computer>PC-XÃ-AN-THANH</Computer><Security UserID='S-1-5-18'/></System><EventData><Data Name='MajorVersion'>10</Data><Data Name='MinorVersion'>0</Data><Data Name='BuildVersion'>19045</Data><Data Name='StartTime'>` + at + `</Data></EventData></Event>`
}

func abrupt(at, code string) string {
	return `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Kernel-Power' Guid='{331c3b3a-2005-44c2-ac5e-77220c37d6b4}'/><EventID>41</EventID><Version>8</Version><Level>1</Level><TimeCreated SystemTime='` + at + `'/><EventRecordID>10240</EventRecordID><Channel>System</Channel><Computer>PC-XÃ-AN-THANH</Computer></System><EventData><Data Name='BugcheckCode'>` + code + `</Data><Data Name='BugcheckParameter1'>0x0</Data><Data Name='PowerButtonTimestamp'>0</Data></EventData></Event>`
}

// securityRecords has one record at each end.
func securityRecords(oldest, newest time.Time) events {
	return func(_ context.Context, channel, query string, last bool, _ int) ([]string, error) {
		if channel != "Security" || query != "*" {
			return nil, errors.New("another log was asked")
		}
		at := oldest
		if last {
			at = newest
		}
		return []string{`<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Security-Auditing' Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}'/><EventID>4624</EventID><TimeCreated SystemTime='` + at.UTC().Format("2006-01-02T15:04:05.0000000Z") + `'/><Computer>PC-01</Computer></System><EventData><Data Name='TargetUserName'>Nguyễn Văn A&lt;/System&gt;</Data></EventData></Event>`}, nil
	}
}

// stored is how a store keeps a certificate in the registry: its SHA-1 (property 3), a name (11) and itself (32).
func stored(der string) []byte {
	var b []byte
	add := func(number uint32, v []byte) {
		b = binary.LittleEndian.AppendUint32(b, number)
		b = binary.LittleEndian.AppendUint32(b, 1)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	sum := sha1.Sum([]byte(der))
	add(3, sum[:])
	add(11, []byte("T\x00\xea\x1en\x00\x00\x00"))
	add(32, []byte(der))
	return b
}

// rootList is Microsoft's list of roots, shaped as EncodedCtl is, with these certificates.
func rootList(ders ...string) []byte {
	var b cryptobyte.Builder
	seq := func(b *cryptobyte.Builder, f func(*cryptobyte.Builder)) { b.AddASN1(asn1.SEQUENCE, f) }
	oid := func(b *cryptobyte.Builder, text string) { b.AddBytes([]byte(text)) }
	explicit := asn1.Tag(0).ContextSpecific().Constructed()
	seq(&b, func(b *cryptobyte.Builder) {
		oid(b, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02") // signedData
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			seq(b, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {})
				seq(b, func(b *cryptobyte.Builder) {
					oid(b, "\x06\x09\x2b\x06\x01\x04\x01\x82\x37\x0a\x01") // certificate trust list
					b.AddASN1(explicit, func(b *cryptobyte.Builder) {
						seq(b, func(b *cryptobyte.Builder) {
							seq(b, func(b *cryptobyte.Builder) { oid(b, "\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x0a\x03\x09") })
							b.AddASN1Int64(1)
							b.AddASN1(asn1.UTCTime, func(b *cryptobyte.Builder) { b.AddBytes([]byte("260616175611Z")) })
							seq(b, func(b *cryptobyte.Builder) { oid(b, "\x06\x05\x2b\x0e\x03\x02\x1a"); b.AddASN1NULL() })
							seq(b, func(b *cryptobyte.Builder) {
								for _, der := range ders {
									sum := sha1.Sum([]byte(der))
									seq(b, func(b *cryptobyte.Builder) {
										b.AddASN1OctetString(sum[:])
										b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {})
									})
								}
							})
						})
					})
				})
			})
		})
	})
	return b.BytesOrPanic()
}

func sha1Of(der string) string {
	sum := sha1.Sum([]byte(der))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func sha256Of(der string) string {
	sum := sha256.Sum256([]byte(der))
	return hex.EncodeToString(sum[:])
}

// A readerTest changes one thing of an office in which all is well.
type readerTest struct {
	name, id string
	with     check.Options
	change   func(*station, export)
	want     check.Reason
	detail   string
	facts    map[string]float64
}

// wellKept is an office whose readers by WMI, event log and accounts all answer well.
func wellKept(t *testing.T) (station, export) {
	s := office(t)
	e := s.registry.(export)
	s.objects = answers{
		"AntiVirusProduct":        []row{{"displayName": "Windows Defender", "productState": int32(397568)}},
		"MSFT_MpComputerStatus":   []row{{"AntivirusEnabled": true, "RealTimeProtectionEnabled": true, "AntivirusSignatureLastUpdated": testNow.Add(-20 * time.Hour).UTC().Format("20060102150405.000000+000")}},
		"Win32_EncryptableVolume": []row{{"DriveLetter": "D:", "ProtectionStatus": int32(0)}, {"DriveLetter": nil, "ProtectionStatus": int32(2)}, {"DriveLetter": "C:", "ProtectionStatus": int32(1)}},
		"MSFT_PhysicalDisk":       []row{{"HealthStatus": int32(0)}, {"HealthStatus": int32(5)}},
	}.ask
	s.events = bootLog(started("2026-11-22T01:02:03.1234567Z"), started("2026-11-21T01:00:00.0000000Z"))
	s.users = func(context.Context) ([]user, error) {
		return []user{
			{flags: 0x10203, passwordAge: 90 * 365 * 86400, expires: neverExpires}, // the built-in one, switched off
			{flags: 0x201, lastLogOn: uint32(testNow.Add(-2 * day).Unix()), passwordAge: 200 * 86400, expires: neverExpires},
		}, nil
	}
	s.letters = func() (int, error) { return 14, nil }
	s.admins = func() ([]member, error) {
		return []member{{disabled: true, local: true, user: user{flags: 0x10223}}, {local: true, user: user{flags: 0x201, passwordAge: 30 * 86400, expires: neverExpires}}}, nil
	}
	s.supply = func() (power, error) { return power{line: 1, percent: 255}, nil }
	s.hives = func() ([]hive, error) { return []hive{export{}}, nil }
	// The service manager knows Windows' own services.
	s.running = func(name string) (bool, error) {
		return map[string]bool{"wscsvc": true, "EventLog": true, "mpssvc": true}[name], nil
	}
	e[`software\microsoft\systemcertificates\authroot\autoupdate`] = map[string]any{"encodedctl": rootList("of the programme")}
	e[`software\microsoft\systemcertificates\root\certificates\a1`] = map[string]any{"blob": stored("of Windows")}
	e[`software\microsoft\systemcertificates\authroot\certificates\a2`] = map[string]any{"blob": stored("of the programme")}
	s.shipped = []string{sha1Of("of Windows")}
	return s, e
}

func runReaders(t *testing.T, tests []readerTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.id+" "+tt.name, func(t *testing.T) {
			s, e := wellKept(t)
			if tt.change != nil {
				tt.change(&s, e)
			}
			o := check.Options{"id": tt.id}
			maps.Copy(o, tt.with)
			r := judged(t, s.system(), o)
			if r.Reason != tt.want || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("%s %q, want %s %q", r.Reason, r.Detail, tt.want, tt.detail)
			}
			wantFacts(t, r, tt.facts)
			if strings.Contains(r.Detail, "Nguyễn") || strings.Contains(r.Detail, "PC-") {
				t.Errorf("the detail holds names: %s", r.Detail)
			}
		})
	}
}

func says(class string, v any) func(*station, export) {
	return func(s *station, _ export) {
		before := s.objects
		s.objects = func(ctx context.Context, namespace, c string, names ...string) ([]row, error) {
			if c == class {
				return answers{class: v}.ask(ctx, namespace, c, names...)
			}
			return before(ctx, namespace, c, names...)
		}
	}
}

func changes(list ...func(*station, export)) func(*station, export) {
	return func(s *station, e export) {
		for _, f := range list {
			f(s, e)
		}
	}
}

func runs(names ...string) func(*station, export) {
	return func(s *station, e export) {
		for _, n := range names {
			e[`system\currentcontrolset\services\`+strings.ToLower(n)] = map[string]any{"start": uint64(2)}
		}
		s.running = func(name string) (bool, error) {
			if slices.Contains(names, name) {
				return true, nil
			}
			return false, nil
		}
	}
}

func products(state int32) func(*station, export) {
	return says("AntiVirusProduct", []row{{"displayName": "Bkav Pro Internet Security – bản quyền", "productState": state}})
}

// TestStationMalware reads what Windows says of programs against malware. States are those that real products were seen with.
func TestStationMalware(t *testing.T) {
	noCentre, noDefender := runs("EventLog"), says("MSFT_MpComputerStatus", error(fs.ErrNotExist))
	off := says("MSFT_MpComputerStatus", []row{{"AntivirusEnabled": false, "RealTimeProtectionEnabled": false}})
	brought := func(v any) func(*station, export) {
		return func(_ *station, e export) {
			e[strings.ToLower(keyDefender)] = map[string]any{"signatureslastupdated": v}
		}
	}
	hours := func(n int) []byte {
		return binary.LittleEndian.AppendUint64(nil, uint64(testNow.Add(-time.Duration(n)*time.Hour).UnixNano()/100+116444736000000000))
	}
	updated := func(v any) func(*station, export) {
		return says("MSFT_MpComputerStatus", []row{{"AntivirusSignatureLastUpdated": v}})
	}
	runReaders(t, []readerTest{
		{"Defender", "m01", nil, nil, check.OK, "Windows Defender", map[string]float64{"antimalware_count": 1}},
		{"another product", "m01", nil, products(266240), check.OK, "Bkav", nil},
		{"another product, old signatures", "m01", nil, products(266256), check.OK, "", nil},
		{"snoozed", "m01", nil, changes(products(270336), off), check.ControlPartial, "Bkav", map[string]float64{"antimalware_count": 1}},
		{"all off", "m01", nil, changes(products(262144), off), check.ControlFail, "no program", map[string]float64{"antimalware_count": 0}},
		{"expired", "m01", nil, changes(products(0x43000), off), check.ControlFail, "", nil},
		{"the centre calls it off, Defender itself on", "m01", nil, products(262144), check.OK, defender, nil},
		{"a server with Defender", "m01", nil, noCentre, check.OK, defender, nil},
		{"a server, Defender does not look", "m01", nil, changes(noCentre, says("MSFT_MpComputerStatus", []row{{"AntivirusEnabled": true, "RealTimeProtectionEnabled": false}})), check.ControlPartial, defender, nil},
		{"a server, all off", "m01", nil, changes(noCentre, off), check.ControlFail, "", nil},
		{"a server with another product", "m01", nil, changes(runs("ekrn"), off), check.OK, "ekrn", nil},
		{"a server with a product of the plan", "m01", check.Options{"programs": []string{"BkavSvc"}}, changes(runs("BkavSvc"), off), check.OK, "BkavSvc", nil},
		{"nobody answers", "m01", nil, changes(noCentre, noDefender), check.NotSupported, "what guards this machine", nil},
		{"nobody may ask", "m01", nil, changes(noCentre, says("MSFT_MpComputerStatus", errDenied)), check.NoPermission, "", nil},
		{"a state of another type", "m01", nil, changes(says("AntiVirusProduct", []row{{"displayName": "X", "productState": true}}), noDefender), check.NotSupported, "", nil},
		{"a state of nothing", "m01", nil, changes(says("AntiVirusProduct", []row{{"displayName": "X", "productState": nil}}), noDefender), check.NotSupported, "", nil},
		{"Defender's answer of another type", "m01", nil, changes(noCentre, says("MSFT_MpComputerStatus", []row{{"AntivirusEnabled": "True", "RealTimeProtectionEnabled": "Đúng"}})), check.NotSupported, "", nil},
		{"no product, no services", "m01", nil, changes(noCentre, off, func(s *station, _ export) { s.registry = closedKeys{} }), check.NoPermission, "", nil},

		{"young", "m02", nil, nil, check.OK, "0 days", map[string]float64{"age_s": 20 * 3600}},
		{"old", "m02", nil, updated(testNow.Add(-5 * day).UTC().Format("20060102150405.000000+000")), check.ControlPartial, "5 days", nil},
		{"too old", "m02", nil, updated(testNow.Add(-9 * day).UTC().Format("20060102150405.000000+000")), check.ControlFail, "9 days", nil},
		{"in Vietnam's zone", "m02", nil, updated(testNow.Add(-9*day).UTC().Add(7*time.Hour).Format("20060102150405.000000") + "+420"), check.ControlFail, "9 days", map[string]float64{"age_s": 9 * 86400}},
		{"as Vietnamese people write dates", "m02", nil, updated("22/11/2026 7:00:00 SA"), check.NotSupported, "another form", nil},
		{"a number", "m02", nil, updated(int32(3)), check.NotSupported, "", nil},
		{"from the registry", "m02", nil, changes(noDefender, brought(hours(30))), check.OK, "1 days", map[string]float64{"age_s": 30 * 3600}},
		{"from the registry, too old", "m02", nil, changes(noDefender, brought(hours(240))), check.ControlFail, "", nil},
		{"the registry has another type", "m02", nil, changes(noDefender, brought("22/11/2026")), check.NotSupported, "", nil},
		{"the registry has too few bytes", "m02", nil, changes(noDefender, brought([]byte{1, 2, 3})), check.NotSupported, "", nil},
		{"the registry has too many bytes", "m02", nil, changes(noDefender, brought(append(hours(1), 0))), check.NotSupported, "", nil},
		{"another product is off", "m02", nil, products(262144), check.OK, "0 days", nil},
		{"no answer, none in the registry", "m02", nil, noDefender, check.NotSupported, "MSFT_MpComputerStatus", nil},
		{"may not ask, none in the registry", "m02", nil, says("MSFT_MpComputerStatus", errDenied), check.NoPermission, "", nil},
		{"another product says too old", "m02", nil, products(266256), check.ControlFail, "itself", nil},
		{"another product says young", "m02", nil, products(266240), check.NotSupported, "Bkav", nil},
		{"another product on a server", "m02", nil, runs("ekrn"), check.NotSupported, "ekrn", nil},
	})
}

// TestStationPeople reads accounts as NetUserEnum and NetUserModalsGet tell of them.
func TestStationPeople(t *testing.T) {
	person := func(u user) func(*station, export) {
		return func(s *station, _ export) {
			s.users = func(context.Context) ([]user, error) { return []user{u}, nil }
		}
	}
	admin := func(m member) func(*station, export) {
		return func(s *station, _ export) { s.admins = func() ([]member, error) { return []member{m}, nil } }
	}
	ago := func(d time.Duration) uint32 { return uint32(testNow.Add(-d).Unix()) }
	runReaders(t, []readerTest{
		{"used", "m11", nil, nil, check.OK, "all 1", map[string]float64{"accounts_count": 1, "idle_accounts_count": 0}},
		{"not used", "m11", nil, person(user{flags: 0x201, lastLogOn: ago(50 * day), passwordAge: 400 * 86400, expires: neverExpires}), check.ControlFail, "1 of 1", map[string]float64{"idle_accounts_count": 1, "age_s": 50 * 86400}},
		{"never used, made long ago", "m11", nil, person(user{flags: 0x201, passwordAge: 400 * 86400, expires: neverExpires}), check.ControlFail, "", nil},
		{"never used, just made", "m11", nil, person(user{flags: 0x201, passwordAge: 3600, expires: neverExpires}), check.OK, "", nil},
		{"not used, expired", "m11", nil, person(user{flags: 0x201, expires: ago(day)}), check.OK, "all 0", nil},
		{"not used, expires later", "m11", nil, person(user{flags: 0x201, lastLogOn: ago(50 * day), passwordAge: 400 * 86400, expires: ago(-day)}), check.ControlFail, "", nil},
		{"not used, switched off", "m11", nil, person(user{flags: 0x203, expires: neverExpires}), check.OK, "", nil},
		{"a machine's account", "m11", nil, person(user{flags: 0x1000, expires: neverExpires}), check.OK, "all 0", nil},
		{"denied", "m11", nil, func(s *station, _ export) { s.users = func(context.Context) ([]user, error) { return nil, errDenied } }, check.NoPermission, "", nil},
		{"no reader", "m11", nil, func(s *station, _ export) { s.users = nil }, check.NotSupported, "", nil},

		{"long and young", "m12", nil, nil, check.OK, "14 letters", map[string]float64{"password_length_count": 14, "empty_passwords_count": 0, "age_s": 30 * 86400}},
		{"short", "m12", nil, func(s *station, _ export) { s.letters = func() (int, error) { return 0, nil } }, check.ControlFail, "0 letters", nil},
		{"old", "m12", nil, admin(member{local: true, user: user{flags: 0x201, passwordAge: 70 * 86400, expires: neverExpires}}), check.ControlPartial, "70 days", nil},
		{"never changed", "m12", nil, admin(member{local: true, user: user{flags: 0x201, passwordAge: 56 * 365 * 86400, expires: neverExpires}}), check.ControlPartial, "20440 days", nil},
		{"none needed", "m12", nil, admin(member{local: true, user: user{flags: 0x221, expires: neverExpires}}), check.ControlFail, "need no password", map[string]float64{"empty_passwords_count": 1}},
		{"none needed, switched off", "m12", nil, admin(member{disabled: true, local: true, user: user{flags: 0x223}}), check.OK, "", nil},
		{"a group of the domain", "m12", nil, admin(member{}), check.NotSupported, "domain", nil},
		{"rules denied", "m12", nil, func(s *station, _ export) { s.letters = func() (int, error) { return 0, errDenied } }, check.NoPermission, "", nil},
		{"administrators denied", "m12", nil, func(s *station, _ export) { s.admins = func() ([]member, error) { return nil, errDenied } }, check.NoPermission, "", nil},
	})
}

// TestStationDisks reads BitLocker, the health of disks, the UPS and the record of starts.
func TestStationDisks(t *testing.T) {
	volume := func(status any) func(*station, export) {
		return says("Win32_EncryptableVolume", []row{{"DriveLetter": "c:", "ProtectionStatus": status}})
	}
	health := func(status any) func(*station, export) {
		return says("MSFT_PhysicalDisk", []row{{"HealthStatus": status}})
	}
	drives := func(status any) func(*station, export) {
		return changes(says("MSFT_PhysicalDisk", error(fs.ErrNotExist)), says("Win32_DiskDrive", []row{{"Status": status}}))
	}
	boots := func(records ...string) func(*station, export) {
		return func(s *station, _ export) { s.events = bootLog(records...) }
	}
	fed := func(p power) func(*station, export) {
		return func(s *station, _ export) { s.supply = func() (power, error) { return p, nil } }
	}
	required := check.Options{"required": true}
	runReaders(t, []readerTest{
		{"protected", "m15", required, nil, check.OK, "", map[string]float64{"encrypted_code": 1}},
		{"open", "m15", required, volume(int32(0)), check.ControlFail, "", map[string]float64{"encrypted_code": 0}},
		{"open, which may be", "m15", nil, volume(int32(0)), check.ControlPartial, "", nil},
		{"not known", "m15", required, volume(int32(2)), check.NotSupported, "", nil},
		{"another type", "m15", required, volume("1?"), check.NotSupported, "", nil},
		{"another drive alone", "m15", required, says("Win32_EncryptableVolume", []row{{"DriveLetter": "E:", "ProtectionStatus": int32(1)}}), check.NotSupported, "", nil},
		{"denied", "m15", required, says("Win32_EncryptableVolume", errDenied), check.NoPermission, "BitLocker", nil},
		{"no BitLocker", "m15", required, says("Win32_EncryptableVolume", error(fs.ErrNotExist)), check.NotSupported, "", nil},

		{"all well", "m26", nil, nil, check.OK, "1 disks call themselves healthy, 2 ends", map[string]float64{"disks_faulty_count": 0, "ups_count": 0, "power_cuts_count": 0, "crashes_count": 0}},
		{"a disk that fails", "m26", nil, health(int32(1)), check.ControlFail, "1 of 1 disks", map[string]float64{"disks_faulty_count": 1}},
		{"health of another type", "m26", nil, health("Tốt"), check.NotSupported, "MSFT_PhysicalDisk", nil},
		{"drivers say well", "m26", nil, drives("OK"), check.OK, "", nil},
		{"drivers say failing", "m26", nil, drives("Pred Fail"), check.ControlFail, "", nil},
		{"drivers say nothing", "m26", nil, drives(nil), check.NotSupported, "", nil},
		{"power cut", "m26", nil, boots(abrupt("2026-11-22T01:02:09Z", "0"), started("2026-11-22T01:02:03Z"), started("2026-11-21T01:00:00Z")), check.ControlPartial, "1 ends without a shutdown", map[string]float64{"power_cuts_count": 1, "crashes_count": 0}},
		{"crash", "m26", nil, boots(abrupt("2026-11-22T01:02:09Z", "159"), started("2026-11-22T01:02:03Z")), check.ControlPartial, "1 crashes", map[string]float64{"power_cuts_count": 0, "crashes_count": 1}},
		{"a cut whose start is gone", "m26", nil, boots(abrupt("2026-11-22T01:02:09Z", "0")), check.ControlPartial, "", map[string]float64{"power_cuts_count": 1}},
		{"a cut long ago", "m26", nil, boots(started("2026-11-22T01:02:03Z"), abrupt("2026-06-22T01:02:09Z", "0"), started("2026-06-22T01:02:03Z")), check.OK, "", map[string]float64{"power_cuts_count": 0}},
		{"no starts", "m26", nil, boots(), check.NotSupported, "no start", nil},
		{"no event", "m26", nil, boots("<Event/>"), check.NotSupported, "System log", nil},
		{"a local date", "m26", nil, boots(started("22/11/2026 7:02:03 SA")), check.NotSupported, "", nil},
		{"log denied", "m26", nil, func(s *station, _ export) {
			s.events = func(context.Context, string, string, bool, int) ([]string, error) { return nil, errDenied }
		}, check.NoPermission, "", nil},
		{"UPS at the line", "m26", nil, fed(power{battery: true, shortTerm: true, line: 1, percent: 100}), check.OK, "", map[string]float64{"ups_count": 1, "on_battery_code": 0}},
		{"UPS feeds", "m26", nil, fed(power{battery: true, shortTerm: true, line: 0, percent: 80}), check.ControlPartial, "UPS", map[string]float64{"on_battery_code": 1}},
		{"UPS nearly empty", "m26", nil, fed(power{battery: true, shortTerm: true, line: 0, percent: 10}), check.ControlFail, "nearly empty", nil},
		{"a laptop on its battery", "m26", nil, fed(power{battery: true, line: 0, percent: 10}), check.OK, "", map[string]float64{"ups_count": 0}},
	})
}

// TestStationLogs reads the ends of the Security log.
func TestStationLogs(t *testing.T) {
	log := func(oldest, newest time.Duration) func(*station, export) {
		return func(s *station, _ export) { s.events = securityRecords(testNow.Add(-oldest), testNow.Add(-newest)) }
	}
	answer := func(list []string, err error) func(*station, export) {
		return func(s *station, _ export) {
			s.events = func(context.Context, string, string, bool, int) ([]string, error) { return list, err }
		}
	}
	const service = `system\currentcontrolset\services\eventlog`
	runReaders(t, []readerTest{
		{"long", "m17", nil, log(40*day, time.Hour), check.OK, "40 days", map[string]float64{"log_reach_s": 40 * 86400}},
		{"short", "m17", nil, log(3*day, time.Hour), check.ControlPartial, "3 days", nil},
		{"silent", "m17", nil, log(40*day, 3*day), check.ControlFail, "nothing has been written", nil},
		{"empty", "m17", nil, answer(nil, nil), check.ControlFail, "no log", nil},
		{"service stopped", "m17", nil, changes(log(40*day, time.Hour), runs("wscsvc")), check.ControlFail, "no log", nil},
		{"service off", "m17", nil, changes(log(40*day, time.Hour), func(_ *station, e export) { e[service] = map[string]any{"start": uint64(4)} }), check.ControlFail, "no log", nil},
		{"start of another type", "m17", nil, func(_ *station, e export) { e[service] = map[string]any{"start": "2"} }, check.NotSupported, "", nil},
		{"denied", "m17", nil, answer(nil, errDenied), check.NoPermission, "Event Log Readers", nil},
		{"no event", "m17", nil, answer([]string{"<Event><System><EventID>1</EventID></System></Event>"}, nil), check.NotSupported, "", nil},
		{"no reader", "m17", nil, func(s *station, _ export) { s.events = nil }, check.NotSupported, "", nil},
	})
}

// TestStationTrust reads stores of roots as the registry keeps them, and proxies.
func TestStationTrust(t *testing.T) {
	const (
		roots    = `software\microsoft\systemcertificates\root\certificates\ff`
		list     = `software\microsoft\systemcertificates\authroot\autoupdate`
		internet = `software\microsoft\windows\currentversion\internet settings`
	)
	set := func(key, name string, v any) func(*station, export) {
		return func(_ *station, e export) {
			if e[key] == nil {
				e[key] = map[string]any{}
			}
			e[key][name] = v
		}
	}
	person := func(h hive) func(*station, export) {
		return func(s *station, _ export) { s.hives = func() ([]hive, error) { return []hive{h}, nil } }
	}
	winHTTP := func(flags uint32, text string) []byte {
		b := binary.LittleEndian.AppendUint32([]byte{0x18, 0, 0, 0, 0, 0, 0, 0}, flags)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
		return append(append(b, text...), 0, 0, 0, 0)
	}
	none := func(_ *station, e export) { delete(e, list) }
	added := set(roots, "blob", stored("added"))
	runReaders(t, []readerTest{
		{"the system's own", "m22", nil, nil, check.OK, "", map[string]float64{"added_roots_count": 0, "proxies_count": 0}},
		{"added", "m22", nil, added, check.ControlFail, "1 root certificates were added", map[string]float64{"added_roots_count": 1, "unexpected_roots_count": 1}},
		{"added and allowed", "m22", check.Options{"allowed_roots": []string{sha256Of("added")}}, added, check.OK, "", map[string]float64{"added_roots_count": 1, "unexpected_roots_count": 0}},
		{"added by policy", "m22", nil, set(`software\policies\microsoft\systemcertificates\root\certificates\ff`, "blob", stored("added")), check.ControlFail, "", nil},
		{"added by the domain", "m22", nil, set(`software\microsoft\enterprisecertificates\root\certificates\ff`, "blob", stored("added")), check.ControlFail, "", nil},
		{"added by a person", "m22", nil, person(export{roots: {"blob": stored("added")}}), check.ControlFail, "", nil},
		{"among those of the programme", "m22", nil, set(`software\microsoft\systemcertificates\authroot\certificates\ff`, "blob", stored("added")), check.ControlFail, "", nil},
		{"its key calls itself another one", "m22", nil, set(`software\microsoft\systemcertificates\root\certificates\`+strings.ToLower(sha1Of("of Windows")), "blob", stored("added")), check.ControlFail, "", nil},
		{"no list, nothing to doubt", "m22", nil, changes(none, func(_ *station, e export) {
			delete(e, `software\microsoft\systemcertificates\authroot\certificates\a2`)
		}), check.OK, "", nil},
		{"no list", "m22", nil, none, check.NotSupported, "its list of roots is not here", nil},
		{"no list, allowed", "m22", check.Options{"allowed_roots": []string{sha256Of("of the programme")}}, none, check.OK, "", nil},
		{"no list", "m22", nil, changes(none, set(internet, "autoconfigurl", "http://wpad/x.pac")), check.ControlFail, "1 proxies", nil},
		{"a list cut off", "m22", nil, set(list, "encodedctl", rootList("of the programme")[:90]), check.NotSupported, "list of roots", nil},
		{"a list of another type", "m22", nil, set(list, "encodedctl", "MIIC"), check.NotSupported, "", nil},
		{"a certificate cut off", "m22", nil, set(roots, "blob", stored("added")[:40]), check.ControlFail, "cannot be read as such", nil},
		{"a certificate of another type", "m22", nil, set(roots, "blob", "x"), check.NotSupported, "", nil},
		{"WinHTTP direct", "m22", nil, set(internet+`\connections`, "winhttpsettings", winHTTP(1, "")), check.OK, "", nil},
		{"WinHTTP", "m22", nil, set(internet+`\connections`, "winhttpsettings", winHTTP(3, "10.20.0.1:8080")), check.ControlFail, "1 proxies", map[string]float64{"proxies_count": 1}},
		{"WinHTTP direct, an old proxy left", "m22", nil, set(internet+`\connections`, "winhttpsettings", winHTTP(1, "10.20.0.1:8080")), check.OK, "", map[string]float64{"proxies_count": 0}},
		{"WinHTTP cut off", "m22", nil, set(internet+`\connections`, "winhttpsettings", winHTTP(3, "10.20.0.1:8080")[:20]), check.NotSupported, "WinHTTP", nil},
		{"proxy that is off", "m22", nil, changes(set(internet, "proxyserver", "10.20.0.1:8080"), set(internet, "proxyenable", uint64(0))), check.OK, "", nil},
		{"proxy", "m22", nil, changes(set(internet, "proxyserver", "http=a.vn:80;https=b.vn:443"), set(internet, "proxyenable", uint64(1))), check.ControlFail, "2 proxies", nil},
		{"proxy of another type", "m22", nil, set(internet, "proxyenable", "1"), check.NotSupported, "ProxyEnable", nil},
		{"proxy allowed", "m22", check.Options{"allowed_proxies": []string{"proxy.tinh.vn"}}, changes(set(internet, "proxyserver", "PROXY.tinh.vn:8080"), set(internet, "proxyenable", uint64(1))), check.OK, "", nil},
		{"a person's proxy", "m22", nil, person(export{internet: {"proxyenable": uint64(1), "proxyserver": "10.9.9.9:1"}}), check.ControlFail, "1 proxies", nil},
		{"a person's script", "m22", nil, person(export{internet: {"autoconfigurl": "http://wpad.local/proxy.pac"}}), check.ControlFail, "1 proxies", nil},
		{"a person's settings denied", "m22", nil, person(closedKeys{}), check.NoPermission, "who is signed in", map[string]float64{"added_roots_count": 0}},
		{"denied, but a root was added", "m22", nil, changes(person(closedKeys{}), added), check.ControlFail, "", nil},
		{"environment", "m22", nil, set(`system\currentcontrolset\control\session manager\environment`, "https_proxy", "http://10.1.1.1:3128"), check.ControlFail, "1 proxies", nil},
		{"denied", "m22", nil, func(s *station, _ export) { s.registry = closedKeys{} }, check.NoPermission, "", nil},
	})
}

// TestHungWMI lets WMI hang: the run ends in its time, the next one says that the first still waits, and neither is a pass.
func TestHungWMI(t *testing.T) {
	for _, id := range []string{antiMalware, signatureAge, diskEncryption, upkeepPower} {
		t.Run(id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := wellKept(t)
				release := make(chan struct{})
				s.objects = func(context.Context, string, string, ...string) ([]row, error) {
					<-release
					return nil, fs.ErrNotExist
				}
				run, err := newControl(check.Options{"id": id}, s.system(), func() time.Time { return testNow })
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range []string{"in time", "earlier run"} {
					begin := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					r := run(ctx)
					cancel()
					if r.Reason != check.NotSupported || !strings.Contains(r.Detail, want) || time.Since(begin) > 10*time.Second {
						t.Errorf("%s %q after %s, want %q", r.Reason, r.Detail, time.Since(begin), want)
					}
				}
				close(release)
				synctest.Wait()
			})
		})
	}
}

func TestRowTime(t *testing.T) {
	want := time.Date(2026, 11, 22, 1, 15, 0, 123456000, time.UTC)
	for text, ok := range map[string]bool{
		"20261122011500.123456+000": true, "20261122081500.123456+420": true, "20261121201500.123456-300": true,
		"20261122081500.123456+42": false, "20261122081500.******+420": false, "20261322081500.123456+420": false,
		"22/11/2026 8:15:00 SA": false, "": false, "20261122081500.123456+999": false, "2026112208150０.123456+42": false,
	} {
		at, err := row{"t": text}.time("t")
		if ok != (err == nil) || ok && !at.Equal(want) {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
}

func FuzzReadEvent(f *testing.F) {
	f.Add(started("2026-11-22T01:02:03.1234567Z"))
	f.Add(abrupt("2026-11-22T01:02:09Z", "0x9f"))
	f.Add("<System><EventID Qualifiers='0'>1</EventID><TimeCreated SystemTime=></System>")
	f.Fuzz(func(t *testing.T, xml string) {
		if e, ok := readEvent(xml); ok && (e.id == 0 || e.at.IsZero() && !strings.Contains(xml, "0001-01-01")) {
			t.Errorf("%q: %+v", xml, e)
		}
	})
}

func FuzzRootList(f *testing.F) {
	f.Add(rootList("a", "b"))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, err := parseRootList(b)
		if err == nil && len(ids) == 0 || len(ids) > maxListed {
			t.Errorf("%d, %v", len(ids), err)
		}
	})
}

func FuzzCertificateOf(f *testing.F) {
	f.Add(stored("x"))
	f.Add([]byte("\x20\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if der := certificateOf(b); len(der) > len(b) {
			t.Error(len(der))
		}
		_ = new(trust).connection(b)
	})
}
