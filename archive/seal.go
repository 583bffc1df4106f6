package archive

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"sae/integrity"
	"sae/integrity/ers"
	"sae/integrity/tsp"
)

// Sealed is one batch that received its time-stamp.
type Sealed struct {
	Batch      string    `json:"batch"`
	Leaves     int64     `json:"leaves"`     // the checkpoint's included
	Authority  string    `json:"authority"`  // name in the configuration
	Stamped    time.Time `json:"stamped"`    // genTime of the token
	Checkpoint int64     `json:"checkpoint"` // ledger size sealed
	Entry      int64     `json:"entry"`      // ledger index of the seal
}

// Seal time-stamps everything that is committed and not sealed yet, on behalf of
// agent, in batches of at most seal.max-leaves. Deposits go on meanwhile. When no
// authority answers, the error matches ErrNoAuthority and nothing changed: what
// waited waits on.
func (a *Archive) Seal(ctx context.Context, agent string) ([]Sealed, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	a.sealing.Lock()
	defer a.sealing.Unlock()
	if err := a.takeAccesses(ctx); err != nil {
		return nil, err
	}
	var done []Sealed
	for {
		b, err := a.pendingBatch()
		if err != nil || b == nil {
			return done, err
		}
		s, err := a.sealBatch(ctx, agent, b)
		if err != nil {
			return done, fmt.Errorf("sealing %d leaves: %w", b.rec.Count, err)
		}
		done = append(done, s)
	}
}

// newBatch is a batch on its way to its token.
type newBatch struct {
	rec    batchRecord
	size   int64    // ledger size of the checkpoint
	leaves [][]byte // the checkpoint's last
	tiles  []record
}

// pendingBatch gathers the leaves that no batch covers, nil when there are none.
func (a *Archive) pendingBatch() (*newBatch, error) {
	b := &newBatch{rec: batchRecord{ID: newID(batchID)}}
	err := a.cat.view(func(t *tx) error {
		first, err := t.firstPending()
		if err != nil {
			return err
		}
		b.rec.First = first
		end, err := t.end()
		if err != nil {
			return err
		}
		err = t.scan(bktLeaf, be64(first), be64(end), func(_, row []byte) (bool, error) {
			leaf, _, _, err := parseLeafRow(row)
			b.leaves = append(b.leaves, leaf[:])
			return err == nil && int64(len(b.leaves)) < a.config.Seal.MaxLeaves-1, err
		})
		if err != nil || len(b.leaves) == 0 {
			return err
		}
		signed, err := t.get(bktMeta, metaCheckpoint)
		if err != nil {
			return err
		}
		b.rec.Checkpoint = append(b.rec.Checkpoint, signed...)
		cp, err := a.checkpointIn(t)
		b.size = cp.Size
		return err
	})
	if err != nil || len(b.leaves) == 0 {
		return nil, err
	}
	b.rec.Count = uint64(len(b.leaves))
	leaf := sha256.Sum256(b.rec.Checkpoint) // a data object alone: its hash is the leaf
	b.leaves = append(b.leaves, leaf[:])
	return b, b.build()
}

// firstPending is the number of the first leaf that no batch covers.
func (t *tx) firstPending() (uint64, error) {
	_, v, err := t.last(bktBatch, be64(^uint64(0)))
	if err != nil || v == nil {
		return 0, err
	}
	rec, err := decodeBatch(v)
	return rec.First + rec.Count, err
}

// build computes the tree of the batch.
func (b *newBatch) build() error {
	root, err := ers.Build(crypto.SHA256, int64(len(b.leaves)),
		func(i int64) ([]byte, error) { return b.leaves[i], nil },
		func(level int, index int64, hashes []byte) error {
			b.tiles = append(b.tiles, record{bktTile, tileKey(b.rec.First, level, index), hashes})
			return nil
		})
	if err == nil {
		b.rec.Root = integrity.Hash(root)
	}
	return err
}

// sealBatch asks for the token and commits it with the batch.
func (a *Archive) sealBatch(ctx context.Context, agent string, b *newBatch) (_ Sealed, err error) {
	ctx, end := a.begin(ctx, WorkSeal)
	defer func() { end(err) }()
	token, authority, err := a.stamp(ctx, b.rec.Root[:])
	if err != nil {
		return Sealed{}, err
	}
	b.rec.Authority, b.rec.Stamped, b.rec.Token = authority, token.Time, token.Raw
	op := &operation{
		id:    newID(opID),
		entry: integrity.Entry{Kind: integrity.Seal, Tenant: a.config.Tenants[0].ID, Agent: agentID(a.indexKey, agent)},
		detail: func(position) any {
			return integrity.SealDetail{Batch: b.rec.ID, Leaves: int64(len(b.leaves)), Root: b.rec.Root,
				Token: sha256.Sum256(token.Raw), Stamped: token.Time, Authority: authority, Checkpoint: b.size}
		},
		records: []func(position) []record{func(p position) []record {
			b.rec.Entry = p.entry
			return append(b.tiles, record{bktBatch, be64(b.rec.First), mustJSON(b.rec)})
		}},
	}
	pos, _, err := a.commit(ctx, op)
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{Batch: b.rec.ID, Leaves: int64(len(b.leaves)), Authority: authority, Stamped: token.Time,
		Checkpoint: b.size, Entry: pos.entry}, nil
}

// stamp asks the authorities in order, each as often as it may be tried.
func (a *Archive) stamp(ctx context.Context, imprint []byte) (_ *tsp.Token, _ string, err error) {
	ctx, end := a.begin(ctx, WorkStamp)
	defer func() { end(err) }()
	var errs []error
	for _, auth := range a.authorities {
		token, err := auth.try(ctx, imprint)
		a.counters.asked(auth.name, err)
		if err == nil {
			return token, auth.name, nil
		}
		a.log.Warn("time-stamping authority failed", "authority", auth.name, "error", err)
		errs = append(errs, fmt.Errorf("%s: %w", auth.name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", fmt.Errorf("%w: %w", ErrNoAuthority, errors.Join(errs...))
}

// batchOf gives the batch that covers a leaf; an error matching ErrNotSealed when
// none does yet.
func (t *tx) batchOf(leaf uint64) (batchRecord, error) {
	_, v, err := t.last(bktBatch, be64(leaf))
	if err != nil {
		return batchRecord{}, err
	}
	if v == nil {
		return batchRecord{}, ErrNotSealed
	}
	rec, err := decodeBatch(v)
	if err == nil && leaf >= rec.First+rec.Count {
		err = ErrNotSealed
	}
	return rec, err
}

// siblings gives the path of the leaf at place i of a batch; the checkpoint is at
// place Count.
func (t *tx) siblings(rec batchRecord, i int64) ([][]byte, error) {
	return ers.Path(crypto.SHA256, int64(rec.Count)+1, i, func(level int, index int64) ([]byte, error) { return t.evidenceTile(rec, level, index) })
}

// evidenceTile gives a tile of the tree of a batch.
func (t *tx) evidenceTile(rec batchRecord, level int, index int64) ([]byte, error) {
	if level > 0 {
		b, err := t.get(bktTile, tileKey(rec.First, level, index))
		return append([]byte(nil), b...), err
	}
	return t.leafTile(rec, uint64(index))
}

// leafTile gives tile number index of the leaves of a batch.
func (t *tx) leafTile(rec batchRecord, index uint64) ([]byte, error) {
	const width = 256
	from, to := index*width, min((index+1)*width, rec.Count)
	var out []byte
	err := t.scan(bktLeaf, be64(rec.First+from), be64(rec.First+to), func(_, row []byte) (bool, error) {
		leaf, _, _, err := parseLeafRow(row)
		out = append(out, leaf[:]...)
		return true, err
	})
	if (index+1)*width > rec.Count { // the checkpoint's leaf is the last of the tree
		leaf := sha256.Sum256(rec.Checkpoint)
		out = append(out, leaf[:]...)
	}
	return out, err
}

// evidence assembles the evidence record (RFC 4998) of the data object group with
// the given member digests at place i of a batch.
func (t *tx) evidence(rec batchRecord, i int64, members ...[]byte) (*ers.EvidenceRecord, error) {
	siblings, err := t.siblings(rec, i)
	if err != nil {
		return nil, err
	}
	return ers.New(ers.ArchiveTimeStamp{Hash: crypto.SHA256, ReducedHashtree: ers.Reduced(members, siblings), Token: rec.Token}), nil
}

// waiting says how many leaves wait for their seal, and since when.
func (t *tx) waiting() (n uint64, since time.Time, err error) {
	first, err := t.firstPending()
	if err != nil {
		return 0, since, err
	}
	end, err := t.end()
	if err != nil || end <= first {
		return 0, since, err
	}
	row, err := t.get(bktLeaf, be64(first))
	if err != nil {
		return 0, since, err
	}
	_, index, _, err := parseLeafRow(row)
	if err != nil {
		return 0, since, err
	}
	b, err := t.entry(index)
	if err != nil {
		return 0, since, err
	}
	e, err := integrity.ParseEntry(b)
	return end - first, e.Time, err
}
