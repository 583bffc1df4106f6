package archive

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"sae/archive/vault"
)

// Scrubbed is the outcome of a scrub.
type Scrubbed struct {
	Blobs    int64     `json:"blobs"`
	Copies   int64     `json:"copies"`
	Bytes    int64     `json:"bytes"` // of ciphertext, over all copies
	Findings []Finding `json:"findings"`
}

// Scrub holds every copy in every offer against the SHA-256 of its ciphertext, for which no key
// is needed: it may run where there is none (Options.NoKeys). Nothing is repaired, and nothing
// entered into the ledger.
func (a *Archive) Scrub(ctx context.Context) (*Scrubbed, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	out := &Scrubbed{Findings: []Finding{}}
	var mu sync.Mutex
	var copies, bytes atomic.Int64
	work := make(chan wholeBlob)
	var wg sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for b := range work {
				bad, good := map[int]error{}, 0
				for i := range a.offers {
					if !b.policy.wants(i) {
						continue
					}
					if err := a.cipherCopy(ctx, i, b); err != nil {
						bad[i] = err
						continue
					}
					good++
					copies.Add(1)
					bytes.Add(max(b.size, 0))
				}
				if ctx.Err() != nil {
					continue
				}
				mu.Lock()
				for i, why := range bad {
					out.Findings = append(out.Findings, Finding{What: "copy", Where: b.name, Offer: a.offers[i].name, Why: why.Error(), Lost: good == 0})
				}
				mu.Unlock()
			}
		})
	}
	err := a.cat.view(func(t *tx) error {
		return a.eachBlob(t, func(b wholeBlob) error {
			out.Blobs++
			select {
			case work <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	close(work)
	wg.Wait()
	out.Copies, out.Bytes = copies.Load(), bytes.Load()
	return out, errors.Join(err, ctx.Err())
}

// withoutKeys is a vault that opens nothing.
func withoutKeys() *vault.Vault {
	v := vault.New([32]byte{})
	v.Destroy()
	return v
}
