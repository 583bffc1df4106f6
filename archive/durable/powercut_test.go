package durable

import (
	"os"
	"path/filepath"
	"testing"
)

// disk is what a file system may have kept of one folder at a power cut, by the
// rules that POSIX gives and no better: bytes written since a file's last sync may
// be there or not, and names changed since the folder's last sync may be too, each
// by itself.
type disk struct {
	synced  map[string]string // inode, by the name it was created under -> its bytes at its sync
	old     map[string]string // name -> inode, when the folder was synced last
	changes []change          // since then
}

type change struct {
	name, inode string // inode "" when the name was removed
}

// states gives every content that a name may have after a power cut; "torn" is any
// bytes that were never synced.
func (d *disk) states(name string) map[string]bool {
	inodes := []string{d.old[name]}
	for _, c := range d.changes {
		if c.name == name {
			inodes = append(inodes, c.inode)
		}
	}
	out := map[string]bool{}
	for _, inode := range inodes {
		switch bytes, ok := d.synced[inode]; {
		case inode == "":
			out["absent"] = true
		case ok:
			out[bytes] = true
		default:
			out["torn"] = true
		}
	}
	return out
}

// follow gives the FS that tells d of every step. It is told before the step, so a
// cut at a step finds d without it.
func (d *disk) follow(t *testing.T, before func(step int)) FS {
	step := 0
	return FS{Fault: func(op Op, path string) error {
		step++
		before(step)
		base := filepath.Base(path)
		switch op {
		case OpCreate:
			d.changes = append(d.changes, change{base, base})
		case OpWrite:
			delete(d.synced, base)
		case OpSync:
			d.synced[base] = read(t, path)
		case OpRename: // WriteFile's: the inode keeps the name of its creation here
			d.changes = append(d.changes, change{base, base + ".new"}, change{base + ".new", ""})
		case OpSyncDir:
			for _, c := range d.changes {
				d.old[c.name] = c.inode
			}
			d.changes = nil
		}
		return nil
	}}
}

// TestPowerCut cuts the power before each step of WriteFile, and after the last:
// whatever of the unsynced reached the disk, the path has the old bytes or the new
// ones, and after WriteFile the new ones only.
func TestPowerCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &disk{synced: map[string]string{"f": "old"}, old: map[string]string{"f": "f"}}
	err := d.follow(t, func(step int) {
		for s := range d.states("f") {
			if s != "old" && s != "new" {
				t.Errorf("a cut before step %d may leave it %s", step, s)
			}
		}
	}).WriteFile(path, []byte("new"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.states("f"); len(got) != 1 || !got["new"] {
		t.Errorf("a cut afterwards may leave it %v", got)
	}
}

// TestPowerCutCreate does the same with Create, Write, Sync.
func TestPowerCutCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	d := &disk{synced: map[string]string{}, old: map[string]string{}}
	f, err := d.follow(t, func(int) {}).Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := d.states("f"); !got["absent"] || !got["torn"] {
		t.Errorf("the disk of this test keeps too much: %v", got)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := d.states("f"); len(got) != 1 || !got["new"] {
		t.Errorf("a cut after Sync may leave it %v", got)
	}
}
