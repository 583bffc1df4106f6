package vault

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRekey(t *testing.T) {
	for name, destroy := range map[string][]uint64{
		"none":        nil,
		"first":       {0},
		"last":        {MaxKeys - 1},
		"one of many": {255},
		"a batch":     {65536, 1, 0, 257},
		"in no order": {0, 256, 1, 65536, 255},
		"twice":       {1, 1},
		"all":         spread,
		"free ones":   {7, 1 << 20, 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			s, keys, root, newRoot := newMemory(), map[uint64][keySize]byte{}, newKey(), newKey()
			v := New(root)
			mustWrap(t, v, s, keys, spread...)
			before, all := s.begin(), maps.Clone(keys)
			fresh, err := v.Rekey(s, destroy, newRoot)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range destroy {
				delete(keys, i)
			}
			mustHold(t, fresh, s, keys, destroy...)
			mustHold(t, New(newRoot), s, keys, destroy...)
			mustHold(t, v, before, all) // given up, all is as it was
			mustUnreachable(t, s, all, keys, newRoot)
			if found := reachable(*s.ever, newRoot, root); !found[all[0]] {
				t.Error("the old root, were it not destroyed, does not open an old copy: the attack is too weak")
			}
			for i := range keys {
				if _, err := New(root).Unwrap(s, i); !errors.Is(err, ErrWrongRoot) {
					t.Errorf("the old root still opens the tree: %v", err)
				}
			}
		})
	}
}

// mustUnreachable fails unless, with the root and every wrapped key that there
// ever was, exactly the data keys that are left can be had.
func mustUnreachable(t fataler, s *memory, all, left map[uint64][keySize]byte, root [keySize]byte) {
	t.Helper()
	found := reachable(*s.ever, root)
	for i, k := range all {
		if l, ok := left[i]; found[k] != (ok && l == k) {
			t.Fatalf("key %d: left %v, found %v", i, ok, found[k])
		}
	}
}

// TestGroup: the key of a group of which a data key is destroyed is another one then, and nothing
// that opens with the new root gives the old one; all others are what they were.
func TestGroup(t *testing.T) {
	for name, destroy := range map[string][]uint64{"none": nil, "one": {257}, "some": {0, 1 << 24}, "a free one": {2}} {
		s, keys, root, newRoot := newMemory(), map[uint64][keySize]byte{}, newKey(), newKey()
		v := New(root)
		mustWrap(t, v, s, keys, spread...)
		before, gone := map[uint64][keySize]byte{}, map[uint64]bool{}
		for i := range keys {
			before[GroupOf(i)] = mustGroup(t, v, s, GroupOf(i))
		}
		fresh, err := v.Rekey(s, destroy, newRoot)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range destroy {
			gone[GroupOf(i)] = true
		}
		derived := map[[keySize]byte]bool{}
		for key := range reachable(*s.ever, newRoot) {
			derived[Derive(key, "sae group 1")] = true
		}
		seen := map[[keySize]byte]bool{}
		for i, old := range before {
			now := mustGroup(t, fresh, s, i)
			if (now != old) != gone[i] || derived[old] == gone[i] || !derived[now] || seen[now] {
				t.Errorf("%s, group %d: another key %v, want %v; the old one can be had %v; the new one %v", name, i, now != old, gone[i], derived[old], derived[now])
			}
			seen[now] = true
		}
	}
}

func mustGroup(t *testing.T, v *Vault, s Store, group uint64) [keySize]byte {
	t.Helper()
	key, err := v.Group(s, group)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRekeyRefuses(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	v := New(root)
	mustWrap(t, v, s, keys, 0, 1)
	if _, err := v.Rekey(s.begin(), []uint64{0}, root); err == nil {
		t.Error("the old root was taken as the new one")
	}
	for _, i := range []uint64{MaxKeys, 1 << 40, 1<<64 - 1} {
		if _, err := v.Rekey(s.begin(), []uint64{i}, newKey()); !errors.Is(err, ErrNoKey) {
			t.Errorf("number %d: %v", i, err)
		}
	}
	// A damaged neighbour would be lost with the old root: that is told first.
	tx := s.begin()
	tx.now[nodeID{0, 1}] = make([]byte, wrappedSize)
	if _, err := v.Rekey(tx, []uint64{0}, newKey()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a damaged neighbour: %v", err)
	}
	tx = s.begin()
	delete(tx.now, nodeID{1, 0})
	if _, err := v.Rekey(tx, []uint64{0}, newKey()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a missing node: %v", err)
	}
	mustHold(t, v, s, keys)
}

// TestRekeyCost: a batch pays for a shared path once, and no other path at all.
func TestRekeyCost(t *testing.T) {
	for _, c := range []struct {
		destroy []uint64
		puts    int
	}{
		{nil, 1},                                // the top entry
		{[]uint64{5}, 255 + 4 + 1 + 1},          // its neighbours, the nodes of level 1, 2 and 3
		{[]uint64{5, 6, 7, 8}, 252 + 4 + 1 + 1}, // the same path
		{[]uint64{5, 300}, 255 + 255 + 4 + 1 + 1},
		{[]uint64{1023}, 255 + 4 + 1 + 1},
	} {
		s, keys := newMemory(), map[uint64][keySize]byte{}
		v := New(newKey())
		for i := range uint64(4 << bits) {
			mustWrap(t, v, s, keys, i)
		}
		s.puts = 0
		if _, err := v.Rekey(s, c.destroy, newKey()); err != nil || s.puts != c.puts {
			t.Errorf("destroying %v wraps %d keys, want %d, %v", c.destroy, s.puts, c.puts, err)
		}
	}
}

// TestModel holds a vault against a map, over wrapping, destroying, giving up and
// opening again. With today's root and every wrapped key that there ever was, no
// destroyed key can be had.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, root := newMemory(), newKey()
		v := New(root)
		keys, all := map[uint64][keySize]byte{}, map[uint64][keySize]byte{}
		next := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"wrap": func(t *rapid.T) {
				next += rapid.SampledFrom([]uint64{0, 0, 0, 0, 1, 254, 65000, 1 << 24}).Draw(t, "skip")
				if next >= MaxKeys {
					t.Skip("full")
				}
				mustWrap(t, v, s, keys, next)
				all[next] = keys[next]
				next++
			},
			"wrap and give up": func(t *rapid.T) {
				mustWrap(t, v, s.begin(), map[uint64][keySize]byte{}, min(next+rapid.Uint64Range(0, 300).Draw(t, "skip"), MaxKeys-1))
			},
			"rekey": func(t *rapid.T) {
				destroy := drawKeys(t, keys)
				newRoot := newKey()
				fresh, err := v.Rekey(s, destroy, newRoot)
				if err != nil {
					t.Fatal(err)
				}
				v.Destroy()
				v, root = fresh, newRoot
				for _, i := range destroy {
					delete(keys, i)
				}
				mustHold(t, v, s, keys, destroy...)
				mustUnreachable(t, s, all, keys, root)
			},
			"rekey and give up": func(t *rapid.T) {
				tx := s.begin()
				if _, err := v.Rekey(tx, drawKeys(t, keys), newKey()); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": func(*rapid.T) { v = New(root) },
			"forget": func(*rapid.T) { v.Forget() },
			"": func(t *rapid.T) {
				mustHold(t, v, s, keys, next)
			},
		})
		mustUnreachable(t, s, all, keys, root)
	})
}

func drawKeys(t *rapid.T, keys map[uint64][keySize]byte) (drawn []uint64) {
	for _, i := range slices.Sorted(maps.Keys(keys)) {
		if rapid.Bool().Draw(t, "destroy") {
			drawn = append(drawn, i)
		}
	}
	return drawn
}

func BenchmarkRekey(b *testing.B) {
	s, keys := newMemory(), map[uint64][keySize]byte{}
	v := New(newKey())
	for i := range uint64(1 << 16) {
		mustWrap(b, v, s, keys, i)
	}
	b.ResetTimer()
	for i := range b.N {
		var err error
		if v, err = v.Rekey(s, []uint64{uint64(i*257) % (1 << 16)}, newKey()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnwrap(b *testing.B) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	mustWrap(b, New(root), s, keys, 0)
	v := New(root)
	for b.Loop() {
		if _, err := v.Unwrap(frozen(s.now), 0); err != nil {
			b.Fatal(err)
		}
	}
}
