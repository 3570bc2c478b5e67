// Package journal keeps what an agent recorded: a [Record] a line, sealed into a [Batch] of signed header and
// compressed body, each batch naming the one before.
//
// [Seal] and [Open] make and read batches, on both ends of the wire. [Journal] is the agent's store on disk.
package journal
