// Package filing is what all documents that people enter have in common, whatever they are about: how a form's texts, days
// and times are checked, how a document becomes a leaf of the log and is read back from it, how it is taken back by a later
// leaf, and how the leaves of a log are followed. What a document means is left to the packages that keep one sort of
// them: suspend, confirm, attest.
package filing
