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
// that holds it, however that ends. The file stays; an exclusive holder's name in
// it is for people, and says nothing about whether the lock is taken.
type Lock struct{ file *os.File }

// HeldError says that another process holds a lock.
type HeldError struct{ Holder string }

func (e *HeldError) Error() string { return fmt.Sprintf("held by %s", e.Holder) }

// LockExclusive takes the lock for one holder, and writes who it is into the
// file. When it is taken, the error is a *HeldError that says by whom. It does not
// wait.
func LockExclusive(path, command string) (*Lock, error) {
	l, err := lock(path, unix.LOCK_EX, "processes that read it")
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

// LockShared takes the lock beside others who share it. When one holds it for
// itself, the error is a *HeldError. It does not wait.
func LockShared(path string) (*Lock, error) {
	l, err := lock(path, unix.LOCK_SH, "a process that has just begun")
	if err != nil {
		return nil, err
	}
	// An exclusive holder that died left its name, which is nobody's now.
	if err := l.write(""); err != nil {
		l.Unlock()
		return nil, err
	}
	return l, nil
}

// lock takes the lock; nameless is who holds it when the file does not say.
func lock(path string, how int, nameless string) (*Lock, error) {
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
		return nil, &HeldError{Holder: holder(f, nameless)}
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}

func holder(f *os.File, nameless string) string {
	b, _ := io.ReadAll(io.LimitReader(f, 1024))
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return nameless
	}
	return line
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
	err := l.file.Truncate(0) // a shared holder's is empty already
	return errors.Join(err, l.file.Close())
}
