package durable

import "unsafe"

// Long writes go straight to the disk (O_DIRECT), past the page cache: a file of
// many gigabytes then neither fills the memory nor leaves its sync to wait for it.
// The system wants such writes aligned, in the file and in memory.

const (
	directAlign = 4096
	directLeast = 256 << 10 // bytes; shorter writes gain nothing
)

// AlignedBuffer gives an empty buffer of capacity n whose full contents may be
// written directly, for n a multiple of 4096.
func AlignedBuffer(n int) []byte {
	b := make([]byte, n+directAlign)
	off := int(-uintptr(unsafe.Pointer(&b[0])) & (directAlign - 1))
	return b[off : off : off+n]
}

// mayBeDirect says whether the next write is aligned and long enough.
func (w *File) mayBeDirect(p []byte) bool {
	return len(p) >= directLeast && len(p)%directAlign == 0 && w.written%directAlign == 0 &&
		uintptr(unsafe.Pointer(&p[0]))%directAlign == 0
}
