package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncWrites makes every write to a file wait until the disk has its bytes.
const syncWrites = unix.O_DSYNC

// syncFS syncs the whole file system: since Linux 5.8 it also reports the write
// errors of any file of it (syncfs(2)).
func syncFS(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		if err := unix.Syncfs(int(d.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// beginWriting starts the writing of a range to the disk and does not wait. An
// error shows at the sync, which does wait.
func beginWriting(f *os.File, off, n int64) {
	unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
