package profile

import (
	"net/netip"
	"slices"
	"time"

	"egovmon/agent/plan"
)

// A Record is what every entry of a profile carries.
type Record struct {
	ID       string // immutable; codes and names of the authorities are dated attributes, never ids
	Valid    Span   // the days on which the entry holds
	Source   string // where the fact was found, in words
	Verified bool   // an operator has confirmed it; until then it is shown as "chưa xác minh"

	File string // the file that holds it
	Line int    // and its line there
}

// A Name is what people read, in both languages of the product.
type Name struct {
	VI, EN string
}

// A Dated is an attribute that held on certain days.
type Dated struct {
	Value    string
	Name     Name   // of a name, instead of Value
	Unit     string // of a parameter: the only unit that the value is for; "" is every unit
	Valid    Span
	Source   string
	Verified bool
	Line     int
}

// A Unit is a body of the state, or a part of one: province, district, commune, office, counter.
type Unit struct {
	Record
	Kind    string  // tinh, thanh_pho, huyen, xa, phuong, thi_tran, phong_ban, quay …; the list is open
	Names   []Dated // never two at once
	Codes   []Dated // of the authorities; never two at once
	Parents []Dated // ids of units; never two at once
}

// A Succession says that a unit, or a part of it, went on as another one.
type Succession struct {
	Record          // Valid.From is the day of the change
	From, To string // ids of units
	Kind     string // merge, split, rename or transfer
	Note     string
}

// An Operator runs systems: a ministry, the province, a company.
type Operator struct {
	Record
	Name Name
}

// An Office answers for services towards the citizens and gets the alerts about them.
type Office struct {
	Record
	Name       Name
	Unit       string    // whose office it is; "" when every unit of UnitKinds has one
	UnitKinds  []string  // kinds of units that each have this office
	AnswersFor string    // in words
	Contacts   []Contact // dated; empty until an operator fills them in
}

// A Contact is one way to reach an office or a person on duty.
type Contact struct {
	Kind     string // phone, mail, zalo, sms, webhook
	Value    string // "" is chưa cấu hình
	Valid    Span
	Source   string
	Verified bool
	Line     int
}

// A Duty is one step of the duty roster: who is told, in which order.
type Duty struct {
	Record
	Office   string
	Title    Name
	Step     int           // from 1; a higher step is told when the lower ones did not acknowledge
	After    time.Duration // how long the steps before have time to acknowledge
	Hours    string        // when the step is on duty: hours of the calendars, or "24x7"
	Contacts []Contact
}

// A Severity says how much is lost when a service is down.
type Severity string

// The severities.
const (
	Critical Severity = "critical"
	Major    Severity = "major"
	Minor    Severity = "minor"
	Info     Severity = "info"
)

// Hours24x7 names the calendar in which every second counts. ServiceHours names the one of the service's own hours.
const (
	Hours24x7    = "24x7"
	ServiceHours = "service_hours"
)

// A Service is something officials or citizens work with, whoever runs it.
type Service struct {
	Record
	Name Name
	// Available says what people mean by "it works"; the zero Name says nothing.
	Available Name
	Operator  string
	Owner     string   // id of an office
	Season    []Season // the parts of a year in which it matters; none is the whole year
	Hours     string   // hours of the calendars, or Hours24x7 (the default)
	Severity  Severity
	Depends   []string // ids of services
	Quorum    Quorum   // zero where the profile says nothing
	Watch     Watch
	Checks    []ServiceCheck
}

// A Season is a part of every year, both ends inclusive; it may run over the year's end.
type Season struct {
	FromMonth time.Month
	FromDay   int
	ToMonth   time.Month
	ToDay     int
}

// Covers reports whether the day lies in the season of any year.
func (s Season) Covers(d Date) bool {
	c := d.civil()
	day := int(c.Month())*100 + c.Day()
	from, to := int(s.FromMonth)*100+s.FromDay, int(s.ToMonth)*100+s.ToDay
	if from <= to {
		return from <= day && day <= to
	}
	return day >= from || day <= to
}

// A Quorum is how many units on how many carriers must vote before a service has a state (rule votes/1).
type Quorum struct {
	Units, Carriers int
}

// A Watch says which machines check a service. Exactly one of the three is set.
type Watch struct {
	OnePerUnit bool   // the probe of each unit
	District   bool   // one machine of the district itself
	Role       string // every machine that has this role or duty; RoleAny is every machine with an agent
}

// RoleAny in `watch: role:any` stands for every machine.
const RoleAny = "any"

// String returns the watch as services.yaml writes it.
func (w Watch) String() string {
	switch {
	case w.OnePerUnit:
		return "one_per_unit"
	case w.District:
		return "district"
	}
	return "role:" + w.Role
}

// A ServiceCheck is one check of a service, before the parameters of a machine are filled in.
type ServiceCheck struct {
	ID      string // within the service; the plan's id is SERVICE.ID
	Kind    string
	Every   time.Duration
	Timeout time.Duration // 0 leaves it to the plan's default
	Confirm int           // -1 leaves it to the plan's default
	Path    plan.Path
	Decides bool // its result is the machine's vote; the others explain
	With    []Option
	Line    int
}

// An Option is one option of a check. Value is a string, int64, float64, bool, []any of those, or []Option (a mapping);
// strings may hold ${NAME}.
type Option struct {
	Name  string
	Value any
	Line  int
}

// The roles of a machine.
const (
	RoleProbe       = "probe"       // always on; the unit's point of measurement
	RoleWorkstation = "workstation" // on while its user works
	RoleLaptop      = "laptop"      // a workstation that is carried about
	RoleServer      = "server"
	RoleCollector   = "collector" // the machine that the collector itself runs on

	// DutyWitness is the duty of the machines that cosign the log's checkpoints; at most MostWitnesses at a time.
	DutyWitness   = "witness"
	MostWitnesses = 7
)

// DefaultLevel is the level (cấp độ) of the system that a machine belongs to where the profile says nothing: an agency's own
// network is of level 2 (NĐ 85/2016 Đ8, NĐ 331/2026 Đ12.3).
const DefaultLevel = 2

// Roles lists the roles of a machine.
func Roles() []string {
	return []string{RoleProbe, RoleWorkstation, RoleLaptop, RoleServer, RoleCollector}
}

// OnAtWork reports whether a machine is expected to be on in office hours only.
func (m *Machine) OnAtWork() bool { return m.Role == RoleWorkstation || m.Role == RoleLaptop }

// A Machine is one computer that carries an agent, for as long as it stood in a unit.
type Machine struct {
	Record
	Unit   string
	Role   string
	Duties []string      // what else it is used for; `watch: role:NAME` matches these too
	Level  int           // of the system that it belongs to, 1 to 5; see DefaultLevel
	Lines  []MachineLine // none means every line of its unit
}

// A MachineLine is one line that a machine is plugged into.
type MachineLine struct {
	Line   string     // id in lines.yaml
	Source netip.Addr // the machine's own address on it; the zero Addr leaves it to the system's routes
}

// A Line is one connection of a unit to the world.
type Line struct {
	Record
	Unit     string
	Path     plan.Path
	Carrier  string        // "" is unknown
	Anchors  []string      // neutral targets that prove the line; at least three once configured; may hold ${NAME}
	DownMbps float64       // 0 is unknown
	UpMbps   float64       // 0 is unknown
	Seal     time.Duration // how long agents on it gather results; 0 leaves it to the plan's default
}

// A Target is the objective of a service's availability.
type Target struct {
	Record
	Service   string
	Objective float64 // share of the calendar's seconds, e.g. 0.995
	Calendar  string  // Hours24x7 or ServiceHours
	Basis     string  // "mục tiêu nội bộ" unless a document is cited
}

// A LawSet is a frame of law and the catalogue of controls that it asks for.
type LawSet struct {
	Record
	Name     Name
	Controls []Control
	Duties   []LawDuty
}

// A LawDuty is a report that the law asks for of incidents of a class, and by when.
type LawDuty struct {
	Class  string        // as a person classifies incidents: security, serious, at_once, personal_data
	Report string        // which report: first_notice, first_report, detail, data_notice, closing_report
	Closed bool          // the time runs from the incident's end, not from its finding
	Within time.Duration // 0 is at once
	Basis  string        // the place in the law
}

// A NoticeRule says how long before a planned suspension people must have been told of it.
type NoticeRule struct {
	Record
	WorkingDays int    // between the day of the announcement and the first day of the suspension
	Basis       string // the place in the law
}

// A Control is one safeguard of a law set, measured by an agent or attested by a document.
type Control struct {
	Record
	Kind      string // measured or attested
	Name      Name
	Layers    []int    // of the "4 lớp", 1 to 4
	Roles     []string // of machines that a measured control is asked of; none for all
	FromLevel int      // of a measured control: the lowest level of a system that it is asked of; 0 for all
	Threshold string
	Limits    []Limit // the threshold's numbers, for programs
	Cycle     string  // of an attested control: how often it is due
	Basis     string  // the law's place, or "đề xuất nội bộ"
}

// AsksOf reports whether a measured control is asked of machines of a role and of systems of a level. A machine of which
// neither is known ("" and 0) is asked.
func (c *Control) AsksOf(role string, level int) bool {
	return (len(c.Roles) == 0 || role == "" || slices.Contains(c.Roles, role)) && (level == 0 || level >= c.FromLevel)
}

// A Limit is one number of a control's threshold, with its unit in the name, e.g. fail_days.
type Limit struct {
	Name  string
	Value float64
}

// A Parameter is a fact that differs from place to place, and that may not be known yet.
type Parameter struct {
	Record
	Note    string  // what belongs here, for the person who fills it in
	Builtin bool    // the program fills it in
	Values  []Dated // none is chưa cấu hình
}

// A Year is the calendar of one year.
type Year struct {
	Year     int
	Week     []time.Weekday // the days on which offices work
	Missing  []string       // what is still to be entered, in words
	Hours    []Hours
	Days     []Day
	File     string
	Line     int
	Fallback bool // no file for this year: made from the nearest one, with fixed-date days only
}

// Hours are the hours that a named schedule has on certain days of one year.
type Hours struct {
	Record
	Name     string // e.g. hanh-chinh
	Unit     string // the only unit that they are for; "" is every unit
	Weekdays []time.Weekday
	Times    []Clock // in order, never overlapping
}

// A Clock is a stretch of a day in minutes after midnight; To may be 24 h.
type Clock struct {
	From, To int
}

// The kinds of special days.
const (
	DayHoliday    = "le"            // a public holiday
	DayTet        = "tet"           // Tết Nguyên đán
	DaySubstitute = "nghi_bu"       // off, because a holiday fell on a weekend
	DaySwapOff    = "hoan_doi_nghi" // off, worked at another time
	DayMakeUp     = "lam_bu"        // a weekend day that is worked
)

// A Day is one special day of a year.
type Day struct {
	Record
	Date   Date
	Name   string // Vietnamese, as the decision has it
	Kind   string
	Yearly bool         // the law fixes the date for every year; such days stand in for a missing year
	As     time.Weekday // of a make-up day: whose hours apply; default Monday
}

// A File is one file of a profile as it was read, for the record of what was in force.
type File struct {
	Name string
	Data []byte
}

// A Profile is a district. It is made by [Load] and never edited.
type Profile struct {
	District   string // id of the root unit; the D of certificate and note names
	Units      []Unit
	Succeeds   []Succession
	Services   []Service // in the order of the file
	Machines   []Machine
	Lines      []Line
	Operators  []Operator
	Offices    []Office
	Roster     []Duty
	Targets    []Target
	LawSets    []LawSet
	Notices    []NoticeRule
	Parameters []Parameter
	Years      []Year // by year
	Files      []File // by name

	linesOf map[string][]int // unit → indexes in Lines
}
