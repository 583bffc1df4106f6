package durable

import "golang.org/x/sys/unix"

// setDirect turns direct writing on or off. A file system that has none is
// written to as usual.
func (w *File) setDirect(on bool) {
	if on == w.direct {
		return
	}
	flags, err := unix.FcntlInt(w.file.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return
	}
	flags &^= unix.O_DIRECT
	if on {
		flags |= unix.O_DIRECT
	}
	if _, err := unix.FcntlInt(w.file.Fd(), unix.F_SETFL, flags); err == nil {
		w.direct = on
	}
}
