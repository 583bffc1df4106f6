package vault

import (
	"bufio"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// spread are numbers with none, one, two, three and four levels in common.
var spread = []uint64{0, 1, 255, 256, 257, 65535, 65536, 1<<24 - 1, 1 << 24, MaxKeys - 1}

func TestWrapUnwrap(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	v := New(root)
	mustHold(t, v, s, nil, spread...)
	mustWrap(t, v, s, keys, spread...)
	mustHold(t, v, s, keys, 2, 258, 65537, 1<<25, MaxKeys, 1<<63)
	mustHold(t, New(root), s, keys)
	for id, w := range s.now {
		if len(w) != wrappedSize {
			t.Errorf("%v has %d bytes", id, len(w))
		}
	}

	if err := v.Wrap(s, 255, newKey()); err == nil {
		t.Error("a number was given twice")
	}
	for _, i := range []uint64{MaxKeys, 1 << 63} {
		if err := v.Wrap(s, i, newKey()); err == nil {
			t.Errorf("number %d was taken", i)
		}
	}
	mustHold(t, v, s, keys)
}

func TestWrongRoot(t *testing.T) {
	s, keys := newMemory(), map[uint64][keySize]byte{}
	mustWrap(t, New(newKey()), s, keys, spread...)
	other := New(newKey())
	for i := range keys {
		if got, err := other.Unwrap(s, i); !errors.Is(err, ErrWrongRoot) || got != [keySize]byte{} {
			t.Errorf("key %d: %v", i, err)
		}
	}
	if err := other.Wrap(s, 2, newKey()); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("wrapping: %v", err)
	}
	if _, err := other.Rekey(s, []uint64{1}, newKey()); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("rekeying: %v", err)
	}
}

func isDamage(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrWrongRoot) }

// TestEveryFlip changes every bit of every wrapped key in turn: no key below it
// opens, and those beside it do. A vault that has opened the node above a data key
// need not open higher nodes again; it still gives the right key.
func TestEveryFlip(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	warm := New(root)
	mustWrap(t, warm, s, keys, 0, 1, 256, 65536)
	for id, w := range s.now {
		for bit := range 8 * len(w) {
			w[bit/8] ^= 1 << (bit % 8)
			for i, want := range keys {
				below := i>>(bits*id.level) == id.index
				got, err := New(root).Unwrap(s, i)
				checkFlip(t, id, bit, below, got, want, err)
				got, err = warm.Unwrap(s, i)
				checkFlip(t, id, bit, below && id.level < 2, got, want, err)
			}
			w[bit/8] ^= 1 << (bit % 8)
		}
	}
	mustHold(t, warm, s, keys)
}

func checkFlip(t *testing.T, id nodeID, bit int, refused bool, got, want [keySize]byte, err error) {
	t.Helper()
	if refused && (!isDamage(err) || got != [keySize]byte{}) || !refused && (err != nil || got != want) {
		t.Fatalf("bit %d of %v: refused %v, %v", bit, id, refused, err)
	}
}

// TestBadEntries puts other bytes in the place of a wrapped key.
func TestBadEntries(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	mustWrap(t, New(root), s, keys, 0, 1, 256, 65536, 1<<24)
	for id, w := range s.now {
		bad := map[string][]byte{"empty": {}, "short": w[:wrappedSize-1], "long": append(append([]byte{}, w...), 0), "zeros": make([]byte, wrappedSize)}
		for other, w := range s.now {
			if other != id {
				bad["of another place"] = w
				tryBad(t, s, root, id, bad)
			}
		}
		if id.level > 0 {
			bad["missing"] = nil
			tryBad(t, s, root, id, bad)
		}
	}
	mustHold(t, New(root), s, keys)
}

func tryBad(t *testing.T, s *memory, root [keySize]byte, id nodeID, bad map[string][]byte) {
	t.Helper()
	for name, b := range bad {
		tx := s.begin()
		if tx.now[id] = b; b == nil {
			delete(tx.now, id)
		}
		i := id.index << (bits * id.level)
		if got, err := New(root).Unwrap(tx, i); !isDamage(err) || got != [keySize]byte{} {
			t.Errorf("%v %s: %v", id, name, err)
		} else if len(b) != wrappedSize && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v %s: %v, want %v whatever the root", id, name, err, ErrCorrupt)
		}
	}
}

// A transaction that is given up leaves no node key behind that the store does not
// have: keys wrapped afterwards still open after a restart.
func TestGivenUp(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	v := New(root)
	mustWrap(t, v, s, keys, 0)
	lost := map[uint64][keySize]byte{}
	mustWrap(t, v, s.begin(), lost, 1, 256, 65536, 1<<24)
	mustHold(t, v, s, keys, 1, 256, 65536, 1<<24)
	mustWrap(t, v, s, keys, 256, 65536, 1<<24)
	mustHold(t, New(root), s, keys, 1)
}

// Two processes share a store: what one destroys, the other finds destroyed. Keys
// whose nodes are as they were stay readable to it; for the others it needs the new
// root, and says so.
func TestTwoProcesses(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	a, b := New(root), New(root)
	mustWrap(t, a, s, keys, 0, 1, 256, 65536)
	mustHold(t, b, s, keys)
	a, err := a.Rekey(s, []uint64{0}, newKey())
	if err != nil {
		t.Fatal(err)
	}
	delete(keys, 0)
	mustHold(t, a, s, keys, 0)
	mustHold(t, b, s, map[uint64][keySize]byte{65536: keys[65536]}, 0)
	for _, i := range []uint64{1, 256} {
		if _, err := b.Unwrap(s, i); !errors.Is(err, ErrWrongRoot) {
			t.Errorf("the old root opens key %d under a new node: %v", i, err)
		}
	}
	if err := b.Wrap(s, 2, newKey()); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("the old root wraps under a new node: %v", err)
	}
	mustWrap(t, b, s, keys, 65537) // under a node that both know
	mustHold(t, a, s, keys, 0)
}

func TestStoreErrors(t *testing.T) {
	root := newKey()
	for fail := 1; ; fail++ {
		s, keys := newMemory(), map[uint64][keySize]byte{}
		mustWrap(t, New(root), s, keys, 0, 1, 256)
		tx := s.begin()
		tx.fail = fail
		v := New(root)
		err := v.Wrap(tx, 65536, newKey())
		if err == nil {
			_, err = v.Unwrap(tx, 1)
		}
		if err == nil {
			_, err = v.Rekey(tx, []uint64{0, 256}, newKey())
		}
		if tx.calls < fail {
			if err != nil || fail < 1000 {
				t.Fatalf("%d calls, %v", tx.calls, err)
			}
			return
		}
		if !errors.Is(err, errStore) {
			t.Fatalf("call %d: %v", fail, err)
		}
		mustHold(t, v, s, keys, 65536)
	}
}

func TestNodesBounded(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	v := New(root)
	for i := range uint64(maxNodes + 100) {
		mustWrap(t, v, s, keys, i<<bits)
		if len(v.nodes) > maxNodes {
			t.Fatalf("%d node keys are open", len(v.nodes))
		}
	}
	mustHold(t, v, s, keys)
	if len(v.nodes) != maxNodes {
		t.Errorf("%d node keys are open", len(v.nodes))
	}
}

func TestForgetAndDestroy(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	v := New(root)
	mustWrap(t, v, s, keys, 0, 256)
	open := v.nodes[nodeID{1, 0}]
	if open == nil {
		t.Fatal("no node key is kept")
	}
	v.Forget()
	if len(v.nodes) > 0 || open.key != [keySize]byte{} {
		t.Error("node keys are still in memory")
	}
	mustHold(t, v, s, keys)

	v.Destroy()
	if v.root != [keySize]byte{} || len(v.nodes) > 0 {
		t.Error("keys are still in memory")
	}
	if _, err := v.Unwrap(s, 0); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("opening: %v", err)
	}
	if err := v.Wrap(newMemory(), 0, newKey()); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("wrapping: %v", err)
	}
	if _, err := v.Rekey(s, nil, newKey()); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("rekeying: %v", err)
	}
}

// frozen is a store that only reads, and may be asked at the same time.
type frozen map[nodeID][]byte

func (f frozen) Get(level int, index uint64) ([]byte, error) { return f[nodeID{level, index}], nil }
func (f frozen) Put(int, uint64, []byte) error               { return errStore }
func (f frozen) Delete(int, uint64) error                    { return errStore }

func TestConcurrently(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	mustWrap(t, New(root), s, keys, spread...)
	v := New(root)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for range 50 {
				for i, want := range keys {
					if got, err := v.Unwrap(frozen(s.now), i); err != nil || got != want {
						t.Errorf("key %d: %v", i, err)
					}
				}
				if g == 0 {
					v.Forget()
				}
			}
		})
	}
	wg.Wait()
}

// TestGolden opens what another implementation wrapped, sealed and derived:
// testdata/tree.txt says how its lines read.
func TestGolden(t *testing.T) {
	f, err := os.Open("testdata/tree.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, [keySize]byte{}
	lines := map[string]int{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Fields(sc.Text())
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		lines[w[0]]++
		switch w[0] {
		case "root":
			root = [keySize]byte(unhex(t, w[1]))
		case "key":
			keys[number(t, w[1])] = [keySize]byte(unhex(t, w[2]))
		case "wrapped":
			s.now[nodeID{int(number(t, w[1])), number(t, w[2])}] = unhex(t, w[3])
		case "sealed":
			b, err := Open([keySize]byte(unhex(t, w[1])), unhex(t, w[2]), unhex(t, w[4]))
			if err != nil || string(b) != string(unhex(t, w[3])) {
				t.Errorf("sealed %s: %q, %v", w[3], b, err)
			}
		case "derived":
			if got := Derive([keySize]byte(unhex(t, w[1])), w[2]); string(got[:]) != string(unhex(t, w[3])) {
				t.Errorf("derived %x", got)
			}
		}
	}
	if lines["key"] != 6 || lines["wrapped"] != 15 || lines["sealed"] != 2 || lines["derived"] != 1 {
		t.Errorf("lines %v", lines)
	}
	mustHold(t, New(root), s, keys, 2)
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "-"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// FuzzUnwrap puts any bytes in the place of a data key or of a node: only the true
// ones open.
func FuzzUnwrap(f *testing.F) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	mustWrap(f, New(root), s, keys, 0)
	for level := range height {
		f.Add(level, s.now[nodeID{level, 0}])
		f.Add(level, []byte{})
		f.Add(level, make([]byte, wrappedSize))
	}
	f.Fuzz(func(t *testing.T, level int, b []byte) {
		if level < 0 || level >= height {
			return
		}
		tx := s.begin()
		tx.now[nodeID{level, 0}] = b
		if got, err := New(root).Unwrap(tx, 0); err == nil && (got != keys[0] || string(b) != string(s.now[nodeID{level, 0}])) {
			t.Errorf("level %d opened %x", level, b)
		} else if err != nil && !isDamage(err) && !errors.Is(err, ErrNoKey) {
			t.Error(err)
		}
	})
}
