// Package restore takes a collector's state out into one file while it runs, and puts it back: all of it verified before
// anything is replaced. It also knows the district's recovery key, which is kept offline: it opens the keys in a backup,
// and signs the succession of a log that was set back behind what agents have seen.
//
// # The file
//
// A backup is a tar (POSIX ustar or pax) of plain files, in this order:
//
//	egovmon-backup.json     version, district, log, its size and root, when it was made, how the keys are kept
//	evidence/segment-…      the archive, cut behind what the checkpoint covers
//	evidence/checkpoint     as the log signed it
//	keys/ca.pem …           what is public
//	keys.sealed             the private keys (CA, plan, log), which only the recovery key opens; or
//	keys/ca.key …           the same in clear, if the operator has asked for that
//	enrol/ alerts/ …        what is neither in the log nor derived from it
//	profile/…               the district's profile as it was in use
//	SHA256SUMS              a line for each file before, in the form of sha256sum
//
// What is derived from the log (history, series, hashes, caches) is not in it, and neither is the built-in agent: both
// are made anew.
//
// # The recovery key
//
// It is an Ed25519 note key named egovmon/D/recovery. From its seed an X25519 key is derived (HKDF-SHA-256, no salt, info
// "egovmon-recovery-seal/1"), to whose public half private keys are sealed (RFC 9180, base mode, DHKEM(X25519,
// HKDF-SHA256), HKDF-SHA256, AES-256-GCM, info "egovmon-backup-keys/1"). So one piece of paper is all that a district must
// keep, and backups need no secret.
package restore
