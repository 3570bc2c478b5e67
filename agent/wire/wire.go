// Package wire holds the messages and limits of the agent API, `/agent/v1/` over TLS 1.3, which an agent and a
// collector of neighbouring versions must read alike.
package wire

import "time"

// Paths of the agent API.
const (
	PathEnrol      = "/agent/v1/enrol"
	PathRenew      = "/agent/v1/renew"
	PathPlan       = "/agent/v1/plan"
	PathBatches    = "/agent/v1/batches"
	PathCheckpoint = "/agent/v1/checkpoint"
	PathGoodbye    = "/agent/v1/goodbye"
	PathTime       = "/agent/v1/time"
	PathDictionary = "/agent/v1/dictionary/" // and its SHA-256 in lower-case hex
)

// Media types and headers.
const (
	TypeBatches = "application/vnd.egovmon.batches" // repeated uvarint(len) header uvarint(len) body

	// GET plan answers the signed plan, as text/plain with its ETag in quotes, and proves that it is in the log:
	HeaderLeaf       = "Egovmon-Leaf"       // index of its leaf
	HeaderLeafText   = "Egovmon-Leaf-Text"  // the leaf, in base64: its blob is the plan's text, its machine the caller
	HeaderCheckpoint = "Egovmon-Checkpoint" // a checkpoint that holds the leaf, in base64
	HeaderProof      = "Egovmon-Proof"      // the leaf's inclusion proof in the tree of that checkpoint (EncodeProof)

	// POST batches and GET checkpoint answer which dictionary the machine is to compress its next batches with: its
	// SHA-256, or a word below. A collector that says nothing reads no batches with a dictionary.
	HeaderDictionary = "Egovmon-Dictionary"
	DictionaryKeep   = "keep" // the one it uses, or would use
	DictionaryNone   = "none" // none: the one it used is not in the log

	// POST batches?from=A and GET checkpoint?from=A answer, in HeaderProof, the consistency proof from the tree of A
	// leaves to the tree of the answer's checkpoint; GET checkpoint?from=A&size=B the one from A to B leaves.
	ParamFrom = "from"
	ParamSize = "size"
)

// Limits of one request.
const (
	MaxBatches    = 64       // batches
	MaxRequest    = 8 << 20  // bytes
	MaxHeader     = 4 << 10  // bytes of one header note
	MaxBody       = 1 << 20  // stored bytes of one body
	MaxRaw        = 16 << 20 // bytes of one body after decompression
	MaxPlan       = 512 << 10
	MaxDictionary = 32 << 10 // bytes of a dictionary
	MaxAnswer     = 64 << 10 // bytes of any JSON answer
	MaxOffset     = 60 * time.Second
	TimeoutOfCall = 60 * time.Second
)

// A Head names a batch: the last one archived, or one that is wanted.
type Head struct {
	Journal string `json:"journal"`
	Seq     uint64 `json:"seq"`
}

// An Answer is what the collector says to POST batches with 200, 409 and 429, and to GET checkpoint.
type Answer struct {
	Head       Head   `json:"head"`            // the last batch archived of this machine, also after a partial success
	Checkpoint string `json:"checkpoint"`      // signed note
	Want       *Head  `json:"want"`            // the agent is to send again from here
	Plan       string `json:"plan"`            // ETag of the plan that is in force for this machine
	Time       string `json:"time"`            // RFC 3339, milliseconds
	Error      string `json:"error,omitempty"` // what was refused, where, and what to do
	// Cosign is a checkpoint that this machine is named to cosign and has not yet, a signed note; most often "".
	Cosign string `json:"cosign,omitempty"`
}
