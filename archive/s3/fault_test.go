package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"sae/archive/blobs"
	"sae/archive/s3/s3test"
)

// TestFaults does each fault once to each request of writing and of reading a blob, of one
// part and of several: what was closed without an error is there, whole; what was not is an
// error, and leaves the name free.
func TestFaults(t *testing.T) {
	r := s3test.Start(t, s3test.MinIO)
	p := s3test.NewProxy(t, r, 3*time.Second)
	c := r.Bucket(t, "")
	c.Endpoint, c.Timeout, c.Tries = p.Endpoint, time.Second, 4
	s := open(t, c)
	direct := c
	direct.Endpoint = r.Endpoint
	behind := open(t, direct)
	ctx := context.Background()
	number := uint64(0)
	for _, size := range []int{1000, 16<<20 + 1000} {
		content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, fault := range s3test.Faults {
			for nth := int64(1); nth <= 4; nth++ {
				number++
				what := fmt.Sprintf("%s, request %d, %d bytes", fault, nth, size)
				name := blobs.Name("s"+strings.Repeat("a", 26), number)
				before := p.Hits.Load()
				p.Once(fault, nth, func(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodPost })
				w, err := s.Create(ctx, name)
				if err != nil {
					t.Fatal(err)
				}
				if _, err = w.Write(content); err == nil {
					err = w.Close()
				}
				p.Choose(func(*http.Request) s3test.Fault { return s3test.None })
				hit := p.Hits.Load() > before
				if err != nil {
					w.Abort()
				}
				b, readErr := behind.Open(ctx, name)
				switch {
				case err == nil && fault == s3test.Pretend && hit: // an audit finds it
				case err == nil && readErr != nil:
					t.Errorf("%s: closed, and not there: %v", what, readErr)
				case err == nil:
					got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
					if err != nil || !bytes.Equal(got, content) {
						t.Errorf("%s: %d bytes, %v", what, len(got), err)
					}
				case fault == s3test.Error500 || fault == s3test.SlowDown || fault == s3test.CutRequest || fault == s3test.Delay || fault == s3test.LoseAnswer:
					t.Errorf("%s: not tried again: %v", what, err)
				case readErr == nil && !errors.Is(err, fs.ErrExist):
					t.Errorf("%s: failed with %v, and is there", what, err)
				}
				if readErr == nil {
					b.Close()
				}
				if !hit {
					break
				}
			}
		}
	}
}

// TestReadFaults does each fault to the requests of reading.
func TestReadFaults(t *testing.T) {
	r := s3test.Start(t, s3test.MinIO)
	p := s3test.NewProxy(t, r, 3*time.Second)
	c := r.Bucket(t, "")
	c.Endpoint, c.Timeout, c.Tries = p.Endpoint, time.Second, 4
	s := open(t, c)
	ctx := context.Background()
	name, content := blobs.Name("s"+strings.Repeat("a", 26), 1), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	w, err := s.Create(ctx, name)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range s3test.Faults {
		p.Once(fault, 1, func(r *http.Request) bool { return r.Method == http.MethodGet })
		b, err := s.Open(ctx, name)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
			b.Close()
		}
		switch fault {
		case s3test.CorruptAnswer: // found above, by the authentication of each segment
			if err != nil || bytes.Equal(got, content) {
				t.Errorf("%s: %v", fault, err)
			}
		case s3test.Precondition:
			if err == nil {
				t.Errorf("%s: no error", fault)
			}
		default:
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %d bytes, %v", fault, len(got), err)
			}
		}
	}
}
