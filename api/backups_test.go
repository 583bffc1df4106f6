package api

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sae/archive"
	"sae/archive/serving"
)

// measured gives what is told at /metrics.
func measured(t *testing.T, a *archive.Archive, m *Metrics) string {
	t.Helper()
	var none *serving.Config
	service, err := New(a, Config{Serving: none.With(), Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	service.Admin.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	return string(b)
}

// TestBackupsAreMade: the service makes a backup when none is young enough, and tells of it.
func TestBackupsAreMade(t *testing.T) {
	s := serve(t, nil)
	s.deposited(s.key("cd99", archive.Depositor), "k", "content")
	folder := t.TempDir()
	var log lockedBuffer
	run := func(config serving.Backup) {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			(&Backups{A: s.a, Agent: "test", Config: config, Log: newTestLog(&log)}).Run(ctx)
		}()
		for before := log.String(); log.String() == before; {
			time.Sleep(5 * time.Millisecond)
		}
		stop()
		<-ended
	}
	run(serving.Backup{Folder: filepath.Join(folder, "missing"), Every: time.Hour, Keep: 7})
	if !strings.Contains(log.String(), "no such file") {
		t.Error(log.String())
	}
	run(serving.Backup{Folder: folder, Every: time.Hour, Keep: 7})
	last, err := s.a.LastBackup()
	if err != nil || last == nil || last.Generation != 1 {
		t.Fatalf("%+v %v %s", last, err, log.String())
	}
	wait, err := (&Backups{A: s.a, Config: serving.Backup{Every: time.Hour}}).due()
	if err != nil || wait < 50*time.Minute {
		t.Errorf("the next is made in %s: %v", wait, err)
	}
	if m := measured(t, s.a, NewMetrics()); !strings.Contains(m, "sae_last_backup_lacking_blobs 0\n") || !strings.Contains(m, `sae_work_failed_total{work="backup"} 0`) {
		t.Error(m)
	}
}

// TestMetrics: names, kinds and helps are as Prometheus wants them; what is done is counted; nobody is
// named.
func TestMetrics(t *testing.T) {
	s := serve(t, nil)
	m := NewMetrics()
	s.deposited(s.key("cd99", archive.Depositor), "zephirine", "0123456789")
	ctx := context.Background()
	if _, err := s.a.Seal(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.a.Audit(ctx, "test", archive.AuditOptions{Sample: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.a.BackupInto(ctx, "test", t.TempDir(), archive.BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	m.count(&request{operation: "createDeposit", status: 201}, time.Second)
	text := measured(t, s.a, m)
	problems, err := promlint.New(bytes.NewReader([]byte(text))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v\n%s", problems, err, text)
	}
	for _, want := range []string{
		"sae_deposited_units_total 1", "sae_deposited_objects_total 1", "sae_deposited_bytes_total 10",
		`sae_work_seconds_count{work="deposit"} 1`, `sae_work_seconds_count{work="seal"} 1`, `sae_work_failed_total{work="deposit"} 0`,
		`sae_authority_requests_total{authority="embedded"} 1`, `sae_authority_failures_total{authority="embedded"} 0`,
		"sae_last_audit_damage 0", "sae_last_audit_lost 0", "sae_seal_pending ", "sae_commit_queue 0", "sae_storing_deposits 0",
		`sae_offer_free_bytes{offer="first"} `, `sae_missing_copies{offer="second"} 0`, "sae_catalogue_free_bytes ", "sae_last_backup_timestamp_seconds ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	for _, word := range []string{"zephirine", "depositor", "demande"} {
		if strings.Contains(text, word) {
			t.Errorf("%q is told", word)
		}
	}
}
