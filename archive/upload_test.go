package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func beginUpload(t *testing.T, a *Archive, key string, length int64) *Upload {
	t.Helper()
	n := newTestJob(a, key)
	n.Upload = &JobUpload{Length: length, Expires: now().Add(time.Hour)}
	j, was, err := a.BeginJob(n)
	if err != nil || was {
		t.Fatal(j, was, err)
	}
	u, err := a.OpenUpload(j.ID)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func mustAppend(t *testing.T, u *Upload, text string) {
	t.Helper()
	if n, err := u.Append(strings.NewReader(text), nil); err != nil || n != int64(len(text)) {
		t.Fatal(n, err)
	}
}

// TestUpload: a body that comes piece by piece, over two processes, is that of the job, with its digest;
// it lies nowhere in clear, and is gone when the job has ended.
func TestUpload(t *testing.T) {
	a := newArchive(t, nil)
	const secret = "Mme Martin-Durand demande "
	text := strings.Repeat(secret, 10_000)
	u := beginUpload(t, a, "1", int64(len(text)))
	mustAppend(t, u, text[:10])
	mustAppend(t, u, text[10:100_000])
	if all, err := a.Uploads(); err != nil || len(all) != 1 || all[0].Upload.Length != int64(len(text)) {
		t.Fatalf("%+v %v", all, err)
	}
	id := a.JobID("gru", "archives", "1")
	again, err := a.OpenUpload(id) // as after a crash
	if err != nil || again.Offset() != 100_000 || again.Request.Agent != "gru" {
		t.Fatalf("%+v %v", again, err)
	}
	mustAppend(t, again, text[100_000:])
	if sum, err := again.SHA256(); err != nil || sum != sha256.Sum256([]byte(text)) {
		t.Errorf("%x %v", sum, err)
	}
	b, err := os.ReadFile(filepath.Join(a.dir, jobDir, id+bodyFile))
	if err != nil || bytes.Contains(b, []byte(secret)) {
		t.Errorf("it lies in clear, or nowhere: %v", err)
	}
	if _, was, err := a.CompleteJob(id, nil); err != nil || was {
		t.Fatal(was, err)
	}
	if _, err := a.OpenUpload(id); !errors.Is(err, ErrBegun) {
		t.Error(err)
	}
	if err := a.DropUpload(id); !errors.Is(err, ErrBegun) {
		t.Error(err)
	}
	if waiting, err := a.RecoverJobs(); err != nil || len(waiting) != 1 {
		t.Fatal(waiting, err)
	}
	r, err := a.StartJob(id)
	if err != nil || readBody(t, r) != text {
		t.Fatal(err)
	}
	d, err := a.Deposit(r.Context(context.Background()), "gru", Deposit{Tenant: "archives", Units: []NewUnit{{Parent: -1, Title: "x", Channel: Digital,
		Content: &Content{Filename: "f.txt", Size: -1, Open: func() (io.ReadCloser, error) { return r.Body() }}}}})
	if err == nil {
		err = r.Archived(d.Receipt.Index)
	}
	if err != nil || len(jobFiles(t, a.dir)) != 0 {
		t.Error(err, jobFiles(t, a.dir))
	}
}

// TestUploadErrors: what was told stays when a piece is not what it was said to be, or its source ends.
func TestUploadErrors(t *testing.T) {
	a := newArchive(t, nil)
	u := beginUpload(t, a, "1", 1000)
	mustAppend(t, u, "abc")
	bad := errors.New("bad")
	if n, err := u.Append(strings.NewReader("xyz"), func() error { return bad }); !errors.Is(err, bad) || n != 0 || u.Offset() != 3 {
		t.Error(n, err, u.Offset())
	}
	if n, err := u.Append(io.MultiReader(strings.NewReader("def"), broken{bad}), nil); !errors.Is(err, bad) || n != 3 || u.Offset() != 6 {
		t.Error(n, err, u.Offset())
	}
	mustAppend(t, u, "ghi")
	if sum, err := u.SHA256(); err != nil || sum != sha256.Sum256([]byte("abcdefghi")) {
		t.Errorf("%x %v", sum, err)
	}
	id := a.JobID("gru", "archives", "1")
	if err := a.DropUpload(id); err != nil || len(jobFiles(t, a.dir)) != 0 {
		t.Error(err, jobFiles(t, a.dir))
	}
	if _, err := a.Job(id); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := a.OpenUpload(id); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

type broken struct{ error }

func (b broken) Read([]byte) (int, error) { return 0, b.error }

// TestUploadShort: a body of which something was lost is not worked off.
func TestUploadShort(t *testing.T) {
	a := newArchive(t, nil)
	u := beginUpload(t, a, "1", 10)
	mustAppend(t, u, "abcde")
	id := a.JobID("gru", "archives", "1")
	if _, _, err := a.CompleteJob(id, nil); err != nil {
		t.Fatal(err)
	}
	r, err := a.StartJob(id)
	if err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := r.Body(); !errors.As(err, &damaged) {
		t.Error(err)
	}
}
