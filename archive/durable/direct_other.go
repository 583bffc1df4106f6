//go:build !linux

package durable

// setDirect does nothing: files are written through the page cache here.
func (w *File) setDirect(bool) {}
