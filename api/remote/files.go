// Package remote lets a verb run at one end of a connection, and its user be at the other: streams and
// files are the user's, wherever the verb runs. Neither end trusts the other.
package remote

import (
	"io"
	"io/fs"
)

// Files are the files of who runs a verb: on this machine (Disk), or at the other end of a connection.
// Names are as the user writes them, and of his working folder when they are relative. A file that Open
// gives and that is a regular one is an io.ReaderAt.
type Files interface {
	fs.ReadDirFS
	fs.StatFS
	fs.ReadLinkFS
	// Base is the name of what a path leads to, of "." too.
	Base(path string) string
	// Readable says why a file cannot be read.
	Readable(path string) error
	// Same reports whether two files are one.
	Same(x, y fs.FileInfo) bool
	// Create begins a file, and CreateFolder a folder, that must not exist.
	Create(path string) (New, error)
	CreateFolder(path string) (NewFolder, error)
}

// New is a file that is being written. It has its name when it is kept, which is when it is durable.
// Dropped, or never kept, it leaves nothing.
type New interface {
	io.Writer
	Keep() error
	Drop() error
}

// NewFolder is a folder that is being written, as New. Names in it have slashes.
type NewFolder interface {
	// Create begins a file in it, in folders that are made; closing makes it durable.
	Create(name string) (io.WriteCloser, error)
	Mkdir(name string) error
	Keep() error
	Drop() error
}
