// Package audit takes a period out of a collector, and proves it elsewhere with nothing but the program.
//
// [Export] writes one zip with all that an auditor needs offline; [Verify] reads it as hostile input and proves it from
// the bottom: the checkpoint's signature, the tree from its leaves, every blob and body by its hash, every batch by the
// key that the log has of its machine and by the batch before it, every plan by its leaf before its first use; it lists
// every expected slot as a result, in a range or visibly absent, and works the figures out again.
//
// # The zip
//
//	README.vi.txt README.en.txt   for people
//	manifest.json                 version, origin, period, size; a claim that is proved by the rest
//	log.vkey                      the log's verifier key
//	checkpoint                    the signed note
//	tile/entries/N[.p/W]          leaves, each behind its length as u16 (C2SP tlog-tiles), 256 a file
//	tile/0/N[.p/W]                their hashes (C2SP tlog-tiles)
//	blobs/N[.p/W]                 the blobs of the same leaves, each behind its length as u32; 0 for a leaf without
//	bodies/N[.p/W]                the batch bodies likewise; 0 also for one that is not needed for the period
//
// Numbers are big endian. All leaves and blobs of the log are there. Bodies are those that may speak of the period, and
// those that hold a journal's begin, end or plan: without these, what follows them could not be judged.
//
// # What it proves
//
// With the log's key alone the export is proven consistent: nothing in it can be changed, added or left out afterwards
// without the collector's key. It does not protect against who holds that key and rewrites everything, beyond what the
// machines themselves signed: each batch names the one before it, and the log that its machine had seen.
package audit
