package vault

import (
	"bytes"
	"errors"
	"maps"
	"testing"
)

// memory is a store in memory. What Get gives holds until the next call only, as
// in a database. It remembers every bytes ever put: what backups may hold.
type memory struct {
	now   map[nodeID][]byte
	ever  *[]entry
	buf   []byte
	puts  int
	calls int
	fail  int // the call that fails, from 1
}

type entry struct {
	id      nodeID
	wrapped []byte
}

var errStore = errors.New("store error")

func newMemory() *memory { return &memory{now: map[nodeID][]byte{}, ever: &[]entry{}} }

// begin gives a transaction: a store of which nothing is in the first one.
func (m *memory) begin() *memory { return &memory{now: maps.Clone(m.now), ever: m.ever} }

func (m *memory) call() error {
	for i := range m.buf {
		m.buf[i] = 0xee
	}
	m.buf = nil
	if m.calls++; m.calls == m.fail {
		return errStore
	}
	return nil
}

func (m *memory) Get(level int, index uint64) ([]byte, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	m.buf = bytes.Clone(m.now[nodeID{level, index}])
	return m.buf, nil
}

func (m *memory) Put(level int, index uint64, wrapped []byte) error {
	if err := m.call(); err != nil {
		return err
	}
	m.puts++
	m.now[nodeID{level, index}] = bytes.Clone(wrapped)
	*m.ever = append(*m.ever, entry{nodeID{level, index}, bytes.Clone(wrapped)})
	return nil
}

func (m *memory) Delete(level int, index uint64) error {
	if err := m.call(); err != nil {
		return err
	}
	delete(m.now, nodeID{level, index})
	return nil
}

// testing.TB and *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func mustWrap(t fataler, v *Vault, s Store, keys map[uint64][keySize]byte, indexes ...uint64) {
	t.Helper()
	for _, i := range indexes {
		keys[i] = newKey()
		if err := v.Wrap(s, i, keys[i]); err != nil {
			t.Fatalf("%v", err)
		}
	}
}

// mustHold fails unless the store gives these keys and no key of absent.
func mustHold(t fataler, v *Vault, s Store, keys map[uint64][keySize]byte, absent ...uint64) {
	t.Helper()
	for i, want := range keys {
		if got, err := v.Unwrap(s, i); err != nil || got != want {
			t.Fatalf("key %d is another one, %v", i, err)
		}
	}
	for _, i := range absent {
		if got, err := v.Unwrap(s, i); !errors.Is(err, ErrNoKey) || got != [keySize]byte{} {
			t.Fatalf("key %d: %v, want %v", i, err, ErrNoKey)
		}
	}
}

// reachable gives every key that can be had from the given ones and all entries:
// each is tried under each key, in each place that it ever had.
func reachable(entries []entry, from ...[keySize]byte) map[[keySize]byte]bool {
	found := map[[keySize]byte]bool{}
	for len(from) > 0 {
		key := from[0]
		from = from[1:]
		if found[key] {
			continue
		}
		found[key] = true
		for _, e := range entries {
			if k, err := unwrap(key, e.id.level, e.id.index, e.wrapped); err == nil {
				from = append(from, k)
			}
		}
	}
	return found
}

// The attack of the other tests finds what can be found.
func TestReachable(t *testing.T) {
	s, keys, root := newMemory(), map[uint64][keySize]byte{}, newKey()
	mustWrap(t, New(root), s, keys, 0, 1, 256, MaxKeys-1)
	found := reachable(*s.ever, root)
	for i, k := range keys {
		if !found[k] {
			t.Errorf("key %d is not found", i)
		}
	}
	if len(found) != 1+4+3+2+2+0 { // root, data keys, nodes of the levels 1 to 3
		t.Errorf("%d keys found", len(found))
	}
	if found := reachable(*s.ever, newKey()); len(found) != 1 {
		t.Errorf("%d keys found with another root", len(found))
	}
}
