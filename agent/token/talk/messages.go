package talk

import "time"

const (
	// Version is that of the messages; each side refuses another.
	Version = 1
	// MaxLine is the longest message in bytes, either way.
	MaxLine = 12 << 20
	// MaxDocument is the largest document that is signed, in bytes.
	MaxDocument = 10 << 20
	// MaxRevocation is the most that the revocation data of one signature may have, in bytes.
	MaxRevocation = 4 << 20
	// MaxKeys bounds what is listed of one token, and the tokens of one module.
	MaxKeys = 64
)

// The commands of a [Request].
const (
	List    = "list"    // the slots, tokens and certificates of some modules; asks for no PIN
	Readers = "readers" // the card readers that the system knows
	Sign    = "sign"    // sign a document
)

// The forms of a signature.
const (
	PAdES = "pades" // within a PDF document (ETSI EN 319 142-1)
	CAdES = "cades" // a file beside the document (ETSI EN 319 122-1)
)

// A Request begins a conversation.
type Request struct {
	Version int      `json:"v"`
	Command string   `json:"command"`
	Modules []string `json:"modules,omitempty"` // of list: paths of PKCS#11 modules
	Sign    *Signing `json:"sign,omitempty"`    // of sign
}

// A Signing says what to sign, and with which key.
type Signing struct {
	Form     string    `json:"form"`
	Document string    `json:"document,omitempty"` // path of a file; "" for the document that the program holds
	Hash     string    `json:"hash"`               // sha256, sha384 or sha512
	At       time.Time `json:"at"`                 // the time that the signature claims
	Key      Key       `json:"key"`
	Chain    [][]byte  `json:"chain,omitempty"` // DER: the certificate of the key, where the key's place holds none, and those above it
	Keep     string    `json:"keep,omitempty"`  // path of a file for the outcome; "" to throw it away
}

// A Key is where a private key is: one of the three.
type Key struct {
	PEM      string `json:"pem,omitempty"`
	PKCS12   []byte `json:"pkcs12,omitempty"`
	Password string `json:"password,omitempty"` // of PKCS12
	Module   string `json:"module,omitempty"`   // path of a PKCS#11 module
	Token    string `json:"token,omitempty"`    // label or serial number; "" where there is only one token
	ID       string `json:"id,omitempty"`       // CKA_ID in hexadecimal; "" where there is only one key
}

// A Next is what the agent says in the middle of a signing.
type Next struct {
	Proceed  *Proceed  `json:"proceed,omitempty"`
	Complete *Complete `json:"complete,omitempty"`
}

// A Proceed lets the helper log in to the token and sign.
type Proceed struct {
	PIN string `json:"pin,omitempty"` // "" where the key needs none
}

// A Complete is what makes a signature last: DER each.
type Complete struct {
	Stamp []byte   `json:"stamp"`           // the time-stamp token over the signature
	Certs [][]byte `json:"certs,omitempty"` // of every chain
	OCSPs [][]byte `json:"ocsps,omitempty"` // whole answers
	CRLs  [][]byte `json:"crls,omitempty"`
}

// An Answer is what the helper says. One of its fields is set beside Version and Seconds.
type Answer struct {
	Version int                `json:"v"`
	Seconds map[string]float64 `json:"seconds,omitempty"` // how long the steps up to this answer took
	Error   *Error             `json:"error,omitempty"`
	List    []Module           `json:"list,omitempty"`
	Readers []Reader           `json:"readers,omitempty"`
	Opened  *Opened            `json:"opened,omitempty"`
	Signed  *Signed            `json:"signed,omitempty"`
	Done    *Done              `json:"done,omitempty"`
}

// An Error says why the helper went no further. Reason is one of the closed list of agent/check; Detail holds no secret.
type Error struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
	Tried  bool   `json:"tried,omitempty"` // whether the token was given a PIN
}

// A Module is a PKCS#11 module and what it shows without a PIN.
type Module struct {
	Path   string  `json:"path"`
	Error  string  `json:"error,omitempty"` // why it could not be asked; Tokens are then those found before
	Tokens []Token `json:"tokens,omitempty"`
}

// A Token is a token in a slot.
type Token struct {
	Slot         uint64        `json:"slot"`
	Label        string        `json:"label"`
	Serial       string        `json:"serial"`
	Maker        string        `json:"maker"`
	Model        string        `json:"model"`
	Flags        uint64        `json:"flags"` // CK_TOKEN_INFO.flags
	Certificates []Certificate `json:"certificates,omitempty"`
}

// A Certificate is one that a token shows to everybody.
type Certificate struct {
	ID    string `json:"id"` // CKA_ID in hexadecimal
	Label string `json:"label"`
	DER   []byte `json:"der"`
}

// A Reader is a reader of smart cards, or a token that is one.
type Reader struct {
	Name string `json:"name"`
	Card bool   `json:"card"` // whether a card is in it; false too where the system cannot tell
}

// Opened says that document, key and certificate are at hand, and nothing was signed yet.
type Opened struct {
	Chain    [][]byte `json:"chain"`    // DER, the signer's certificate first
	Document int64    `json:"document"` // bytes
	Login    bool     `json:"login"`    // whether the key asks for a PIN
	Token    string   `json:"token,omitempty"`
	Serial   string   `json:"serial,omitempty"`
	Prior    *Prior   `json:"prior,omitempty"` // nil for a document that was not signed before
}

// A Prior is the newest signature that a document already has, as somebody else's program made it.
type Prior struct {
	CMS         []byte    `json:"cms"`          // at most MaxPrior bytes, in whatever encoding it has
	SigningTime time.Time `json:"signing_time"` // as the document claims it; zero for none that can be read
}

// MaxPrior is the largest signature of somebody else's that is looked at, in bytes.
const MaxPrior = 256 << 10

// Signed holds the signature that is to be stamped.
type Signed struct {
	Signature []byte `json:"signature"`
}

// Done is the outcome as it was read back: from the finished document, not from what it was made of.
type Done struct {
	CMS    []byte `json:"cms"`    // DER
	Digest []byte `json:"digest"` // of what the signature covers, by Signing.Hash
	Bytes  int64  `json:"bytes"`  // of the outcome
	// Whole tells that the signature covers its whole revision of the document but for itself, and that nothing but
	// revocation data follows it.
	Whole bool `json:"whole"`
	// How much revocation data a reader finds in the outcome.
	Certs int `json:"certs"`
	OCSPs int `json:"ocsps"`
	CRLs  int `json:"crls"`
	// SigningTime is the time that the document claims; zero for none.
	SigningTime time.Time `json:"signing_time"`
}
