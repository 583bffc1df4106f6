package s3_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sae/archive/blobs"
	"sae/archive/blobs/blobstest"
	"sae/archive/s3"
	"sae/archive/s3/s3test"
)

func open(t *testing.T, c s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestConformance runs the tests of every place for copies on real servers, in buckets
// with and without Object Lock.
func TestConformance(t *testing.T) {
	for _, server := range []s3test.Server{s3test.MinIO, s3test.VersityGW} {
		t.Run(server.Name, func(t *testing.T) {
			r := s3test.Start(t, server)
			for _, lock := range []string{"", "governance"} {
				t.Run("lock="+lock, func(t *testing.T) {
					blobstest.Run(t, open(t, r.Bucket(t, lock)), 0, 1, 100_000, 16<<20, 16<<20+1, 40<<20)
				})
			}
		})
	}
}

func TestMark(t *testing.T) {
	r := s3test.Start(t, s3test.MinIO)
	ctx, m := context.Background(), blobs.Mark{Format: 1, Archive: "a", Offer: "cloud"}
	c := r.Bucket(t, "compliance")
	s := open(t, c)
	if err := s.Check(ctx, m); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.Mark(ctx, m); err != nil {
		t.Fatal(err)
	}
	if err := s.Mark(ctx, m); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if err := s.Check(ctx, m); err != nil {
		t.Error(err)
	}
	if err := s.Check(ctx, blobs.Mark{Format: 1, Archive: "b", Offer: "cloud"}); err == nil || !strings.Contains(err.Error(), "another archive") {
		t.Error(err)
	}
	unlocked := r.Bucket(t, "")
	unlocked.Lock = "compliance"
	if err := open(t, unlocked).Mark(ctx, m); err == nil || !strings.Contains(err.Error(), "no Object Lock") {
		t.Error(err)
	}
	unlocked.Bucket = "nowhere"
	if err := open(t, unlocked).Mark(ctx, m); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
}

// TestLock: a locked blob is deleted by nobody until its time, then wholly; versions and
// delete markers that others made do not stay.
func TestLock(t *testing.T) {
	r := s3test.Start(t, s3test.MinIO)
	ctx := context.Background()
	for _, lock := range []string{"compliance", "governance"} {
		c := r.Bucket(t, lock)
		s := open(t, c)
		name := blobs.Name("s"+strings.Repeat("a", 26), 1)
		blobstest.Put(t, s, name, []byte("ciphertext"))
		until := time.Now().Add(4 * time.Second).Truncate(time.Second)
		if err := s.Lock(ctx, name, until); err != nil {
			t.Fatal(err)
		}
		if err := s.Lock(ctx, name, until.Add(-2*time.Second)); err != nil { // not made shorter
			t.Error(err)
		}
		var locked *blobs.LockedError
		if err := s.Delete(ctx, name); !errors.As(err, &locked) || !locked.Until.Equal(until) {
			t.Errorf("%s: %v", lock, err)
		}
		// Somebody else hides the blob behind a delete marker, and puts another version.
		key := c.Prefix + "blobs/" + name
		if err := r.Client.RemoveObject(ctx, c.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Client.PutObject(ctx, c.Bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(until) + 1500*time.Millisecond)
		if err := s.Delete(ctx, name); err != nil {
			t.Errorf("%s: %v", lock, err)
		}
		for o := range r.Client.ListObjects(ctx, c.Bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
			t.Errorf("%s: %s %s is left, delete marker %v, %v", lock, o.Key, o.VersionID, o.IsDeleteMarker, o.Err)
		}
		blobstest.Put(t, s, name, []byte("again"))
		if err := s.Hold(ctx, name, true); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctx, name); !errors.As(err, &locked) || !locked.Until.IsZero() {
			t.Errorf("%s, held: %v", lock, err)
		}
		if err := s.Hold(ctx, name, false); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctx, name); err != nil {
			t.Errorf("%s, lifted: %v", lock, err)
		}
	}
}

// TestCertificatesAndCredentials: a server under a private authority is trusted when its
// certificate is given, and only then; keys come from an AWS credentials file.
func TestCertificatesAndCredentials(t *testing.T) {
	r := s3test.Start(t, s3test.MinIO)
	p := s3test.NewProxy(t, r, time.Second)
	server := httptest.NewTLSServer(p)
	defer server.Close()
	c := r.Bucket(t, "")
	c.Endpoint, c.Tries = server.URL, 1
	ctx, m := context.Background(), blobs.Mark{Format: 1, Archive: "a", Offer: "cloud"}
	if err := open(t, c).Mark(ctx, m); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	dir := t.TempDir()
	c.CA = filepath.Join(dir, "ca.pem")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(c.CA, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	if err := open(t, c).Mark(ctx, m); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if err := open(t, c).Check(ctx, m); err == nil {
		t.Error("without credentials")
	}
	c.Credentials, c.Profile = filepath.Join(dir, "credentials"), "archive"
	write(c.Credentials, "[default]\naws_access_key_id = x\naws_secret_access_key = y\n[archive]\naws_access_key_id = sae-test\naws_secret_access_key = sae-test-secret\n")
	if err := open(t, c).Check(ctx, m); err != nil {
		t.Error(err)
	}
	write(c.CA, "nothing")
	if _, err := s3.New(c); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Error(err)
	}
}
