package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sae/archive/durable"
	"sae/archive/stream"
	"sae/integrity"
)

// newTestJob is a job of an agent.
func newTestJob(a *Archive, key string) NewJob {
	return NewJob{ID: a.JobID("gru", "archives", key), Tenant: "archives", Kind: "deposit", Fingerprint: []byte(key),
		JobRequest: JobRequest{Agent: "gru", Key: key, Said: []byte(`{"title":"Mme Martin"}`)}}
}

func acceptTestJob(t *testing.T, a *Archive, key, body string) *Job {
	t.Helper()
	b, err := a.SpoolBody(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	j, was, err := a.AcceptJob(newTestJob(a, key), b)
	if err != nil || was {
		t.Fatal(j, was, err)
	}
	return j
}

func jobFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, jobDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func readBody(t *testing.T, r *RunningJob) string {
	t.Helper()
	body, err := r.Body()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// depositIn deposits a unit as what a job became.
func depositIn(t *testing.T, a *Archive, r *RunningJob) *Deposited {
	t.Helper()
	d, err := a.Deposit(r.Context(context.Background()), r.Request.Agent, Deposit{Tenant: r.Tenant, Units: []NewUnit{{Parent: -1, Title: "Demande", Channel: Digital,
		Content: &Content{Filename: "f.txt", Size: -1, Open: func() (io.ReadCloser, error) { return r.Body() }}}}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestJob(t *testing.T) {
	a := newArchive(t, nil)
	j := acceptTestJob(t, a, "1", "le contenu")
	if j.State != JobReceived || j.Agent != a.Pseudonym("gru") || len(jobFiles(t, a.dir)) != 1 {
		t.Errorf("%+v %v", j, jobFiles(t, a.dir))
	}
	b, err := a.SpoolBody(strings.NewReader("le contenu"))
	if err != nil {
		t.Fatal(err)
	}
	if again, was, err := a.AcceptJob(newTestJob(a, "1"), b); err != nil || !was || again.ID != j.ID || len(jobFiles(t, a.dir)) != 1 {
		t.Errorf("%+v %v %v", again, was, err)
	}
	other := newTestJob(a, "1")
	other.Fingerprint = []byte("other")
	if b, err = a.SpoolBody(strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.AcceptJob(other, b); !errors.Is(err, ErrOtherRequest) || len(jobFiles(t, a.dir)) != 1 {
		t.Error(err)
	}
	r, err := a.StartJob(j.ID)
	if err != nil || readBody(t, r) != "le contenu" || r.Request.Agent != "gru" || string(r.Request.Said) != `{"title":"Mme Martin"}` {
		t.Fatalf("%+v %v", r, err)
	}
	for what, err := range map[string]error{"begun": func() error { _, err := a.StartJob(j.ID); return err }(), "cancelled": func() error { _, err := a.CancelJob(j.ID); return err }()} {
		if !errors.Is(err, ErrBegun) {
			t.Errorf("%s while it runs: %v", what, err)
		}
	}
	d := depositIn(t, a, r)
	if err := r.Archived(d.Receipt.Index); err != nil {
		t.Fatal(err)
	}
	j, err = a.Job(j.ID)
	if err != nil || j.State != JobArchived || *j.Entry != d.Receipt.Index || len(jobFiles(t, a.dir)) != 0 || len(j.Events) != 3 {
		t.Errorf("%+v %v %v", j, err, jobFiles(t, a.dir))
	}
	err = a.cat.view(func(t *tx) error {
		rec, s, err := t.jobRecord(j.ID)
		if err == nil && (rec.Key != nil || len(s.cipher) != 0) {
			err = fmt.Errorf("a key or a secret is left: %s", s.clear)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestJobAnswer: a refused job has its answer, enciphered, until it is forgotten.
func TestJobAnswer(t *testing.T) {
	a := newArchive(t, nil)
	j := acceptTestJob(t, a, "1", "x")
	if _, err := a.JobAnswer(j.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	r, err := a.StartJob(j.ID)
	if err == nil {
		err = r.Refused("refused", []byte("Mme Martin"))
	}
	if err != nil {
		t.Fatal(err)
	}
	names := jobFiles(t, a.dir)
	if b, err := a.JobAnswer(j.ID); err != nil || string(b) != "Mme Martin" || len(names) != 1 {
		t.Errorf("%q %v %v", b, err, names)
	}
	if raw, err := os.ReadFile(filepath.Join(a.dir, jobDir, names[0])); err != nil || bytes.Contains(raw, []byte("Martin")) {
		t.Errorf("%q %v", raw, err)
	}
	if n, err := a.ForgetJobs(); n != 0 || err != nil {
		t.Error(n, err)
	}
	if _, err := a.changeJob(j.ID, func(r *jobRecord, _ [32]byte, _ []byte) (bool, error) {
		r.Events[len(r.Events)-1].Time = now().Add(-KeepJob - time.Minute)
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	if n, err := a.ForgetJobs(); n != 1 || err != nil || len(jobFiles(t, a.dir)) != 0 {
		t.Error(n, err, jobFiles(t, a.dir))
	}
	if _, err := a.Job(j.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if all, _, err := a.Jobs(JobFilter{Tenant: "archives", Limit: 10}); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

// TestRecoverJobs: what a process left is taken up, whatever it was doing.
func TestRecoverJobs(t *testing.T) {
	a, err := Open(createEdited(t, nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	waits, runs, lost := acceptTestJob(t, a, "waits", "1"), acceptTestJob(t, a, "runs", "2"), acceptTestJob(t, a, "lost", "3")
	done := acceptTestJob(t, a, "done", "4")
	r, err := a.StartJob(done.ID)
	if err != nil {
		t.Fatal(err)
	}
	d := depositIn(t, a, r) // and its body is left, as by a crash
	if _, err := a.StartJob(runs.ID); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(a.jobPath(lost.ID, bodyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SpoolBody(strings.NewReader("of nobody")); err != nil {
		t.Fatal(err)
	}
	if n := len(jobFiles(t, a.dir)); n != 4 {
		t.Fatalf("%d files", n)
	}
	dir := a.dir
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if a, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	waiting, err := a.RecoverJobs()
	if err != nil || len(waiting) != 2 || waiting[0].ID != waits.ID || waiting[1].ID != runs.ID || waiting[1].State != JobReceived {
		t.Errorf("%+v %v", waiting, err)
	}
	if n := len(jobFiles(t, a.dir)); n != 2 {
		t.Errorf("%d files", n)
	}
	if j, err := a.Job(lost.ID); err != nil || j.State != JobRefused || j.Events[len(j.Events)-1].Code != CodeBodyLost {
		t.Errorf("%+v %v", j, err)
	}
	if j, err := a.Job(done.ID); err != nil || j.State != JobArchived || *j.Entry != d.Receipt.Index {
		t.Errorf("%+v %v", j, err)
	}
	if r, err := a.StartJob(runs.ID); err != nil || readBody(t, r) != "2" {
		t.Error(err)
	}
}

// TestErasureOfJobs: what is destroyed takes the shared key of jobs with it: an old copy of a body does
// not open with an old copy of its row, while those that wait still do.
func TestErasureOfJobs(t *testing.T) {
	a := newArchive(t, nil)
	j := acceptTestJob(t, a, "1", "le contenu")
	old := map[string][]byte{}
	err := a.cat.view(func(t *tx) error {
		return t.scan(bktKey, nil, nil, func(k, v []byte) (bool, error) {
			old[string(k)] = bytes.Clone(v)
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	before := mustJobKey(t, a)
	a.acting.Lock()
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.AccessLogPurged, Tenant: "archives", Agent: agentID(a.indexKey, "tester")},
		detail: func(position) any { return integrity.AccessLogPurgedDetail{Before: "2026-01-01"} }}
	_, err = a.commitNewRoot(context.Background(), "tester", op, a.config.Slots.kept(), func(t *tx, _ position, root [rootSize]byte) error { return a.rekey(t, nil, root, nil) })
	a.acting.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if mustJobKey(t, a) == before {
		t.Error("the shared key of jobs outlives what was destroyed")
	}
	err = a.cat.view(func(*tx) error {
		_, err := a.vault.Unwrap(oldKeys(old), jobKeyNumber)
		return err
	})
	if err == nil {
		t.Error("an old copy of the catalogue opens it")
	}
	r, err := a.StartJob(j.ID)
	if err != nil || readBody(t, r) != "le contenu" || r.Request.Agent != "gru" {
		t.Errorf("what waits does not open any more: %v", err)
	}
}

func mustJobKey(t *testing.T, a *Archive) (key [32]byte) {
	t.Helper()
	err := a.cat.view(func(t *tx) (err error) {
		key, err = a.jobKey(t)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// oldKeys is the key tree of an old copy.
type oldKeys map[string][]byte

func (o oldKeys) Get(level int, index uint64) ([]byte, error) {
	return o[string(wrappedKey(level, index))], nil
}
func (o oldKeys) Put(int, uint64, []byte) error { return errors.New("an old copy is not written") }
func (o oldKeys) Delete(int, uint64) error      { return errors.New("an old copy is not written") }

// TestSpoolBodyFails: what cannot be kept whole is not kept, at whatever step it fails.
func TestSpoolBodyFails(t *testing.T) {
	boom := errors.New("boom")
	a := newArchive(t, nil)
	if _, err := a.SpoolBody(iotest.ErrReader(boom)); !errors.Is(err, boom) || len(jobFiles(t, a.dir)) != 0 {
		t.Error(err, jobFiles(t, a.dir))
	}
	acceptTestJob(t, a, "first", "x")
	for _, op := range []durable.Op{durable.OpCreate, durable.OpWrite, durable.OpSync, durable.OpSyncDir} {
		a.fs.Fault = func(at durable.Op, path string) error {
			if at == op && strings.Contains(path, jobDir) {
				return boom
			}
			return nil
		}
		b, err := a.SpoolBody(strings.NewReader("x"))
		if !errors.Is(err, boom) || b != nil {
			t.Errorf("%s: %v", op, err)
		}
		a.fs.Fault = nil
		if names := jobFiles(t, a.dir); len(names) != 1 {
			t.Errorf("%s: %v", op, names)
		}
	}
}

// TestOldJobs: of too many the oldest are forgotten before their time, and none that waits.
func TestOldJobs(t *testing.T) {
	a := newArchive(t, nil)
	var ids []string
	for i := range 4 {
		ids = append(ids, acceptTestJob(t, a, fmt.Sprint(i), "x").ID)
	}
	for _, id := range ids[1:] {
		if _, err := a.CancelJob(id); err != nil {
			t.Fatal(err)
		}
	}
	old, err := a.oldJobs(now().Add(-KeepJob), 2)
	if err != nil || len(old) != 1 || old[0].ID != ids[1] {
		t.Errorf("%+v %v", old, err)
	}
}

// TestBeginJob: a body that comes in pieces is worked off when it is complete, once, and stays until
// then whatever happens.
func TestBeginJob(t *testing.T) {
	a := newArchive(t, nil)
	n := newTestJob(a, "1")
	j, was, err := a.BeginJob(n)
	if err != nil || was {
		t.Fatal(j, was, err)
	}
	if again, was, err := a.BeginJob(n); err != nil || !was || again.ID != j.ID {
		t.Error(again, was, err)
	}
	key, ad, file, said, err := a.JobKey(j.ID)
	if err != nil || said.Agent != "gru" {
		t.Fatal(said, err)
	}
	if _, err := a.StartJob(j.ID); !errors.Is(err, ErrBegun) {
		t.Error(err)
	}
	if _, _, err := a.CompleteJob(j.ID, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w, err := stream.NewWriter(f, key, ad)
	if err == nil {
		_, err = io.WriteString(w, "le contenu")
	}
	if err = errors.Join(err, w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if waiting, err := a.RecoverJobs(); err != nil || len(waiting) > 0 || len(jobFiles(t, a.dir)) != 1 {
		t.Error(waiting, err, jobFiles(t, a.dir))
	}
	if all, _, err := a.Jobs(JobFilter{Tenant: "archives", Limit: 10}); err != nil || len(all) > 0 {
		t.Error(all, err)
	}
	said.Said = []byte(`{"kind":"transfer"}`)
	for _, want := range []bool{false, true} {
		if j, was, err := a.CompleteJob(j.ID, &said); err != nil || was != want || j.State != JobReceived || j.Size == 0 {
			t.Errorf("%+v %v %v", j, was, err)
		}
	}
	if all, _, err := a.Jobs(JobFilter{Tenant: "archives", Limit: 10}); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
	if r, err := a.StartJob(j.ID); err != nil || readBody(t, r) != "le contenu" || string(r.Request.Said) != string(said.Said) {
		t.Errorf("%+v %v", r, err)
	}
}

// TestJobFaults: whichever transaction of a job fails, before it took place or after, who asks again
// after a restart has the deposit once, and nothing is left.
func TestJobFaults(t *testing.T) {
	boom := errors.New("boom")
	for _, step := range []string{"commit", "committed"} {
		for at := 1; ; at++ {
			dir, n := createEdited(t, nil), 0
			fault := func(s string) error {
				if s == step {
					if n++; n == at {
						return boom
					}
				}
				return nil
			}
			failed := workJobOff(t, dir, Options{CatalogueFault: fault})
			if err := workJobOff(t, dir, Options{}); err != nil {
				t.Errorf("%s %d: after a restart: %v", step, at, err)
			}
			a, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			page, err := a.List(Filter{Limit: 10})
			if err != nil || len(page.Units) != 1 {
				t.Errorf("%s %d: %d units, %v", step, at, len(page.Units), err)
			}
			if names := jobFiles(t, dir); len(names) > 0 {
				t.Errorf("%s %d: left %v", step, at, names)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if failed == nil {
				if at < 5 {
					t.Errorf("%s: only %d transactions", step, at-1)
				}
				break
			}
		}
	}
}

// workJobOff opens the archive, takes up what was left, accepts a job, which may be there, and works it
// off, as far as nothing fails.
func workJobOff(t *testing.T, dir string, o Options) error {
	a, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.RecoverJobs(); err != nil {
		return err
	}
	b, err := a.SpoolBody(strings.NewReader("le contenu"))
	if err != nil {
		return err
	}
	n := newTestJob(a, "1")
	j, _, err := a.AcceptJob(n, b)
	if err != nil || j.State == JobArchived {
		return err
	}
	r, err := a.StartJob(j.ID)
	if err != nil {
		return err
	}
	d, err := a.Deposit(r.Context(context.Background()), r.Request.Agent, Deposit{Tenant: r.Tenant, Units: []NewUnit{{Parent: -1, Title: "Demande", Channel: Digital, Content: text("f.txt", readBody(t, r))}}})
	if err != nil {
		return err
	}
	return r.Archived(d.Receipt.Index)
}

// TestRebuildWithJobs: what waits is of the catalogue that is lost; what was archived is known by the
// journal, and the key of jobs works on.
func TestRebuildWithJobs(t *testing.T) {
	dir := createEdited(t, nil)
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	waits, done := acceptTestJob(t, a, "waits", "1"), acceptTestJob(t, a, "done", "2")
	r, err := a.StartJob(done.ID)
	if err != nil {
		t.Fatal(err)
	}
	d := depositIn(t, a, r)
	offer := a.config.Offers[0].Path
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, catalogueFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Rebuild(context.Background(), RebuildFrom{Dir: dir, Path: offer}); err != nil {
		t.Fatal(err)
	}
	if a, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	waiting, err := a.RecoverJobs()
	if err != nil || len(waiting) > 0 || len(jobFiles(t, dir)) > 0 {
		t.Errorf("%+v %v %v", waiting, err, jobFiles(t, dir))
	}
	if j, err := a.Job(waits.ID); !errors.Is(err, ErrNotFound) && (err != nil || j.State != JobRefused) {
		t.Errorf("%+v %v", j, err)
	}
	if j, err := a.Job(done.ID); err != nil || j.State != JobArchived || *j.Entry != d.Receipt.Index {
		t.Errorf("%+v %v", j, err)
	}
	j := acceptTestJob(t, a, "after", "3")
	if r, err := a.StartJob(j.ID); err != nil || readBody(t, r) != "3" {
		t.Error(err)
	}
	if f, err := a.Fsck(context.Background()); err != nil || len(f.Findings) > 0 {
		t.Errorf("%+v %v", f, err)
	}
}
