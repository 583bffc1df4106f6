package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFS syncs the whole file system: since Linux 5.8 it also reports the write
// errors of any file of it.
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
