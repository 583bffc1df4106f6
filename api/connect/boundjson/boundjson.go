// Package boundjson reads JSON that others wrote: of a bounded size and depth, one value, each key once.
package boundjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bounds are what is read at most.
type Bounds struct {
	Bytes int64
	Depth int
	Known bool // keys that the target does not have are refused
}

// Decode reads one value. Numbers that go into an interface are json.Number: they stay as they were
// written. No error quotes what was read, which may be somebody's.
func Decode(r io.Reader, b Bounds, into any) error {
	data, err := io.ReadAll(io.LimitReader(r, b.Bytes+1))
	if err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if int64(len(data)) > b.Bytes {
		return fmt.Errorf("JSON: more than %d bytes", b.Bytes)
	}
	if err := check(data, b.Depth); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if b.Known {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(into); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return fmt.Errorf("JSON: %s: a %s is not what stands there", kind.Field, kind.Value)
		}
		return fmt.Errorf("JSON: %w", err) // it names a key at most
	}
	return nil
}

// check wants one value that is nested no deeper than depth, and in each object every key once: of two,
// one reader takes the first and another the last.
func check(data []byte, depth int) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []map[string]bool // keys of the objects that are open; nil for a list
	key := false               // a key is next
	for first := true; ; first = false {
		if !first && len(open) == 0 {
			if _, err := d.Token(); err != io.EOF {
				return errors.New("JSON: something stands behind the value")
			}
			return nil
		}
		at := d.InputOffset()
		t, err := d.Token()
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				return fmt.Errorf("JSON: not well-formed at byte %d", syntax.Offset)
			}
			return fmt.Errorf("JSON: %w", err)
		}
		switch {
		case t == json.Delim('{') || t == json.Delim('['):
			var keys map[string]bool
			if t == json.Delim('{') {
				keys = map[string]bool{}
			}
			if open = append(open, keys); len(open) > depth {
				return fmt.Errorf("JSON: nested deeper than %d at byte %d", depth, at)
			}
		case t == json.Delim('}') || t == json.Delim(']'):
			open = open[:len(open)-1]
		case key:
			keys, name := open[len(open)-1], t.(string)
			if keys[name] {
				return fmt.Errorf("JSON: a key is there twice at byte %d", at)
			}
			keys[name] = true
			key = false
			continue
		}
		key = len(open) > 0 && open[len(open)-1] != nil
	}
}
