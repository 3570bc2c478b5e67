// Package pcsc says which readers of smart cards the system has, and which of them hold a card, without cgo. A signing
// token on USB is a reader with a card that cannot be taken out.
package pcsc

// A Reader is a reader of smart cards.
type Reader struct {
	Name string
	Card bool // whether a card is in it
}

const (
	noReaders  = 0x8010002e // SCARD_E_NO_READERS_AVAILABLE
	noService  = 0x8010001d // SCARD_E_NO_SERVICE: nobody runs the resource manager
	present    = 0x20       // SCARD_STATE_PRESENT
	maxReaders = 64
	maxNames   = 64 << 10 // of the list of names, in characters
)
