// Package bagit writes bags: folders of files with their checksums, in the form of RFC
// 8493 (BagIt 1.0), which archives of all kinds read.
package bagit

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Place is a folder that a bag is written into. Names have slashes.
type Place interface {
	// Create begins a file, in folders that are made; closing it makes it durable.
	Create(name string) (io.WriteCloser, error)
	Mkdir(name string) error
}

// Bag is a bag that is being written.
type Bag struct {
	place   Place
	payload map[string]*bytes.Buffer // manifest lines, by algorithm
	files   int64
	bytes   int64
	open    *file
}

var algorithms = []struct {
	name string
	make func() hash.Hash
}{{"sha256", sha256.New}, {"sha512", sha512.New}}

// Begin begins a bag in a new folder.
func Begin(place Place) *Bag {
	b := &Bag{place: place, payload: map[string]*bytes.Buffer{}}
	for _, a := range algorithms {
		b.payload[a.name] = &bytes.Buffer{}
	}
	return b
}

// file is a payload file that is being written.
type file struct {
	f    io.WriteCloser
	name string
	sums []hash.Hash
	n    int64
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.f.Write(p)
	f.n += int64(n)
	for _, s := range f.sums {
		s.Write(p[:n])
	}
	return n, err
}

// File begins a payload file; name has slashes, and is below the bag's "data". The file
// ends when the next begins, or the bag does.
func (b *Bag) File(name string) (io.Writer, error) {
	if err := b.end(); err != nil {
		return nil, err
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, fmt.Errorf("bag: %q leads out of it", name)
	}
	f, err := b.place.Create(path.Join("data", name))
	if err != nil {
		return nil, err
	}
	b.open = &file{f: f, name: path.Join("data", name)}
	for _, a := range algorithms {
		b.open.sums = append(b.open.sums, a.make())
	}
	return b.open, nil
}

// end completes the file that is open.
func (b *Bag) end() error {
	if b.open == nil {
		return nil
	}
	f := b.open
	b.open = nil
	if err := f.f.Close(); err != nil {
		return err
	}
	for i, a := range algorithms {
		fmt.Fprintf(b.payload[a.name], "%s  %s\n", hex.EncodeToString(f.sums[i].Sum(nil)), escaped(f.name))
	}
	b.files++
	b.bytes += f.n
	return nil
}

// escaped is a path as a manifest writes it (RFC 8493 section 2.1.3).
func escaped(name string) string {
	return strings.NewReplacer("%", "%25", "\n", "%0A", "\r", "%0D").Replace(name)
}

// Field is a line of bag-info.txt.
type Field struct{ Name, Value string }

// Close completes the bag: its manifests and tag files.
func (b *Bag) Close(info ...Field) error {
	if err := b.end(); err != nil {
		return err
	}
	var text strings.Builder
	info = append(info, Field{"Bagging-Date", time.Now().UTC().Format(time.DateOnly)}, Field{"Payload-Oxum", fmt.Sprintf("%d.%d", b.bytes, b.files)})
	for _, f := range info {
		fmt.Fprintf(&text, "%s: %s\n", f.Name, strings.NewReplacer("\n", " ", "\r", " ").Replace(f.Value))
	}
	if b.files == 0 { // RFC 8493 section 2.1.2: the payload folder is there all the same
		if err := b.place.Mkdir("data"); err != nil {
			return err
		}
	}
	tags := []struct {
		name string
		data []byte
	}{{"bagit.txt", []byte("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")}, {"bag-info.txt", []byte(text.String())}}
	for _, a := range algorithms {
		tags = append(tags, struct {
			name string
			data []byte
		}{"manifest-" + a.name + ".txt", b.payload[a.name].Bytes()})
	}
	for _, a := range algorithms {
		var m bytes.Buffer
		for _, t := range tags {
			h := a.make()
			h.Write(t.data)
			fmt.Fprintf(&m, "%s  %s\n", hex.EncodeToString(h.Sum(nil)), t.name)
		}
		if err := b.tag("tagmanifest-"+a.name+".txt", m.Bytes()); err != nil {
			return err
		}
	}
	for _, t := range tags {
		if err := b.tag(t.name, t.data); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bag) tag(name string, data []byte) error {
	f, err := b.place.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
