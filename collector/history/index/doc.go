// Package index keeps the runs of package history in an SQLite file and answers for figures from them.
//
// The file can be thrown away at any time and built again from the evidence: closed it is one file to delete (with its
// -wal and -shm, if a kill left them). [Index.Add] takes batches in the order of the log, and writes what they say together
// with the cursor in one transaction, so that a batch counts exactly once however often it is given.
//
// Each row has a checksum, and what stands above rows knows how many there are. What has gone bad on the disk is an error
// when it is read, which wraps [ErrDamaged], and no figure.
//
// What one journal says of one check in one month of Vietnam (+07:00) is one packed value. The run that is still going on
// stands with its journal instead: as long as nothing changes, a batch costs one small row, and a month of an unchanging
// check no packed value at all. The journals of a machine are kept apart and laid over one another when they are
// read (see [history.Settle]); so it does not matter in which order machines, or journals of one machine, come in.
package index
