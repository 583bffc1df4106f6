// Package archivetest makes archives for the tests of those who use one.
package archivetest

import (
	"context"
	"path/filepath"
	"testing"

	"sae/archive"
)

// Open makes an archive in a folder of the test, and opens it. When the test ends it is audited whole:
// whatever the test did, the archive must be sound after it.
func Open(t testing.TB, n archive.New) *archive.Archive {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	if _, err := archive.Create(dir, n); err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1})
		if err != nil || !report.Sound() {
			t.Errorf("after the test: %v, %+v", err, report)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}
