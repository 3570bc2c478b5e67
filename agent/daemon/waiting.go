package daemon

import (
	"path/filepath"

	"egovmon/agent/journal"
)

// Waiting tells what in a data folder waits to be sent. It only reads, and may run beside the agent.
func Waiting(dir string) (journal.Backlog, error) { return journal.Waiting(JournalDir(dir)) }

// JournalDir is where in a data folder the journal lies.
func JournalDir(dir string) string { return filepath.Join(dir, journalDir) }
