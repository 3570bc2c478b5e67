// Package pdf reads as much of a PDF document as signing it takes, and signs it: an incremental update with a signature
// field (ISO 32000-1, sections 7.5.6 and 12.8), and one with a document security store (ETSI EN 319 142-1, section 5.4).
//
// A document is hostile: how deep, how many and how large its parts may be is bounded, nothing is repaired, and what
// cannot be read is an error that says where. Encrypted documents are not signed.
package pdf
