package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is a lock between processes on a file (flock): it ends with the process
// that holds it, however that ends.
type Lock struct{ file *os.File }

// LockExclusive takes the lock for one holder, and writes who it is into the
// file. When it is taken, the error is a *HeldError that says by whom.
func LockExclusive(path, command string) (*Lock, error) {
	l, err := lock(path, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	who := fmt.Sprintf("process %d (%s) since %s\n", os.Getpid(), command, time.Now().UTC().Format(time.RFC3339))
	if err := l.write(who); err != nil {
		l.Unlock()
		return nil, err
	}
	return l, nil
}

// LockShared takes the lock beside others who share it.
func LockShared(path string) (*Lock, error) { return lock(path, unix.LOCK_SH) }

func lock(path string, how int) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if err == nil {
		return &Lock{f}, nil
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		b, _ := io.ReadAll(io.LimitReader(f, 1024))
		holder := strings.TrimSpace(string(b))
		if holder == "" {
			holder = "processes that read it"
		}
		return nil, &HeldError{Holder: holder}
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}

func (l *Lock) write(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text), 0)
	return err
}

// Unlock gives the lock up; an exclusive holder's name goes with it.
func (l *Lock) Unlock() error {
	err := l.file.Truncate(0) // a shared holder finds it empty already
	return errors.Join(err, l.file.Close())
}
