package archive

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"sae/archive/s3/s3test"
)

// TestFaultyBucket deposits, seals and reads while the way to the bucket fails in every manner,
// one request in six: nothing acknowledged is lost, nothing else is seen, whatever the policy
// says; a server that only says that it has stored is found by the next audit.
func TestFaultyBucket(t *testing.T) {
	for _, policy := range []string{"refuse", "queue"} {
		t.Run(policy, func(t *testing.T) { faultyBucket(t, policy) })
	}
}

func faultyBucket(t *testing.T, policy string) {
	r := s3test.Start(t, s3test.MinIO)
	p := s3test.NewProxy(t, r, 600*time.Millisecond)
	bucket := r.Bucket(t, "")
	bucket.Endpoint, bucket.Timeout, bucket.Tries = p.Endpoint, 300*time.Millisecond, 2
	dir := createEdited(t, func(c string) string {
		c = strings.Replace(c, "offer-down: refuse", "offer-down: "+policy, 1)
		return strings.Replace(strings.Replace(c, "copies: 2", "copies: 1", 1), "  - name: second\n    path: offers/second\n", "", 1)
	})
	if err := AddOffer(context.Background(), dir, OfferConfig{Name: "cloud", S3: &bucket}, Options{}); err != nil {
		t.Fatal(err)
	}
	a := reopened(t, dir)
	a.pause = 0 // each request is tried
	defer func() { a.Close() }()
	p.Choose(func(*http.Request) s3test.Fault {
		if rand.IntN(6) > 0 {
			return s3test.None
		}
		return s3test.Faults[rand.IntN(len(s3test.Faults))]
	})
	acked := map[string]string{}
	refused := 0
	for i := range 40 {
		content := fmt.Sprint("content ", i)
		d, err := a.Deposit(context.Background(), "test", Deposit{Units: []NewUnit{digital(content, content), digital(content, content)}})
		if err != nil {
			if refused++; !strings.Contains(err.Error(), "offer cloud") {
				t.Errorf("it does not say where: %v", err)
			}
			continue
		}
		for _, u := range d.Units {
			acked[u.Objects[0].ID] = content
		}
		for id, want := range acked { // any: the order is random
			var out bytes.Buffer
			if _, _, err := a.Get(context.Background(), id, &out); err != nil || out.String() != want {
				t.Errorf("%q, %v", out.String(), err)
			}
			break
		}
	}
	if policy == "queue" && refused > 0 || len(acked) == 0 {
		t.Errorf("%d refused, %d acknowledged", refused, len(acked)/2)
	}
	p.Choose(func(*http.Request) s3test.Fault { return s3test.None })
	a.Close()
	a = reopened(t, dir)
	page, err := a.List(Filter{Limit: 1000})
	if err != nil || len(page.Units) != len(acked) {
		t.Errorf("%d units, %d acknowledged: %v", len(page.Units), len(acked), err)
	}
	if q, err := a.RepairQueue(context.Background(), "test"); err != nil || len(q.Left) > 0 {
		t.Errorf("%+v %v", q, err)
	}
	report, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1, Repair: true, RemoveExtra: true})
	if err != nil || report.Lost > 0 || !report.Sound() {
		t.Errorf("%+v %v", report, err)
	}
	if report, err = a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || report.Findings > 0 {
		t.Errorf("%+v %v", report, err)
	}
	if f, err := a.Fsck(context.Background()); err != nil || len(f.Findings) > 0 {
		t.Errorf("%+v %v", f, err)
	}
	for id, want := range acked {
		var out bytes.Buffer
		if _, bad, err := a.Get(context.Background(), id, &out); err != nil || out.String() != want || len(bad) > 0 {
			t.Errorf("%q, %v, %v", out.String(), bad, err)
		}
	}
	t.Logf("%d faults, %d deposits acknowledged, %d refused", p.Hits.Load(), len(acked)/2, refused)
}
