package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite finds a page that it cannot make sense of, and nothing else of what goes bad on a disk. So every row has a
// checksum over its table, its key and all that it says, which is looked at whenever the row is read; and what a row
// stands above says how many there are: the cursor of machines, a machine of its journals and of when it was two, the
// state of a journal of its plans and of its packed runs in each month.

// ErrDamaged is wrapped by the errors that say that the file is not as it was written. What it holds can be made again.
var ErrDamaged = errors.New("the file has gone bad on the disk: stop the collector and run `collector rebuild`, which makes it again from the evidence")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrDamaged)
}

// explained adds what to do to an error by which SQLite, or what reads its rows, says that the file is damaged.
func explained(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		if strings.Contains(err.Error(), "sql: Scan error") { // of another type than schema.sql has it; it has no type itself
			return fmt.Errorf("%w: %w", err, ErrDamaged)
		}
		return err
	}
	switch e.Code() & 0xff { // the rest says more exactly which
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_ERROR: // the header, or tables that are not as schema.sql has them
		return fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	return err
}

// sumOf returns the CRC-32C of a row: its table, and its fields in the order of schema.sql. A field is an int64, a string,
// bytes, or nil for NULL.
func sumOf(table string, fields ...any) int64 {
	b := appendString(make([]byte, 0, 256), table)
	for _, f := range fields {
		switch f := f.(type) {
		case int64:
			b = binary.AppendVarint(append(b, 'i'), f)
		case string:
			b = appendString(append(b, 's'), f)
		case []byte:
			b = append(binary.AppendUvarint(append(b, 'b'), uint64(len(f))), f...)
		case nil:
			b = append(b, 'n')
		default:
			panic(fmt.Sprintf("a field of type %T", f)) // a mistake of this package
		}
	}
	return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}
