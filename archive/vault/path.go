package vault

import (
	"bytes"
	"fmt"
)

// Path gives the wrapped keys from the one under the root down to data key number index:
// with the root they open that data key, without any Store.
func Path(s Store, index uint64) ([][]byte, error) {
	var out [][]byte
	for level := height - 1; level >= 0; level-- {
		wrapped, err := s.Get(level, index>>(bits*level))
		if err == nil && wrapped == nil {
			err = ErrNoKey
		}
		if err != nil {
			return nil, fmt.Errorf("path of data key %d: %w", index, err)
		}
		out = append(out, bytes.Clone(wrapped))
	}
	return out, nil
}

// OpenPath gives data key number index by the wrapped keys that Path gave. Errors:
// ErrWrongRoot, ErrCorrupt.
func OpenPath(root [32]byte, index uint64, path [][]byte) (key [32]byte, err error) {
	if len(path) != height {
		return key, fmt.Errorf("opening data key %d: a path of %d keys: %w", index, len(path), ErrCorrupt)
	}
	key = root
	for i, wrapped := range path {
		level := height - 1 - i
		if key, err = unwrap(key, level, index>>(bits*level), wrapped); err != nil {
			return [32]byte{}, fmt.Errorf("opening data key %d: %w", index, err)
		}
	}
	return key, nil
}
