// Package cosign lets others sign what they have seen of a district's log, so that who holds the log's key cannot write
// its past anew.
//
// A [Gatherer] stands at the collector. Once in a while it takes the log's checkpoint, asks the named machines and the
// witnesses elsewhere for their cosignatures (C2SP tlog-cosignature), and writes the checkpoint with them into the log.
//
// A [Witness] stands elsewhere: at the province, in a neighbouring district, at the inspectorate. It remembers the last
// checkpoint that it signed, signs only what is proven to continue it, and keeps what contradicts it.
package cosign
