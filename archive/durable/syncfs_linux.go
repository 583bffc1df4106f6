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
