package blobs_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"sae/archive/blobs"
	"sae/archive/blobs/blobstest"
	"sae/archive/durable"
)

func TestDir(t *testing.T) {
	root, m := filepath.Join(t.TempDir(), "offer"), blobs.Mark{Format: 1, Archive: "a", Offer: "first"}
	if err := blobs.CreateDir(durable.FS{}, root, m); err != nil {
		t.Fatal(err)
	}
	s, err := blobs.OpenDir(durable.FS{}, root, m)
	if err != nil {
		t.Fatal(err)
	}
	blobstest.Run(t, s, 0, 1, 100_000, 5<<20)
}

func TestMarks(t *testing.T) {
	root, m := filepath.Join(t.TempDir(), "offer"), blobs.Mark{Format: 1, Archive: "a", Offer: "first"}
	if _, err := blobs.OpenDir(durable.FS{}, root, m); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := blobs.CreateDir(durable.FS{}, root, m); err != nil {
		t.Fatal(err)
	}
	if err := blobs.CreateDir(durable.FS{}, root, m); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	for _, other := range []blobs.Mark{{Format: 1, Archive: "b", Offer: "first"}, {Format: 1, Archive: "a", Offer: "second"}} {
		if _, err := blobs.OpenDir(durable.FS{}, root, other); err == nil || !strings.Contains(err.Error(), `offer "first" of archive "a"`) {
			t.Error(err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(blobs.Name("s"+strings.Repeat("a", 26), 7))
	f.Fuzz(func(t *testing.T, name string) {
		session, n, err := blobs.Split(name)
		if err == nil && blobs.Name(session, n) != name {
			t.Errorf("%q is %q and %d", name, session, n)
		}
	})
}
