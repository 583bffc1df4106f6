package remote

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func FuzzFrame(f *testing.F) {
	f.Add((&frame{kind: frameRequest, id: 7, head: []byte(`{"op":"stat"}`), data: []byte("x")}).append(nil))
	f.Add([]byte{})
	f.Add([]byte{'a', 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, '{'})
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseFrame(b)
		if err != nil {
			if !errors.Is(err, errFrame) {
				t.Error(err)
			}
			return
		}
		if again := x.append(nil); !bytes.Equal(again, b) {
			t.Errorf("%q is read as %q", b, again)
		}
		for _, v := range []any{&Ask{}, &request{}, &exit{}} {
			if err := x.read(v); err != nil && !errors.Is(err, errFrame) {
				t.Error(err)
			}
		}
	})
}

// FuzzAnswer: whatever a client answers, it is taken or refused.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"info":{"name":"YQ==","size":3,"mode":420,"sec":1,"nsec":2,"file":"1:2"}}`), []byte("x"))
	f.Add([]byte(`{"err":{"op":"open","path":"YQ==","text":"bm8=","is":"not-exist"}}`), []byte{})
	f.Add([]byte(`{"list":[{"name":"YQ=="},{"name":"Lg=="}],"more":true}`), []byte{})
	f.Fuzz(func(t *testing.T, head, data []byte) {
		waits := make(chan *reply, 1)
		s := &Session{waiting: map[uint32]chan *reply{1: waits}, flying: make(chan struct{}, 1)}
		s.flying <- struct{}{}
		if err := s.answered(&frame{kind: frameAnswer, id: 1, head: head, data: data}); err != nil {
			if !errors.Is(err, errFrame) {
				t.Error(err)
			}
			return
		}
		r := <-waits
		if r.Err != nil {
			_ = r.Err.err().Error()
		}
		if i, err := infoOf(r); err == nil && (i.Size() < 0 || len(i.Name()) > maxPath) {
			t.Errorf("%+v is taken", i)
		}
		if err := s.answered(&frame{kind: frameAnswer, id: 1, head: head}); !errors.Is(err, errFrame) {
			t.Errorf("answered twice: %v", err)
		}
	})
}

// FuzzRequest: whatever a service asks for, what the command does not name is neither given nor touched.
func FuzzRequest(f *testing.F) {
	for _, op := range []string{opStat, opLstat, opReadLink, opList, opBase, opReadable, opOpen, opRead, opFstat, opClose, opCreate, opFolder, opCreateIn, opMkdirIn, opWrite, opKeep, opDrop, "x"} {
		f.Add(op, "docs/a", 1, int64(0), 10, []byte{})
		f.Add(op, "docs/../secret", 3, int64(-1), 1, []byte("x"))
		f.Add(op, "../../secret", 3, int64(1<<62), 0, []byte{})
	}
	f.Fuzz(func(t *testing.T, op, path string, handle int, offset int64, n int, data []byte) {
		base := t.TempDir()
		at := func(name string) string { return filepath.Join(base, name) }
		err := errors.Join(os.Mkdir(at("docs"), 0o700), os.WriteFile(at("docs/a"), []byte("given"), 0o600), os.WriteFile(at("secret"), []byte("secret"), 0o600), os.Symlink("../secret", at("docs/link")))
		if err != nil {
			t.Fatal(err)
		}
		t.Chdir(base)
		h := newHands(guarded{named: Named{Trees: []string{"docs"}, New: []string{"out", "folder"}}})
		for _, r := range []request{{Op: opOpen, Path: []byte("docs/a")}, {Op: opCreate, Path: []byte("out")}, {Op: opFolder, Path: []byte("folder")}, {Op: op, Path: []byte(path), Handle: handle, Offset: offset, N: n}} {
			reply, err := h.do(&r, nil)
			if r.Op == opWrite {
				reply, err = h.do(&r, data)
			}
			if err == nil && reply != nil && bytes.Contains(reply.data, []byte("secret")) {
				t.Errorf("%+v gives %q", r, reply.data)
			}
		}
		h.dropAll()
		left := slices.DeleteFunc(filesBelow(t, "."), func(p string) bool { return p == "docs/a" || p == "docs/link" || p == "out" || p == "secret" })
		if b, err := os.ReadFile("secret"); err != nil || string(b) != "secret" || len(left) > 0 {
			t.Errorf("after %q %q %d: %q %v, left: %v", op, path, handle, b, err, left)
		}
		if b, err := os.ReadFile("docs/a"); err != nil || string(b) != "given" {
			t.Errorf("after %q %q %d: %q %v", op, path, handle, b, err)
		}
	})
}
