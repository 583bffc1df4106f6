package api

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

// depositLater asks for a deposit that is worked off later.
func (s *served) depositLater(key, once, content string, headers ...string) *reply {
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", content, nil})
	return s.ask(key, "POST", "/v1/deposits", body, append([]string{"Content-Type", ct, "Idempotency-Key", once, "Prefer", "respond-async"}, headers...)...)
}

// ended waits until an operation has ended.
func (s *served) ended(key, at string) Operation {
	s.t.Helper()
	r := s.ask(key, "GET", at, nil, "Prefer", "wait=30")
	if r.StatusCode != 200 {
		s.t.Fatalf("%s: %s %s", at, r.Status, r.body)
	}
	return decode[Operation](s.t, r.body)
}

func TestDepositLater(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	r := s.depositLater(key, "1", "contenu")
	at := r.Header.Get("Location")
	if r.StatusCode != 202 || !strings.HasPrefix(at, "/v1/operations/j") || r.Header.Get("Preference-Applied") != "respond-async" {
		t.Fatalf("%s %v %s\n%s", r.Status, r.Header, r.body, s.log)
	}
	o := s.ended(key, at)
	if o.Status != archive.JobArchived || o.Entry == nil || o.Ended == nil || len(o.Events) != 3 || o.Events[0].Status != archive.JobReceived || o.Events[1].Status != archive.JobRunning {
		t.Fatalf("%+v\n%s", o, s.log)
	}
	d := decode[Deposited](t, s.ask(key, "GET", o.Deposit, nil).body)
	if len(d.Units) != 1 || d.Entry != *o.Entry {
		t.Errorf("%+v", d)
	}
	// A retry, with other boundaries; then at once, under the same key; then another request.
	if r := s.depositLater(key, "1", "contenu"); r.StatusCode != 202 || r.Header.Get("Location") != at || r.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s %v %s", r.Status, r.Header, r.body)
	}
	if now := s.deposited(key, "1", "contenu"); now.Operation != d.Operation {
		t.Errorf("at once it is another deposit: %+v", now)
	}
	if r := s.depositLater(key, "1", "autre"); r.StatusCode != 422 || r.problem(t).Code != "key-reused" {
		t.Errorf("%s %s", r.Status, r.body)
	}
	before := s.deposited(key, "2", "y")
	if o := s.ended(key, s.depositLater(key, "2", "y").Header.Get("Location")); o.Status != archive.JobArchived || *o.Entry != before.Entry {
		t.Errorf("what was deposited at once is deposited again: %+v", o)
	}
	if r := s.depositLater(key, "3", "z", "Prefer", "respond-async, wait=30"); r.StatusCode != 201 || decode[Deposited](t, r.body).Sealed == nil || r.Header.Get("Preference-Applied") != "respond-async, wait=30" {
		t.Errorf("%s %v %s", r.Status, r.Header, r.body)
	}
	if n := s.units("cd99"); n != 3 {
		t.Errorf("%d units", n)
	}
	s.noJobFiles()
}

// noJobFiles wants nothing in the folder of jobs.
func (s *served) noJobFiles() {
	s.t.Helper()
	var names []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(filepath.Join(s.dir, "jobs"))
		if err != nil {
			s.t.Fatal(err)
		}
		if names = names[:0]; len(entries) == 0 {
			return
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	s.t.Errorf("left: %v", names)
}

func TestDepositLaterRefused(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	ct, body := form(part{"metadata", oneFile, nil}, part{"other", "x", nil})
	if r := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "1", "Prefer", "respond-async"); r.StatusCode != 400 || r.problem(t).Code != "malformed" {
		t.Errorf("what cannot be read is taken: %s %s", r.Status, r.body)
	}
	if r := s.depositLater(key, "1", "x", "Content-Digest", digestOf([]byte("y"))); r.StatusCode != 400 || r.problem(t).Code != "digest-mismatch" {
		t.Errorf("%s %s", r.Status, r.body)
	}
	ct, body = form(part{"metadata", `{"archivalAgreement":"nowhere","units":[{"title":"Mme Martin","channel":"unheard"}]}`, nil})
	r := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "2", "Prefer", "respond-async")
	if r.StatusCode != 422 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	ct, body = form(part{"metadata", `{"archivalAgreement":"nowhere","units":[{"title":"Mme Martin"}]}`, nil})
	r = s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "3", "Prefer", "respond-async")
	o := s.ended(key, r.Header.Get("Location"))
	if o.Status != archive.JobRefused || o.Problem == nil || o.Problem.Code != "refused" || len(o.Problem.Faults) == 0 || o.Problem.Title == "" || o.Entry != nil {
		t.Errorf("%+v", o)
	}
	if events := s.ask(key, "GET", "/v1/events", nil); !strings.Contains(string(events.body), "sae.refused") || !strings.Contains(string(events.body), o.ID) {
		t.Errorf("the refusal is not told: %s %s", events.Status, events.body)
	}
	fr := decode[Operation](t, s.ask(key, "GET", r.Header.Get("Location"), nil, "Accept-Language", "fr").body)
	if fr.Problem == nil || fr.Problem.Title != "Refusé" {
		t.Errorf("%+v", fr.Problem)
	}
	if n := s.units("cd99"); n != 0 {
		t.Errorf("%d units", n)
	}
}

func TestTransferLater(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	put := func(once, prefer string, body []byte) *reply {
		return s.ask(key, "PUT", "/v1/transfers/sip.zip", bytes.NewReader(body), "Content-Type", "application/zip", "Idempotency-Key", once, "Prefer", prefer)
	}
	body := sip(t, "default").Bytes()
	r := put("1", "respond-async", body)
	o := s.ended(key, r.Header.Get("Location"))
	if r.StatusCode != 202 || o.Status != archive.JobArchived || o.Reply == "" {
		t.Fatalf("%s %+v\n%s", r.Status, o, s.log)
	}
	got := s.ask(key, "GET", o.Reply, nil)
	if got.StatusCode != 200 || !bytes.Contains(got.body, []byte("<SystemId>u")) || got.Header.Get("Repr-Digest") != digestOf(got.body) {
		t.Errorf("%s %s", got.Status, got.body)
	}
	if at := put("1", "return=minimal", body); at.StatusCode != 201 || !bytes.Equal(at.body, got.body) {
		t.Errorf("at once: %s %s", at.Status, at.body)
	}
	if waited := put("1", `respond-async, wait=30`, body); waited.StatusCode != 201 || !bytes.Equal(waited.body, got.body) {
		t.Errorf("waited for: %s %s", waited.Status, waited.body)
	}
	for once, body := range map[string][]byte{"2": sip(t, "nowhere").Bytes(), "3": []byte("no package")} {
		o := s.ended(key, put(once, "respond-async", body).Header.Get("Location"))
		if o.Status != archive.JobRefused || o.Problem == nil || len(o.Problem.Faults) == 0 {
			t.Errorf("%+v", o)
		}
		if r := s.ask(key, "GET", o.Reply, nil); r.StatusCode != 200 || !bytes.Contains(r.body, []byte("<ReplyCode>KO</ReplyCode>")) {
			t.Errorf("%s %s", r.Status, r.body)
		}
		if r := s.ask(s.key("cd99", archive.Archivist), "GET", o.Reply, nil); r.StatusCode != 404 {
			t.Errorf("the reply to another: %s %s", r.Status, r.body)
		}
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
}

// TestOperationsAreOnesOwn: a depositor is told of his own, an archivist of those of the tenant, another
// tenant of none.
func TestOperationsAreOnesOwn(t *testing.T) {
	s := serve(t, nil)
	own, archivist := s.key("cd99", archive.Depositor), s.key("cd99", archive.Archivist)
	_, other, err := s.a.CreateAPIKey(context.Background(), "administrator", archive.NewAPIKey{Tenant: "cd99", Name: "depositor-2", Roles: []archive.Role{archive.Depositor}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i := range 5 {
		all = append(all, decode[Operation](t, s.depositLater(own, strings.Repeat("k", i+1), "x").body).ID)
	}
	list := func(key, query string) (ids []string, next string) {
		page := decode[struct {
			Operations []Operation
			Next       string
		}](t, s.ask(key, "GET", "/v1/operations"+query, nil).body)
		for _, o := range page.Operations {
			ids = append(ids, o.ID)
		}
		return ids, page.Next
	}
	for _, key := range []string{own, archivist} {
		var got []string
		for next := "first"; next != ""; {
			query := "?limit=2"
			if next != "first" {
				query += "&after=" + next
			}
			var ids []string
			ids, next = list(key, query)
			got = append(got, ids...)
		}
		if strings.Join(got, " ") != strings.Join(all, " ") {
			t.Errorf("%v, want %v", got, all)
		}
	}
	for _, key := range []string{other, s.key("cd98", archive.Archivist), s.key("cd98", archive.Depositor)} {
		if ids, _ := list(key, ""); len(ids) != 0 {
			t.Errorf("%v", ids)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if r := s.ask(key, method, "/v1/operations/"+all[0], nil, "Idempotency-Key", "x"); r.StatusCode != 404 {
				t.Errorf("%s %s %s", method, r.Status, r.body)
			}
		}
	}
}

// stuck is a queue that does nothing.
func stuck(t *testing.T, edit func(*serving.Config)) *served {
	t.Helper()
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	return serveHeld(t, edit, hold)
}

func TestQueueIsBounded(t *testing.T) {
	s := stuck(t, func(c *serving.Config) { c.Limits.Waiting, c.Limits.WaitingBytes = 3, 10_000 })
	key := s.key("cd99", archive.Depositor)
	for once, size := range map[string]int{"a": 10, "b": 6000} {
		if r := s.depositLater(key, once, strings.Repeat("x", size)); r.StatusCode != 202 {
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
	for size, want := range map[int]string{6000: "queue-full", 11_000: "too-large"} {
		r := s.depositLater(key, "c", strings.Repeat("x", size))
		if p := r.problem(t); p.Code != want && !(size == 11_000 && p.Code == "queue-full") {
			t.Errorf("%s %s", r.Status, r.body)
		} else if p.Code == "queue-full" && r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if r := s.depositLater(key, "a", strings.Repeat("x", 10)); r.StatusCode != 202 {
		t.Errorf("a retry while it waits: %s %s", r.Status, r.body)
	}
	third := s.depositLater(key, "d", "x")
	if third.StatusCode != 202 {
		t.Fatalf("what was refused counts: %s %s", third.Status, third.body)
	}
	if r := s.depositLater(key, "e", "x"); r.StatusCode != 503 || r.problem(t).Code != "queue-full" {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.depositLater(s.key("cd98", archive.Depositor), "e", "x"); r.StatusCode != 202 {
		t.Errorf("of another tenant: %s %s", r.Status, r.body)
	}
	for range 2 {
		r := s.ask(key, "DELETE", third.Header.Get("Location"), nil, "Idempotency-Key", "x")
		if o := decode[Operation](t, r.body); r.StatusCode != 200 || o.Status != archive.JobCancelled {
			t.Errorf("%s %s", r.Status, r.body)
		}
	}
	if r := s.depositLater(key, "f", "x"); r.StatusCode != 202 {
		t.Errorf("after a cancellation: %s %s", r.Status, r.body)
	}
	if r := s.ask(key, "GET", third.Header.Get("Location")+"/reply", nil); r.StatusCode != 404 {
		t.Errorf("%s %s", r.Status, r.body)
	}
}

// TestNothingInClear: while a deposit waits, and after it was refused, no file has anything of it.
func TestNothingInClear(t *testing.T) {
	s := stuck(t, nil)
	key := s.key("cd99", archive.Depositor)
	const secret = "Martin-Durand"
	ct, body := form(part{"metadata", `{"units":[{"title":"` + secret + `","content":{"part":"f","filename":"` + secret + `.txt"}}]}`, nil}, part{"f", strings.Repeat(secret+" ", 20_000), nil})
	r := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "1", "Prefer", "respond-async")
	if r.StatusCode != 202 {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	mustNotHold(t, s.dir, secret)
}

// mustNotHold fails when a file below dir has the text.
func mustNotHold(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			t.Errorf("%s has it in clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestQueueRetries: what fails for now is tried again, what panics too, and is archived once.
func TestQueueRetries(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	var mu sync.Mutex
	n := 0
	s.queue.mu.Lock()
	real := s.queue.work
	s.queue.work = func(ctx context.Context, r *archive.RunningJob) (int64, *jobAnswer, error) {
		mu.Lock()
		n++
		now := n
		mu.Unlock()
		switch now {
		case 1:
			return 0, nil, io.ErrShortWrite // such as of a disk
		case 2:
			panic("boom")
		}
		return real(ctx, r)
	}
	s.queue.mu.Unlock()
	at := s.depositLater(key, "1", "x").Header.Get("Location")
	o := s.ended(key, at)
	var codes []string
	for _, e := range o.Events {
		codes = append(codes, string(e.Status)+e.Code)
	}
	if o.Status != archive.JobArchived || strings.Join(codes, " ") != "received running delayedinternal running delayedinternal running archived" {
		t.Errorf("%v\n%s", codes, s.log)
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
}

// TestQueueOutlivesAnOffer: what comes while no place for copies is there waits until one is.
func TestQueueOutlivesAnOffer(t *testing.T) {
	s := serve(t, nil)
	key, offers := s.key("cd99", archive.Depositor), filepath.Join(s.dir, "offers")
	err := os.Rename(offers, offers+".away")
	if err == nil {
		err = os.WriteFile(offers, nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	at := s.depositLater(key, "1", "x").Header.Get("Location")
	var o Operation
	for end := time.Now().Add(20 * time.Second); o.Status != archive.JobDelayed && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		o = decode[Operation](t, s.ask(key, "GET", at, nil).body)
	}
	if o.Status != archive.JobDelayed || o.Retry == nil {
		t.Errorf("%+v", o)
	}
	if err = os.Remove(offers); err == nil {
		err = os.Rename(offers+".away", offers)
	}
	if err != nil {
		t.Fatal(err)
	}
	if o := s.ended(key, at); o.Status != archive.JobArchived {
		t.Errorf("%+v\n%s", o, s.log)
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
}

// TestNoSpace: what does not find space is refused, counts nowhere and leaves nothing.
func TestNoSpace(t *testing.T) {
	s := stuck(t, nil)
	full := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(&fs.PathError{Op: "write", Path: "body", Err: syscall.ENOSPC}))
	n := archive.NewJob{ID: archive.NewJobID(), Tenant: "cd99", Kind: kindTransfer, JobRequest: archive.JobRequest{Agent: "gru", Key: "1"}}
	_, _, err := s.queue.accept(n, full, func(*archive.JobBody, *archive.NewJob) error { return nil })
	if p := problemOf(err); p.Code != "no-space" || p.Status != 503 {
		t.Errorf("%+v", p)
	}
	if l := s.queue.load("cd99"); l.n != 0 || l.bytes != 0 {
		t.Errorf("%+v", l)
	}
	if entries, err := os.ReadDir(filepath.Join(s.dir, "jobs")); err != nil || len(entries) > 0 {
		t.Errorf("%v %v", entries, err)
	}
}

// TestQueueIsFair: a tenant of which nothing is under way comes before one that has much.
func TestQueueIsFair(t *testing.T) {
	q := &Queue{loads: map[string]*queueLoad{}, changed: make(chan struct{})}
	now := time.Now()
	for i, tenant := range []string{"a", "a", "a", "b"} {
		q.waiting = append(q.waiting, waitingJob{id: tenant + string(rune('0'+i)), tenant: tenant})
	}
	q.waiting = append(q.waiting, waitingJob{id: "c4", tenant: "c", at: now.Add(time.Minute)})
	var got []string
	for {
		w, wait, _ := q.take(now)
		if w == nil {
			if wait != time.Minute {
				t.Errorf("it waits %s", wait)
			}
			break
		}
		got = append(got, w.id)
	}
	if strings.Join(got, " ") != "a0 b3 a1 a2" {
		t.Errorf("%v", got)
	}
}
