//go:build !linux

package durable

import (
	"io/fs"
	"os"
	"path/filepath"
)

// syncWrites makes every write to a file wait until the disk has its bytes.
const syncWrites = os.O_SYNC

// syncFS syncs every file and folder below path: there is no syncfs here.
func syncFS(path string) error {
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}
