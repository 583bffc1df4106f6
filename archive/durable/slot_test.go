package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

func newSlot(t testing.TB, f FS, value string) (*Slot, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slot")
	if err := CreateSlot(FS{}, path, 0o600, []byte(value)); err != nil {
		t.Fatal(err)
	}
	return openSlot(t, f, path), path
}

func openSlot(t testing.TB, f FS, path string) *Slot {
	t.Helper()
	s, err := OpenSlot(f, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// holds fails the test unless the slot has this value and these damaged places.
func holds(t testing.TB, s *Slot, value string, gen uint64, damaged ...int) {
	t.Helper()
	v, g, d, err := s.Load()
	if err != nil || string(v) != value || g != gen || !slices.Equal(d, damaged) {
		t.Fatalf("slot holds %q of generation %d, damaged %v, %v; want %q of %d, %v", v, g, d, err, value, gen, damaged)
	}
}

func swap(t testing.TB, s *Slot, old uint64, value string) {
	t.Helper()
	if gen, err := s.CompareAndSwap(old, []byte(value)); err != nil || gen != old+1 {
		t.Fatalf("swap of generation %d gave %d, %v", old, gen, err)
	}
}

func TestSlot(t *testing.T) {
	s, path := newSlot(t, FS{}, "one")
	holds(t, s, "one", 1)
	swap(t, s, 1, "two")
	holds(t, s, "two", 2)
	swap(t, s, 2, strings.Repeat("3", MaxSlot))
	swap(t, s, 3, "")
	holds(t, openSlot(t, FS{}, path), "", 4)

	for _, old := range []uint64{0, 3, 5} {
		if gen, err := s.CompareAndSwap(old, []byte("x")); !errors.Is(err, ErrStale) || gen != 4 {
			t.Errorf("swap of generation %d gave %d, %v", old, gen, err)
		}
	}
	if _, err := s.CompareAndSwap(4, make([]byte, MaxSlot+1)); err == nil {
		t.Error("a value too long was taken")
	}
	holds(t, s, "", 4)
	if fi, err := os.Stat(path); err != nil || fi.Size() != 2*placeSize || fi.Mode() != 0o600 {
		t.Errorf("file %v, %v", fi, err)
	}
}

// The bytes of a slot never change: those of testdata/slot.bin were written by
// the first version.
func TestSlotGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/slot.bin")
	if err != nil {
		t.Fatal(err)
	}
	s, path := newSlot(t, FS{}, "the first value")
	swap(t, s, 1, "the second value")
	if got := read(t, path); got != string(want) {
		t.Error("other bytes than testdata/slot.bin")
	}
	copied := filepath.Join(t.TempDir(), "slot")
	if err := os.WriteFile(copied, want, 0o600); err != nil {
		t.Fatal(err)
	}
	holds(t, openSlot(t, FS{}, copied), "the second value", 2)
}

func TestCreateSlotRefusesExisting(t *testing.T) {
	_, path := newSlot(t, FS{}, "the root key")
	if err := CreateSlot(FS{}, path, 0o600, []byte("another")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	holds(t, openSlot(t, FS{}, path), "the root key", 1)
	if err := CreateSlot(FS{}, path+"2", 0o600, make([]byte, MaxSlot+1)); err == nil || read(t, path+"2") != "absent" {
		t.Errorf("a value too long: %v", err)
	}
}

func TestCreateSlotFaults(t *testing.T) {
	eachFault(t, 4, func(t *testing.T, r *recorder) { // create, write, sync, syncdir
		path := filepath.Join(t.TempDir(), "slot")
		if err := CreateSlot(r.fs(), path, 0o600, []byte("v")); !errors.Is(err, r.err) {
			t.Fatalf("error %v, want %v", err, r.err)
		}
		if read(t, path) != "absent" {
			t.Error("a slot that failed was left")
		}
		r = &recorder{at: r.at, off: true, err: r.err}
		if err := CreateSlot(r.fs(), path, 0o600, []byte("v")); err == nil {
			t.Fatal("no error")
		}
		if read(t, path) == "absent" {
			return
		}
		s := openSlot(t, FS{}, path)
		if v, _, _, err := s.Load(); !errors.Is(err, ErrSlot) && string(v) != "v" {
			t.Errorf("a power cut left %q, %v", v, err)
		}
	})
}

// TestSlotTornWrite cuts a write short after every byte, over an older place and
// over an empty one, and fills the rest of the place with what was there before,
// with zeros, or with the file's end: the value before is there, or the new one.
func TestSlotTornWrite(t *testing.T) {
	for swaps := range 2 {
		s, path := newSlot(t, FS{}, "value 1")
		gen := uint64(1)
		for range swaps {
			swap(t, s, gen, fmt.Sprintf("value %d", gen+1))
			gen++
		}
		before := []byte(read(t, path))
		swap(t, s, gen, "the new value")
		after := []byte(read(t, path))
		at := int(gen%2) * placeSize // the place that was written
		if !bytes.Equal(before[placeSize-at:2*placeSize-at], after[placeSize-at:2*placeSize-at]) {
			t.Fatal("the newest place was written")
		}
		for n := range placeSize + 1 {
			torn := append(append(bytes.Clone(before[:at]), after[at:at+n]...), before[at+n:]...)
			want, wantGen := fmt.Sprintf("value %d", gen), gen
			if bytes.Equal(torn, after) {
				want, wantGen = "the new value", gen+1
			}
			var damaged []int
			if !bytes.Equal(torn, after) && !bytes.Equal(torn, before) {
				damaged = []int{at / placeSize}
			}
			put(t, path, torn)
			holds(t, s, want, wantGen, damaged...)

			clear(torn[at+n : at+placeSize])
			put(t, path, torn)
			if v, g, _, err := s.Load(); err != nil || string(v) != want || g != wantGen {
				t.Fatalf("%d bytes, then zeros: %q, %d, %v", n, v, g, err)
			}
			if at > 0 && n < placeSize {
				put(t, path, torn[:at+n])
				holds(t, s, fmt.Sprintf("value %d", gen), gen, 1)
			}
		}
	}
}

// put replaces the bytes of a file in place.
func put(t testing.TB, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Truncate(int64(len(b)))); err != nil {
		t.Fatal(err)
	}
}

// TestSlotFlips flips every byte of both places: the other place's value is given
// and the damage is told; the next swap repairs it.
func TestSlotFlips(t *testing.T) {
	s, path := newSlot(t, FS{}, "value 1")
	swap(t, s, 1, "value 2")
	whole := []byte(read(t, path))
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		put(t, path, b)
		if i < placeSize {
			holds(t, s, "value 2", 2, 0)
			continue
		}
		holds(t, s, "value 1", 1, 1)
		if i%97 == 0 {
			swap(t, s, 1, "value 2 again")
			holds(t, s, "value 2 again", 2)
		}
	}
	for n := range len(whole) {
		put(t, path, whole[:n])
		if n < placeSize {
			if _, _, d, err := s.Load(); !errors.Is(err, ErrSlot) || !reflect.DeepEqual(d, []int{0, 1}) {
				t.Fatalf("file of %d bytes: damaged %v, %v", n, d, err)
			}
			if _, err := s.CompareAndSwap(0, nil); !errors.Is(err, ErrSlot) {
				t.Fatalf("file of %d bytes: swap %v", n, err)
			}
			continue
		}
		holds(t, s, "value 1", 1, 1)
	}
}

func TestSlotFaults(t *testing.T) {
	for at, wantGen := range map[int]uint64{1: 2, 2: 3} { // write, sync
		r := &recorder{err: syscall.EIO}
		s, path := newSlot(t, r.fs(), "value 1")
		swap(t, s, 1, "value 2")
		r.steps, r.at = nil, at
		if gen, err := s.CompareAndSwap(2, []byte("value 3")); !errors.Is(err, syscall.EIO) || gen != 2 {
			t.Errorf("step %d: %d, %v", at, gen, err)
		}
		s = openSlot(t, FS{}, path)
		v, gen, _, err := s.Load()
		if err != nil || gen != wantGen || string(v) != fmt.Sprintf("value %d", wantGen) {
			t.Errorf("step %d: %q, %d, %v", at, v, gen, err)
		}
		swap(t, s, gen, "after")
	}
}

func TestWipeOther(t *testing.T) {
	s, path := newSlot(t, FS{}, "the old root key")
	swap(t, s, 1, "the new root key")
	if err := s.WipeOther(); err != nil {
		t.Fatal(err)
	}
	holds(t, s, "the new root key", 2)
	if strings.Contains(read(t, path), "the old root key") {
		t.Error("the old value is still there")
	}
	swap(t, s, 2, "a newer one")
	holds(t, s, "a newer one", 3)

	put(t, path, make([]byte, 2*placeSize))
	if err := s.WipeOther(); !errors.Is(err, ErrSlot) {
		t.Errorf("wiping an empty slot: %v", err)
	}
	if _, _, d, err := s.Load(); !errors.Is(err, ErrSlot) || d != nil {
		t.Errorf("an empty slot: damaged %v, %v", d, err)
	}
}

func TestSlotReadOnly(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("as root the permission does not hold; only reading is tested")
	}
	s, path := newSlot(t, FS{}, "v")
	s.Close()
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	s = openSlot(t, FS{}, path)
	holds(t, s, "v", 1)
	if _, err := s.CompareAndSwap(1, []byte("w")); err == nil && os.Getuid() != 0 {
		t.Error("a slot that may only be read was written")
	}
	if _, err := OpenSlot(FS{}, path+"x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening nothing: %v", err)
	}
}

// TestSlotModel holds a slot against a variable, over swaps that are right, stale
// or torn, wipings and openings.
func TestSlotModel(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		r := &recorder{err: syscall.EIO}
		value, gen := "first", uint64(1)
		if err := CreateSlot(FS{}, path, 0o600, []byte(value)); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSlot(r.fs(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"swap": func(t *rapid.T) {
				v := rapid.StringN(0, 20, MaxSlot).Draw(t, "value")
				if _, err := s.CompareAndSwap(gen, []byte(v)); err != nil {
					t.Fatal(err)
				}
				value, gen = v, gen+1
			},
			"stale": func(t *rapid.T) {
				old := rapid.Uint64().Filter(func(g uint64) bool { return g != gen }).Draw(t, "old")
				if _, err := s.CompareAndSwap(old, []byte("stale")); !errors.Is(err, ErrStale) {
					t.Fatal(err)
				}
			},
			"torn": func(t *rapid.T) {
				r.steps, r.at = nil, 1
				if _, err := s.CompareAndSwap(gen, []byte("torn")); !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				r.at = 0
			},
			"wipe": func(t *rapid.T) {
				if err := s.WipeOther(); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": func(t *rapid.T) {
				s.Close()
				if s, err = OpenSlot(r.fs(), path); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				v, g, _, err := s.Load()
				if err != nil || string(v) != value || g != gen {
					t.Fatalf("slot holds %q of %d, %v; want %q of %d", v, g, err, value, gen)
				}
			},
		})
	})
}

func FuzzPlace(f *testing.F) {
	b, err := place(7, []byte("value"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(make([]byte, placeSize))
	f.Add([]byte(slotMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(b, make([]byte, max(0, placeSize-len(b)))...)[:placeSize]
		value, gen, err := parsePlace(b)
		if err != nil || gen == 0 {
			return
		}
		again, err := place(gen, value)
		if err != nil || !bytes.Equal(again[:headSize+len(value)], b[:headSize+len(value)]) {
			t.Errorf("generation %d, %q: %v", gen, value, err)
		}
	})
}

// TestSlotAlone: a value is alone until another is written, and again when the one before is
// wiped.
func TestSlotAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slot")
	if err := CreateSlot(FS{}, path, 0o600, []byte("one")); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSlot(FS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	alone := func(want bool) {
		t.Helper()
		if got, err := s.Alone(); err != nil || got != want {
			t.Errorf("alone %v, %v, want %v", got, err, want)
		}
	}
	alone(true)
	_, gen, _, err := s.Load()
	if err == nil {
		_, err = s.CompareAndSwap(gen, []byte("two"))
	}
	if err != nil {
		t.Fatal(err)
	}
	alone(false)
	if err := s.WipeOther(); err != nil {
		t.Fatal(err)
	}
	alone(true)
}
