package archive

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sae/archive/blobs"
	"sae/archive/durable"
	"sae/archive/hsm"
	"sae/archive/s3"
	"sae/archive/vault"
)

// Rebuilding makes a catalogue from the journal in one offer and the root key: the last
// whole blob, and all that follow it.

// RebuildFrom says what to rebuild from, and where.
type RebuildFrom struct {
	Dir  string     // of the archive: new, or one whose catalogue is lost
	Path string     // folder of the offer, or
	S3   *s3.Config // its bucket
	Root string     // two-slot file of the root key; "" for the one that is in place in Dir
	// PKCS11 is the token that keeps it; nil for the one of the configuration that is in place.
	PKCS11 *hsm.Config
	Escrow *EscrowSource // a sealed copy of the root key, in the place of Root
	// AcceptLoss goes back to what comes before a journal blob that is missing or damaged.
	// Without it, that is done only where the checkpoint slot is in place, which tells
	// whether anything acknowledged was in those left out: the last blob of a process that
	// was killed may be torn.
	AcceptLoss bool
	FS         durable.FS
	Log        *slog.Logger
}

// Rebuilt is what came of it.
type Rebuilt struct {
	Archive  string   `json:"archive"`
	Offer    string   `json:"offer"`    // that it was rebuilt from
	Blobs    int      `json:"blobs"`    // of the journal that were read
	Sequence uint64   `json:"sequence"` // of the last
	Rows     int64    `json:"rows"`
	Files    []string `json:"files"` // configuration and keys that were put back
	Ledger   int64    `json:"ledger"`
	Units    int64    `json:"units"`
	Objects  int64    `json:"objects"`
	Passed   []string `json:"passedOver,omitempty"` // journal blobs that could not be used, and why
}

// Rebuild makes an archive's catalogue, configuration and keys from one offer and the root
// key. Nothing that is in place is changed: an existing catalogue is refused, an existing
// file is left. The archive is then opened once, which holds the ledger against the
// checkpoint slot if that is still there; an offer that lacks the last operations gives a
// *RollbackError, and the catalogue stays for sae ledger accept-rollback.
func Rebuild(ctx context.Context, from RebuildFrom) (*Rebuilt, error) {
	r := &rebuild{from: from, log: from.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	chain, err := r.plan(ctx)
	if err == nil {
		err = from.FS.MkdirAll(from.Dir, 0o700)
	}
	if err == nil {
		err = locked(from.Dir, "rebuild", func() error { return r.run(ctx, chain) })
	}
	if err != nil {
		return nil, fmt.Errorf("rebuilding %s: %w", from.Dir, err)
	}
	return r.verify()
}

type rebuild struct {
	from  RebuildFrom
	log   *slog.Logger
	store blobs.Store
	mark  blobs.Mark
	root  openedRoot   // that opens the journal
	roots []openedRoot // that it may be
	index [32]byte     // index key
	out   Rebuilt
	// highest is the highest sequence in the offer.
	highest uint64
}

// journalFile is a journal blob as it lies in the offer.
type journalFile struct {
	journalHeader
	name string
	head []byte
	sum  string // hex; "" until it is read
}

// plan finds what to apply; nothing is written before.
func (r *rebuild) plan(ctx context.Context) ([]*journalFile, error) {
	target := filepath.Join(r.from.Dir, catalogueFile)
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is there: move it away first: %w", target, ErrExists)
	}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	files, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	return r.chain(ctx, files)
}

func (r *rebuild) run(ctx context.Context, chain []*journalFile) error {
	target := filepath.Join(r.from.Dir, catalogueFile)
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) { // made meanwhile
		return fmt.Errorf("%s is there: move it away first: %w", target, ErrExists)
	}
	made := target + ".rebuilt"
	os.Remove(made)
	if err := r.build(ctx, made, chain); err != nil {
		os.Remove(made)
		return err
	}
	if err := os.Rename(made, target); err != nil {
		return err
	}
	return r.from.FS.SyncDir(r.from.Dir)
}

// open reads the mark of the offer and the root key.
func (r *rebuild) open(ctx context.Context) (err error) {
	if r.from.S3 != nil {
		s, err := s3.New(*r.from.S3)
		if err != nil {
			return err
		}
		if r.mark, err = s.ReadMark(ctx); err != nil {
			return err
		}
		r.store = s
	} else {
		if r.mark, err = blobs.ReadDirMark(r.from.Path); err != nil {
			return err
		}
		if r.store, err = blobs.OpenDir(r.from.FS, r.from.Path, r.mark); err != nil {
			return err
		}
	}
	r.out.Archive, r.out.Offer = r.mark.Archive, r.mark.Offer
	return r.openRoots()
}

// openRoots reads what the root key may be.
func (r *rebuild) openRoots() error {
	if r.from.Escrow != nil {
		_, root, err := r.from.Escrow.open(r.mark.Archive)
		r.roots = []openedRoot{{root: root}}
		return err
	}
	place := rootPlace{fs: r.from.FS, path: r.from.Root, archive: r.mark.Archive, token: r.from.PKCS11}
	config, err := LoadConfig(r.from.Dir)
	if place.path == "" {
		place.path = filepath.Join(r.from.Dir, "keys/root")
		if err == nil {
			place.path = config.Slots.Root
		}
	}
	if place.token == nil && err == nil {
		place.token = config.Slots.PKCS11
	}
	slot, err := place.open(false)
	if err != nil {
		return err
	}
	defer slot.close()
	if r.roots, err = slot.roots(); err != nil {
		return fmt.Errorf("root key %s: %w", place.path, err)
	}
	for i := range r.roots { // the slot forgets them
		r.roots[i].held.Root = slices.Clone(r.roots[i].held.Root)
	}
	return nil
}

// list reads the headers of all journal blobs in the offer, the last first.
func (r *rebuild) list(ctx context.Context) (out []*journalFile, err error) {
	err = r.store.List(ctx, "j", func(name string, _ int64) error {
		f := &journalFile{name: name}
		b, err := r.store.Open(ctx, name)
		if err != nil {
			return err
		}
		defer b.Close()
		if f.journalHeader, f.head, err = readHeader(b); err != nil {
			r.pass(name, err)
			return nil
		}
		if f.Archive != r.mark.Archive {
			r.pass(name, fmt.Errorf("it is of archive %q", f.Archive))
			return nil
		}
		out = append(out, f)
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("offer %s holds no journal: %w", r.mark.Offer, ErrNotFound)
	}
	slices.SortStableFunc(out, func(x, y *journalFile) int {
		return cmp.Or(cmp.Compare(y.Sequence, x.Sequence), y.Made.Compare(x.Made))
	})
	if len(out) > 0 {
		r.highest = out[0].Sequence
	}
	return out, err
}

func (r *rebuild) pass(name string, why error) {
	r.log.Warn("a journal blob cannot be used", "blob", name, "error", why)
	r.out.Passed = append(r.out.Passed, fmt.Sprintf("%s: %v", name, why))
}

// chain gives the blobs to apply, in order: those of the longest unbroken chain from a whole
// blob to the last one that there is. Blobs of transactions that did not take place may lie
// beside it.
func (r *rebuild) chain(ctx context.Context, files []*journalFile) ([]*journalFile, error) {
	bySequence := map[uint64][]*journalFile{}
	for _, f := range files {
		bySequence[f.Sequence] = append(bySequence[f.Sequence], f)
	}
	var broken error
	goBack := r.from.AcceptLoss || r.slotInPlace()
	for _, tip := range files {
		if broken != nil && !goBack {
			break
		}
		key, err := r.journalKey(tip)
		if err != nil {
			if broken == nil {
				broken = fmt.Errorf("the root key does not open journal blob %s: another archive's, or one before an erasure: %w", tip.name, err)
			}
			continue
		}
		r.index = key
		chain, err := r.chainTo(ctx, tip, bySequence)
		if err == nil {
			return chain, nil
		}
		r.pass(tip.name, err)
		if broken == nil {
			broken = err
		}
	}
	return nil, broken
}

// journalKey opens the index key by the keys that a blob has, under one of the roots.
func (r *rebuild) journalKey(f *journalFile) (key [32]byte, err error) {
	for _, root := range r.roots {
		if key, err = vault.OpenPath(root.root, indexKeyNumber, f.Keys); err == nil {
			r.root = root
			return key, nil
		}
	}
	return key, err
}

// chainTo follows a blob back to a whole one.
func (r *rebuild) chainTo(ctx context.Context, tip *journalFile, bySequence map[uint64][]*journalFile) (chain []*journalFile, err error) {
	at := tip
	if err := r.read(ctx, at); err != nil {
		return nil, err
	}
	if err := r.whole(ctx, at); err != nil {
		return nil, fmt.Errorf("journal blob %s, the last one, is damaged in offer %s: %w", at.name, r.mark.Offer, err)
	}
	for {
		chain = append(chain, at)
		if at.Whole {
			slices.Reverse(chain)
			return chain, nil
		}
		var before *journalFile
		for _, f := range bySequence[at.Sequence-1] {
			if err := r.read(ctx, f); err == nil && f.sum == at.Previous {
				before = f
			}
		}
		if before == nil {
			return nil, fmt.Errorf("journal blob %d, before %s, is missing or damaged in offer %s: rebuild from another offer, or accept the loss of all from there on", at.Sequence-1, at.name, r.mark.Offer)
		}
		at = before
	}
}

// whole reads a blob to its end, which nothing after it has vouched for.
func (r *rebuild) whole(ctx context.Context, f *journalFile) error {
	b, err := r.store.Open(ctx, f.name)
	if err != nil {
		return err
	}
	defer b.Close()
	return readJournal(b, journalKey(r.index), f.head, func(bucket, []byte, []byte) error { return ctx.Err() })
}

// slotInPlace reports whether the checkpoint slot of the configuration that is in place is
// there.
func (r *rebuild) slotInPlace() bool {
	c, err := LoadConfig(r.from.Dir)
	if err != nil {
		return false
	}
	_, err = os.Lstat(c.Slots.Checkpoint)
	return err == nil
}

// read hashes a blob, once.
func (r *rebuild) read(ctx context.Context, f *journalFile) error {
	if f.sum != "" {
		return nil
	}
	b, err := r.store.Open(ctx, f.name)
	if err != nil {
		return err
	}
	defer b.Close()
	sum, err := sumOf(ctx, io.NewSectionReader(b, 0, b.Size()))
	if err == nil {
		f.sum = hex.EncodeToString(sum)
	}
	return err
}

// build applies the chain to a new catalogue.
func (r *rebuild) build(ctx context.Context, path string, chain []*journalFile) (err error) {
	cat, err := createCatalogue(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cat.close()) }()
	known := map[bucket]bool{}
	for _, b := range allBuckets {
		known[b] = true
	}
	w := &rowWriter{cat: cat}
	s := journalState{}
	for _, f := range chain {
		b, err := r.store.Open(ctx, f.name)
		if err != nil {
			return err
		}
		err = readJournal(b, journalKey(r.index), f.head, func(b bucket, key, value []byte) error {
			if !known[b] {
				return fmt.Errorf("bucket %q is not known: written by a later program", b)
			}
			r.out.Rows++
			return w.add(b, key, value)
		})
		size := b.Size()
		b.Close()
		if err != nil {
			return fmt.Errorf("journal blob %s: %w", f.name, err)
		}
		sum, err := hex.DecodeString(f.sum)
		if err == nil {
			err = w.add(bktBlob, []byte(f.name), append([]byte(journalBlob), sum...))
		}
		if err != nil {
			return err
		}
		if s.Sequence, s.SHA256 = f.Sequence, f.sum; f.Whole {
			s.Whole, s.Since, s.Blobs = size, 0, 0
		} else {
			s.Since, s.Blobs = s.Since+size, s.Blobs+1
		}
	}
	r.out.Blobs, r.out.Sequence = len(chain), s.Sequence
	if s.Sequence < r.highest { // what lies behind was passed over
		s.Sequence = r.highest
		s.branch()
	}
	err = w.add(bktMeta, metaJournal, mustJSON(s))
	if err == nil {
		err = w.add(bktMeta, metaRebuilt, be64(chain[0].Sequence))
	}
	if err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := dropLostDebts(cat); err != nil {
		return err
	}
	return r.putFiles(cat)
}

// rowWriter applies rows to a catalogue, many in a transaction.
type rowWriter struct {
	cat   *catalogue
	rows  []record
	bytes int
}

func (w *rowWriter) add(b bucket, key, value []byte) error {
	w.rows = append(w.rows, record{b, slices.Clone(key), slices.Clone(value)})
	if w.bytes += len(key) + len(value); len(w.rows) < 50_000 && w.bytes < 32<<20 {
		return nil
	}
	return w.flush()
}

func (w *rowWriter) flush() error {
	err := w.cat.update(func(t *tx) error {
		for _, r := range w.rows {
			var err error
			if r.value == nil {
				err = t.delete(r.bucket, r.key)
			} else {
				err = t.put(r.bucket, r.key, r.value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	w.rows, w.bytes = nil, 0
	return err
}

// dropLostDebts drops the debts of blobs that are not needed any more.
func dropLostDebts(cat *catalogue) error {
	return cat.update(func(t *tx) error {
		var gone [][]byte
		err := t.scan(bktDebt, nil, nil, func(k, _ []byte) (bool, error) {
			_, blob, _ := strings.Cut(string(k), "\x00")
			v, err := t.get(bktBlob, []byte(blob))
			if v == nil {
				gone = append(gone, slices.Clone(k))
			}
			return err == nil, err
		})
		for _, k := range gone {
			if err == nil {
				err = t.delete(bktDebt, k)
			}
		}
		return err
	})
}

// putFiles puts back configuration, keys and slots that are missing.
func (r *rebuild) putFiles(cat *catalogue) error {
	var checkpoint []byte
	files := map[string][]byte{}
	err := cat.view(func(t *tx) error {
		v, err := t.get(bktMeta, metaCheckpoint)
		checkpoint = slices.Clone(v)
		if err != nil {
			return err
		}
		prefix := []byte(filePrefix)
		return t.scan(bktMeta, prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
			name := strings.TrimPrefix(string(k), filePrefix)
			if !filepath.IsLocal(name) {
				return false, fmt.Errorf("file name %q is not one of an archive's folder", name)
			}
			b, err := vault.Open(fileKey(r.index), []byte(name), v)
			files[name] = b
			return err == nil, err
		})
	})
	if err != nil {
		return err
	}
	if files[ConfigName] == nil {
		return fmt.Errorf("the journal holds no %s", ConfigName)
	}
	for name, b := range files {
		if err := r.putFile(name, b); err != nil {
			return err
		}
	}
	slices.Sort(r.out.Files)
	config, err := LoadConfig(r.from.Dir)
	if err != nil {
		return err
	}
	place := rootPlace{fs: r.from.FS, path: config.Slots.Root, archive: config.Archive, token: config.Slots.PKCS11}
	err = r.putSlot(place.path, func() error {
		if r.from.Escrow != nil {
			return place.create(r.root.root)
		}
		return durable.CreateSlot(r.from.FS, place.path, 0o600, encodeRoots(r.root.held))
	})
	if err != nil {
		return err
	}
	return r.putSlot(config.Slots.Checkpoint, func() error {
		return durable.CreateSlot(r.from.FS, config.Slots.Checkpoint, 0o600, checkpoint)
	})
}

// putSlot makes a slot that is missing.
func (r *rebuild) putSlot(path string, create func() error) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := r.from.FS.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	r.out.Files = append(r.out.Files, path)
	return create()
}

func (r *rebuild) putFile(name string, b []byte) error {
	path := filepath.Join(r.from.Dir, name)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := r.from.FS.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	r.out.Files = append(r.out.Files, name)
	return r.from.FS.WriteFile(path, b, 0o600)
}

// verify opens what was rebuilt, which recomputes the ledger, and counts.
func (r *rebuild) verify() (*Rebuilt, error) {
	a, err := Open(r.from.Dir, Options{ReadOnly: true, Log: r.log, FS: r.from.FS})
	if err != nil {
		return &r.out, fmt.Errorf("the catalogue was rebuilt; opening it: %w", err)
	}
	defer a.Close()
	s, err := a.Status()
	if err != nil {
		return &r.out, err
	}
	r.out.Ledger, r.out.Units, r.out.Objects = s.Ledger, s.Units, s.Objects
	return &r.out, nil
}
