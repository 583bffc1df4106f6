package archive

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"sae/archive/vault"
)

// spoolOf is a spool of frames, and where each ends.
func spoolOf(h *spoolHeader, key [32]byte, frames ...string) (b []byte, ends []int) {
	b = h.marshal()
	for i, plain := range frames {
		f := frame{number: uint64(i), sealed: vault.Seal(key, h.associated(uint64(i)), []byte(plain))}
		b = append(b, f.marshal()...)
		ends = append(ends, len(b))
	}
	return b, ends
}

func framesOf(t testing.TB, b []byte, h *spoolHeader, key [32]byte) (out []string, s spoolScan) {
	t.Helper()
	s, err := scanSpool(bytes.NewReader(b), int64(len(b)), h, key, func(number uint64, plain []byte) error {
		out = append(out, fmt.Sprint(number, " ", string(plain)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, s
}

// TestSpoolCutAndChanged cuts a spool at every byte, and changes every byte of it. Cut, it has the
// frames that are whole, and is not damaged; changed, it lacks the one frame, and says so, unless it
// was the last, which a crash may have torn.
func TestSpoolCutAndChanged(t *testing.T) {
	h, key := &spoolHeader{id: [16]byte{1, 2}, sequence: 3, key: 7, begun: time.Unix(1, 0).UTC()}, newKey()
	b, ends := spoolOf(h, key, "one", "two, longer", "three", "four")
	all, s := framesOf(t, b, h, key)
	if len(all) != 4 || s.damaged != nil || s.end != int64(len(b)) || s.next != 4 {
		t.Fatal(all, s)
	}
	if again, err := parseSpoolHeader(b[:spoolHead]); err != nil || again != *h {
		t.Error(again, err)
	}
	for n := int(spoolHead); n < len(b); n++ {
		whole := 0
		for whole < 4 && ends[whole] <= n {
			whole++
		}
		if got, s := framesOf(t, b[:n], h, key); !slices.Equal(got, all[:whole]) || s.damaged != nil || s.next != uint64(whole) {
			t.Errorf("cut at %d: %v %+v", n, got, s)
		}
	}
	for i := int(spoolHead); i < len(b); i++ {
		changed := bytes.Clone(b)
		changed[i] ^= 1
		which := 0
		for ends[which] <= i {
			which++
		}
		got, s := framesOf(t, changed, h, key)
		if want := slices.Delete(slices.Clone(all), which, which+1); !slices.Equal(got, want) || (s.damaged != nil) != (which < 3) {
			t.Errorf("byte %d of frame %d: %v %+v", i, which, got, s)
		}
	}
	without := slices.Concat(b[:ends[0]], b[ends[1]:])
	if got, s := framesOf(t, without, h, key); len(got) != 3 || s.damaged == nil {
		t.Errorf("without one: %v %+v", got, s)
	}
	twice := slices.Concat(b, b[ends[2]:])
	if got, s := framesOf(t, twice, h, key); len(got) != 4 || s.damaged == nil {
		t.Errorf("one twice: %v %+v", got, s)
	}
}

func FuzzSpool(f *testing.F) {
	h, key := &spoolHeader{id: [16]byte{1}}, [32]byte{2}
	b, ends := spoolOf(h, key, "one", "two", "three")
	f.Add(b)
	f.Add(b[:ends[1]+5])
	f.Add(slices.Concat(b[:ends[0]], []byte{0, 0, 0, 9}, b[ends[1]:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseSpoolHeader(b[:min(len(b), int(spoolHead))])
		got, s := framesOf(t, b, h, key)
		if s.end > max(spoolHead, int64(len(b))) || s.next < uint64(len(got)) || slices.Contains(got, "") {
			t.Errorf("%v %+v of %d bytes", got, s, len(b))
		}
		if _, err := lastFrame(bytes.NewReader(b), int64(len(b))); err == nil && len(b) < int(spoolHead) {
			t.Error("a frame before the first")
		}
	})
}
