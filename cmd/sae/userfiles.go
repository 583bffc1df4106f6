package main

import (
	"errors"
	"fmt"
	"io"

	"sae/api/remote"
)

// The files of who runs a verb, wherever he is: verbs reach them by c.files alone.

// writeFile writes a file whole or not at all, and never over another.
func (c *cli) writeFile(path string, data []byte) error {
	return c.writeNew(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// writeNew writes a new file by f; when f fails, nothing is left behind.
func (c *cli) writeNew(path string, f func(io.Writer) error) error {
	w, err := c.files.Create(path)
	if err != nil {
		return err
	}
	if err := f(w); err != nil {
		w.Drop() // the error of f says more
		return err
	}
	return w.Keep()
}

// writeFolder writes a new folder by f; when f fails, nothing is left behind.
func (c *cli) writeFolder(dir string, f func(remote.NewFolder) error) error {
	d, err := c.files.CreateFolder(dir)
	if err != nil {
		return err
	}
	if err := f(d); err != nil {
		return errors.Join(err, d.Drop())
	}
	return d.Keep()
}

// folderFiles are files in a folder, each durable when the next begins.
type folderFiles struct {
	remote.NewFolder
	open io.Closer
}

func (d *folderFiles) File(name string) (io.Writer, error) {
	if err := d.end(); err != nil {
		return nil, err
	}
	f, err := d.Create(name)
	if err != nil {
		return nil, err
	}
	d.open = f
	return f, nil
}

func (d *folderFiles) end() error {
	if d.open == nil {
		return nil
	}
	f := d.open
	d.open = nil
	return f.Close()
}

// inFolder writes one file in a folder by f.
func inFolder(d remote.NewFolder, name string, f func(io.Writer) error) error {
	w, err := d.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f(w), w.Close())
}

// readBounded reads a file that must not be longer than most bytes.
func (c *cli) readBounded(name string, most int64) ([]byte, error) {
	f, err := c.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: more than %d bytes", name, most)
	}
	return b, err
}
