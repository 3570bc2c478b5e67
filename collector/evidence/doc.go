// Package evidence keeps everything that was signed: an append-only archive of leaves and of the bytes they speak of,
// and the transparency log over the leaves. It knows bytes, not plans: what a leaf means, and whether what it says is
// so, is for others.
//
// # Leaves
//
// A leaf is at most 4 KiB of text: a line with its type, lines of key and value sorted by key, and at last the SHA-256
// and size of its blob, if it has one. Its hash in the RFC 6962 tree is over exactly these bytes. The receipt of a
// batch reads
//
//	egovmon-leaf/1 batch
//	body 0d1ad9fc9e7b68a2d3c2b1fcb0f0e3a4c1b2d7f5ea1b6b0ad22bd0b1f2a4c6e8 1201
//	journal 5f1c0a9be2d34c7781a0c55e9d7f2b14
//	machine pc-an-thanh-01
//	received 2026-11-23T01:00:07.412Z
//	seq 42
//	blob 9b74c9897bac770ffc029102a200c5de3f1c8ab4a1d7a9b3f6a9dd2d2d4b5c6a 688
//
// The blob of a batch is its header note, byte for byte as the agent signed it: it is kept for ever, like the leaf.
// The line body names a second piece of bytes, the compressed results. They stand in a frame of their own, under no
// hash but their own, so that they can be removed when their time is up (25 months) and leaf, header, tree and every
// proof stay as they are.
//
// # Files
//
// The folder of a log holds
//
//	segment-00000000   the archive itself, in files of 64 MiB; the only truth
//	checkpoint         the last signed checkpoint, replaced after each group
//	hashes             32 bytes a hash, at its tlog.StoredHashIndex; made again from the segments when it is missing
//	index              8 bytes a leaf, u32 segment and u32 offset; made again likewise
//	lock               held by the process that writes
//
// A segment is a row of frames; numbers are big endian:
//
//	kind u8 | length u32 | CRC-32C u32 over kind, length and payload | payload
//
//	segment = header group*           H  egovmon-segment/2, origin, number, first leaf, root before it; a line each
//	group   = entry+ commit           C  tree size u64, root 32 bytes
//	entry   = leaf [blob] [body]      L, B, D  their bytes
//	                            X  in the place of B or D: it was removed, see remove.go
//	        | packed [body]           P  leaf and blob of a receipt, compressed; see pack.go
//
// A group is what one or several calls of Append brought; it counts only with its commit. So the segments alone prove
// the tree after each group, and a tail that was torn by a power cut is told from bytes that went bad: what the
// checkpoint covers was acknowledged and is never cut off.
//
// # Order
//
// Append returns once the segment is synced, the tree is written, and the checkpoint that covers both is signed,
// synced and in its place, in this order. The hashes and the index are synced before a new segment is begun; those of
// the last segment are computed anew by every Open. See durable.go for what this relies on.
package evidence
