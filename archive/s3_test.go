package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sae/archive/s3"
	"sae/archive/s3/s3test"
)

// inCloud makes an archive with two folders and a bucket as offers.
func inCloud(t *testing.T, lock, policy string) (dir string, r *s3test.Running, bucket s3.Config) {
	t.Helper()
	r = s3test.Start(t, s3test.MinIO)
	bucket = r.Bucket(t, lock)
	dir = createEdited(t, func(c string) string { return strings.Replace(c, "offer-down: refuse", policy, 1) })
	if err := AddOffer(context.Background(), dir, OfferConfig{Name: "cloud", S3: &bucket}, Options{}); err != nil {
		t.Fatal(err)
	}
	return dir, r, bucket
}

func reopened(t *testing.T, dir string) *Archive {
	t.Helper()
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestBucketIsEnough: with the folders and the catalogue lost, the bucket and the root key
// bring all back.
func TestBucketIsEnough(t *testing.T) {
	dir, _, bucket := inCloud(t, "", "offer-down: refuse")
	a := reopened(t, dir)
	big := strings.Repeat("b", 20<<20) // several parts
	d := deposit(t, a, digital("small", "s"), digital("big", big), digital("empty", ""))
	units := manyUnits(40)
	packed := deposit(t, a, units...)
	checkUnits(t, a, packed, units)
	if _, err := a.Seal(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() || r.Copies != 9+3*41 {
		t.Fatalf("%+v %v", r, err)
	}
	before := rows(t, a)
	a.Close()
	from := RebuildFrom{Dir: filepath.Join(t.TempDir(), "new"), S3: &bucket, Root: filepath.Join(dir, "keys/root")}
	if _, err := Rebuild(context.Background(), from); err != nil {
		t.Fatal(err)
	}
	b := reopened(t, from.Dir)
	defer b.Close()
	sameRows(t, "rebuilt", before, rows(t, b))
	checkUnits(t, b, packed, units)
	for i, want := range []string{"s", big, ""} {
		var out bytes.Buffer
		if _, _, err := b.Get(context.Background(), d.Units[i].Objects[0].ID, &out); err != nil || out.String() != want {
			t.Errorf("%d bytes, %v", out.Len(), err)
		}
	}
}

// TestBucketDamaged: what somebody did to the bucket is found and repaired from the folders,
// and the other way round; copies that were missing while the server was down are made.
func TestBucketDamaged(t *testing.T) {
	dir, r, bucket := inCloud(t, "", "offer-down: queue")
	editConfig(t, dir, func(c string) string { return strings.Replace(c, "copies: 2", "copies: 1", 1) })
	a := reopened(t, dir)
	d := deposit(t, a, digital("one", "1"), digital("two", "2"), digital("three", "3"))
	object := func(i int) string {
		o, err := a.Object(d.Units[i].Objects[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return o.record.Blob
	}
	ctx := context.Background()
	if err := r.Client.RemoveObject(ctx, bucket.Bucket, "sae/blobs/"+object(0), minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Client.PutObject(ctx, bucket.Bucket, "sae/blobs/"+object(1), strings.NewReader("other"), 5, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Client.PutObject(ctx, bucket.Bucket, "sae/blobs/extra", strings.NewReader("other"), 5, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, offer := range []string{"first", "second"} {
		if err := os.RemoveAll(filepath.Join(dir, "offers", offer, "blobs")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "offers", offer, "blobs"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	report, err := a.Audit(ctx, "test", AuditOptions{Sample: 1, Repair: true})
	if err != nil || report.Lost != 2*3 || report.Objects != 3 {
		t.Errorf("%+v %v", report, err)
	}
	var out bytes.Buffer
	if _, _, err := a.Get(ctx, d.Units[2].Objects[0].ID, &out); err != nil || out.String() != "3" { // from the bucket
		t.Error(out.String(), err)
	}
	r.Stop()
	e := deposit(t, a, digital("while down", "4"))
	r.Restart()
	if s, err := a.Status(); err != nil || s.Offers[2].Missing < 1 {
		t.Errorf("%+v %v", s.Offers, err)
	}
	if q, err := a.RepairQueue(ctx, "test"); err != nil || len(q.Left) > 0 || q.Copies < 2 {
		t.Errorf("%+v %v", q, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "offers/first/blobs")); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if _, _, err := a.Get(ctx, e.Units[0].Objects[0].ID, &out); err != nil || out.String() != "4" {
		t.Error(out.String(), err)
	}
	a.Close()
}

// TestBucketDown: where the policy refuses, a deposit is refused by name, and nothing of it
// stays in the folders.
func TestBucketDown(t *testing.T) {
	dir, r, _ := inCloud(t, "", "offer-down: refuse")
	a := reopened(t, dir)
	defer a.Close()
	deposit(t, a, digital("before", "1"))
	r.Stop()
	a.pause = time.Hour
	for _, want := range []string{"offer cloud", "failed a moment ago"} {
		_, err := a.Deposit(context.Background(), "test", Deposit{Units: []NewUnit{digital("while down", "2")}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatal(err)
		}
	}
	r.Restart()
	a.offers[2].ailing.Store(nil)
	deposit(t, a, digital("after", "3"))
	if report, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !report.Sound() || report.Objects != 2 {
		t.Errorf("%+v %v", report, err)
	}
}

// TestOffers adds a folder, drains another and removes it; the configuration keeps its comments.
func TestOffers(t *testing.T) {
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	var many []NewUnit
	for range 30 {
		many = append(many, digital("one", strings.Repeat("1", 100_000)))
	}
	d := deposit(t, a, many...)
	a.Close()
	ctx := context.Background()
	third := filepath.Join(t.TempDir(), "third")
	if err := AddOffer(ctx, dir, OfferConfig{Name: "third", Path: third}, Options{}); err != nil {
		t.Fatal(err)
	}
	var refused *Refusal
	if err := AddOffer(ctx, dir, OfferConfig{Name: "third", Path: third + "x"}, Options{}); !errors.As(err, &refused) {
		t.Error(err)
	}
	a = reopened(t, dir)
	if err := a.RemoveOffer(ctx, "test", "first"); err == nil || !strings.Contains(err.Error(), "drain") {
		t.Error(err)
	}
	a.Close()
	if err := DrainOffer(dir, "first", true, Options{}); err != nil {
		t.Fatal(err)
	}
	a = reopened(t, dir)
	if err := a.RemoveOffer(ctx, "test", "first"); err == nil || !strings.Contains(err.Error(), "too few copies") {
		t.Error(err)
	}
	stopped, cancel := context.WithCancel(ctx)
	begun, err := a.SyncOffer(stopped, "test", "third", SyncOptions{Bandwidth: 10 << 20, Progress: func(int64, int64, int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) || begun.Made == 0 {
		t.Errorf("%+v %v", begun, err)
	}
	s, err := a.SyncOffer(ctx, "test", "third", SyncOptions{})
	if err != nil || len(s.Left) > 0 || s.Made == 0 || s.Made+begun.Made > s.Wanted {
		t.Errorf("%+v %v", s, err)
	}
	if err := a.RemoveOffer(ctx, "test", "first"); err != nil {
		t.Fatal(err)
	}
	a.Close()
	text := string(readFile(t, filepath.Join(dir, ConfigName)))
	if strings.Contains(text, "offers/first") || strings.Contains(text, "drain") || !strings.Contains(text, "path: "+third) || !strings.Contains(text, "# Where the copies lie") {
		t.Error(text)
	}
	if err := os.RemoveAll(filepath.Join(dir, "offers")); err != nil { // the second is lost too
		t.Fatal(err)
	}
	a = reopened(t, dir)
	defer a.Close()
	for _, u := range d.Units {
		var out bytes.Buffer
		if _, _, err := a.Get(ctx, u.Objects[0].ID, &out); err != nil || out.Len() == 0 {
			t.Error(err)
		}
	}
}

// TestSyncLooksAtWhatIsOwed: a copy that lies in an offer and is owed to it all the same, since
// a sync of the offer failed, is read before it counts; a bad one is replaced.
func TestSyncLooksAtWhatIsOwed(t *testing.T) {
	ctx := context.Background()
	a := reopened(t, createEdited(t, nil))
	defer a.Close()
	d := deposit(t, a, digital("one", "1"), digital("two", "2"))
	for i := range 2 {
		path := blobPath(t, a, 1, d.Units[i].Objects[0].ID)
		if i == 0 {
			b := readFile(t, path)
			b[len(b)-1] ^= 1
			writeFileAt(t, path, b)
		}
		err := a.cat.update(func(tx *tx) error {
			return tx.put(bktDebt, debtKey("second", filepath.Base(path)), mustJSON(debtRecord{Why: "test"}))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := a.SyncOffer(ctx, "test", "second", SyncOptions{})
	if err != nil || s.Made != 1 || s.Settled != 1 || len(s.Left) > 0 {
		t.Errorf("%+v %v", s, err)
	}
	if st, err := a.Status(); err != nil || st.Offers[1].Missing != 0 {
		t.Errorf("%+v %v", st.Offers, err)
	}
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
}

// TestPolicies: copies go where the agreement's policy, or the StorageRule, wants them.
func TestPolicies(t *testing.T) {
	dir := createEdited(t, func(c string) string {
		c = strings.Replace(c, "  offer-down: refuse\n", "  offer-down: refuse\n  policies:\n    - id: light\n      copies: 1\n      offers: [first]\n    - id: cold\n      copies: 1\n      offers: [first]\n      later: [second]\n", 1)
		return strings.Replace(c, "      - id: general\n", "      - id: small\n        storage: light\n      - id: old\n        storage: cold\n      - id: general\n", 1)
	})
	a := reopened(t, dir)
	defer a.Close()
	where := func(agreement string) (in []string, owed int64) {
		t.Helper()
		d, err := a.Deposit(context.Background(), "test", Deposit{Agreement: agreement, Units: []NewUnit{digital("x", agreement)}})
		if err != nil {
			t.Fatal(err)
		}
		o, err := a.Object(d.Units[0].Objects[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range a.offers {
			if b, err := of.blobs.Open(context.Background(), o.record.Blob); err == nil {
				in = append(in, of.name)
				b.Close()
			}
		}
		s, err := a.Status()
		if err != nil {
			t.Fatal(err)
		}
		return in, s.Offers[1].Missing
	}
	for agreement, want := range map[string]string{"small": "first", "general": "first second"} {
		if in, owed := where(agreement); strings.Join(in, " ") != want || owed != 0 {
			t.Errorf("%s: in %v, %d owed", agreement, in, owed)
		}
	}
	if in, owed := where("old"); strings.Join(in, " ") != "first" || owed != 1 {
		t.Errorf("in %v, %d owed", in, owed)
	}
	if q, err := a.RepairQueue(context.Background(), "test"); err != nil || q.Copies != 1 || len(q.Left) > 0 {
		t.Errorf("%+v %v", q, err)
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() || r.Copies != 5 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestLocksFollowTheRule: copies are locked until the end of the rule, not longer; those of
// units without a known end, and of a deposit that failed, are not; copies made afterwards are
// locked too, and what could not be locked is locked later.
func TestLocksFollowTheRule(t *testing.T) {
	dir, r, bucket := inCloud(t, "compliance", "offer-down: queue")
	editConfig(t, dir, func(c string) string { return strings.Replace(c, "copies: 2", "copies: 1", 1) })
	a := reopened(t, dir)
	defer func() { a.Close() }()
	ruled := func(title, start string) NewUnit {
		u := digital(title, title)
		u.Rule, u.RuleStart = "EXAMPLE-5Y", start
		return u
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	start := today.AddDate(-4, 0, 0)
	lockOf := func(object string) time.Time {
		t.Helper()
		o, err := a.Object(object)
		if err != nil {
			t.Fatal(err)
		}
		_, until, err := r.Client.GetObjectRetention(context.Background(), bucket.Bucket, "sae/blobs/"+o.record.Blob, "")
		if err != nil || until == nil {
			return time.Time{}
		}
		return *until
	}
	end := start.AddDate(5, 0, 0)
	d := deposit(t, a, ruled("runs", start.Format(time.DateOnly)), digital("no rule", "x"), ruled("no start", ""), ruled("is over", "2001-01-01"))
	for i, want := range []bool{true, false, false, false} {
		if until := lockOf(d.Units[i].Objects[0].ID); !until.IsZero() != want || want && (until.After(end.Add(24*time.Hour)) || until.Before(end)) {
			t.Errorf("%s: locked until %v, the rule ends %v", d.Units[i].Title, until, end)
		}
	}
	a.packFrom = 4
	later := start.AddDate(0, 1, 0)
	var units []NewUnit
	for i := range 4 { // two packs: objects that are locked alike lie together
		units = append(units, ruled("packed", []time.Time{start, later}[i%2].Format(time.DateOnly)))
	}
	packed := deposit(t, a, units...)
	for i, u := range packed.Units {
		end := []time.Time{start, later}[i%2].AddDate(5, 0, 0)
		if until := lockOf(u.Objects[0].ID); until.Before(end) || until.After(end.Add(24*time.Hour)) {
			t.Errorf("a packed object is locked until %v, its rule ends %v", until, end)
		}
	}
	a.packFrom = packFrom
	// A hold is a legal hold of the copies, of packs too, until the last one is lifted.
	legal := func(object string) bool {
		t.Helper()
		o, err := a.Object(object)
		if err != nil {
			t.Fatal(err)
		}
		on, err := r.Client.GetObjectLegalHold(context.Background(), bucket.Bucket, "sae/blobs/"+o.record.Blob, minio.GetObjectLegalHoldOptions{})
		return err == nil && on != nil && *on == minio.LegalHoldEnabled
	}
	var holds []*Act
	for _, unit := range []string{packed.Units[0].ID, packed.Units[2].ID, d.Units[1].ID} { // the first two lie in one pack
		h, err := a.Act(context.Background(), "alice", "", HoldAct, ActText{Units: []string{unit}, Reason: "dispute"})
		if err != nil {
			t.Fatal(err)
		}
		holds = append(holds, h)
	}
	if !legal(packed.Units[0].Objects[0].ID) || !legal(d.Units[1].Objects[0].ID) || legal(d.Units[2].Objects[0].ID) || legal(packed.Units[1].Objects[0].ID) {
		t.Error("the legal holds are not those of what is held")
	}
	for i, h := range holds {
		if _, err := a.EndAct(context.Background(), "alice", h.ID, "settled"); err != nil {
			t.Fatal(err)
		}
		if legal(packed.Units[0].Objects[0].ID) != (i == 0) {
			t.Errorf("after %d of two were lifted", i+1)
		}
	}
	if legal(d.Units[1].Objects[0].ID) {
		t.Error("a legal hold was not lifted")
	}
	hidden, err := a.Object(d.Units[0].Objects[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	over := func() error { // somebody puts another version over a locked copy
		_, err := r.Client.PutObject(context.Background(), bucket.Bucket, "sae/blobs/"+hidden.record.Blob, strings.NewReader("bad"), 3, minio.PutObjectOptions{})
		return err
	}
	mark := func() error { // or a delete marker
		return r.Client.RemoveObject(context.Background(), bucket.Bucket, "sae/blobs/"+hidden.record.Blob, minio.RemoveObjectOptions{})
	}
	for i, hide := range []func() error{over, mark} {
		if err := hide(); err != nil {
			t.Fatal(err)
		}
		if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1, Repair: true}); err != nil || r.Findings != 1 || r.Repaired != 1 {
			t.Errorf("hidden in way %d: %+v %v", i, r, err)
		}
	}
	r.Stop()
	e := deposit(t, a, ruled("while down", start.Format(time.DateOnly)))
	if s, err := a.Status(); err != nil || s.Offers[2].Unlocked != 1 {
		t.Errorf("%+v %v", s.Offers, err)
	}
	a.offers[2].ailing.Store(nil) // what is owed is not tried by every deposit, whether the bucket answers or not
	if err := a.cat.view(func(tx *tx) error {
		jobs, err := a.lockJobs(tx)
		if len(jobs) > 0 {
			t.Errorf("%d copies that are not there are to be locked", len(jobs))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r.Restart()
	if _, err := a.SyncOffer(context.Background(), "test", "cloud", SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	if until := lockOf(e.Units[0].Objects[0].ID); until.IsZero() {
		t.Error("a copy made afterwards is not locked")
	}
	if s, err := a.Status(); err != nil || s.Offers[2].Unlocked != 0 || s.Offers[2].Missing != 0 {
		t.Errorf("%+v %v", s.Offers, err)
	}
	second := r.Bucket(t, "governance") // added later: what is there is locked with its copy
	a.Close()
	if err := AddOffer(context.Background(), dir, OfferConfig{Name: "cloud2", S3: &second}, Options{}); err != nil {
		t.Fatal(err)
	}
	a = reopened(t, dir)
	if _, err := a.SyncOffer(context.Background(), "test", "cloud2", SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	bucket = second
	if until := lockOf(d.Units[0].Objects[0].ID); until.IsZero() {
		t.Error("a copy in a new offer is not locked")
	}
	if report, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !report.Sound() {
		t.Errorf("%+v %v", report, err)
	}
	err = a.update(nil, func(t *tx) error { // as if their rule had let them go
		for _, u := range packed.Units {
			o, err := a.object(t, u.Objects[0].ID)
			if err == nil {
				err = a.unuse(t, o.record.Blob, now())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if d, err := a.deleteUnused(context.Background()); err != nil || len(d.left) != 4 || d.left[0].Until.IsZero() {
			t.Errorf("%+v, %v", d, err)
		}
	}
	if s, err := a.Status(); err != nil || s.Offers[2].Locked != 2 || s.Offers[2].Unused != 2 || !s.Offers[2].LockEnd.After(now()) || s.Offers[0].Unused != 0 || s.Offers[3].Locked != 2 {
		t.Errorf("%+v %v", s.Offers, err)
	}
}

// BenchmarkDepositBucket: documents of 10 KB in one deposit to a bucket of a MinIO on the same
// machine, against bare PUTs of as many bytes by as many workers.
func BenchmarkDepositBucket(b *testing.B) {
	const documents = 200
	a, r, bucket := bucketArchive(b)
	n := 0
	versus(b, documents, "documents", func() {
		names := make(chan string, documents)
		for range documents {
			n++
			names <- fmt.Sprintf("bare/%d", n)
		}
		close(names)
		concurrently(runtime.GOMAXPROCS(0), func(int) {
			for name := range names {
				content := smallContent()
				if _, err := r.Client.PutObject(context.Background(), bucket.Bucket, name, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
					b.Error(err)
				}
			}
		})
	}, func() {
		d := Deposit{}
		for range documents {
			d.Units = append(d.Units, smallUnit())
		}
		if _, err := a.Deposit(context.Background(), "bench", d); err != nil {
			b.Fatal(err)
		}
	})
}
