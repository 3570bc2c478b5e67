package control

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// backups looks for the files of a pattern of absolute paths. data is where the data are; "" for the system's disk.
func (t *tree) backups(ctx context.Context, pattern, data string) (backups, error) {
	b, newest, err := gatherBackups(ctx, t.root, strings.TrimPrefix(path.Clean(pattern), "/"))
	if err != nil {
		return backups{}, fmt.Errorf("the folder of the backup: %w", bare(err))
	}
	if b.count == 0 {
		return b, nil
	}
	if data == "" {
		data = "/"
	}
	there, err := t.device("/" + newest)
	if err != nil {
		return backups{}, fmt.Errorf("the file system of the backup: %w", bare(err))
	}
	here, err := t.device(data)
	if err != nil {
		return backups{}, fmt.Errorf("the file system of data_path: %w", bare(err))
	}
	b.same = there == here
	return b, nil
}
