// Package intake is the agents' API of a collector: it says who may send, whether what came is the signer's next batch,
// and answers plans and checkpoints.
//
// A batch goes three steps. The [Server] checks signature, chain, size and quota, and refuses only what is not the
// machine's next batch (see heads.go). The evidence store archives it byte for byte; then it is acknowledged. The
// [Fold] reads what was archived, in the order of the log, and judges what it says: the [Accepted] values that history,
// series and verdict are fed with. The fold is a function of the log alone, so that what is computed anew from the
// evidence is what was computed live.
package intake
