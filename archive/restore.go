package archive

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sae/archive/backup"
	"sae/archive/blobs"
	"sae/archive/durable"
	"sae/archive/hsm"
	"sae/archive/vault"
	"sae/integrity"
)

// RestoreFrom says what to restore, and where.
type RestoreFrom struct {
	Backup     backup.Folder
	Generation int64  // 0: the last
	Dir        string // of the archive: new, or empty
	// Offers say where copies come, by offer: a folder, or KeepOffer for a bucket that stays in use.
	Offers map[string]string
	// One of these opens it: the two-slot file of the root key (and the token of PKCS11, when it is
	// wrapped in one), a sealed copy, or the copy that lies in the backup, by the identity that opens it.
	Root     string
	PKCS11   *hsm.Config
	Escrow   *EscrowSource
	Identity string
	// Slot is the checkpoint slot of the archive that was lost, when there still is one: it tells
	// what is missing in the backup.
	Slot string
	// LedgerKey is the archive's key, as its keys/ledger.pub says; "" believes the backup.
	LedgerKey string
	FS        durable.FS
	Log       *slog.Logger
}

// KeepOffer lets an offer be where it was.
const KeepOffer = "keep"

// Restored is what came of it.
type Restored struct {
	Archive    string            `json:"archive"`
	Generation int64             `json:"generation"`
	Made       time.Time         `json:"made"`
	LedgerKey  string            `json:"ledgerKey"`
	Ledger     int64             `json:"ledger"`
	Units      int64             `json:"units"`
	Objects    int64             `json:"objects"`
	Rows       int64             `json:"rows"`
	Blobs      int64             `json:"blobs"`
	Bytes      int64             `json:"bytes"` // of them, one copy
	Offers     map[string]string `json:"offers"`
	Lacking    []string          `json:"lacking,omitempty"` // blobs that the backup had not
	Fsck       *Fsck             `json:"fsck,omitempty"`
	Notes      []string          `json:"notes,omitempty"` // what a person should look at
}

// Restore makes an archive from a generation of a backup, and the root key. Every file is held against
// the manifest while it is read. An error leaves nothing; a crash leaves a folder without a catalogue,
// which is to be removed. The archive is then opened for reading, and checked. A *RollbackError says
// that the checkpoint slot knows of more than the backup: the archive is there all the same, and waits
// for sae ledger accept-rollback.
func Restore(ctx context.Context, from RestoreFrom) (*Restored, error) {
	r := &restore{from: from, rebuild: rebuild{from: RebuildFrom{Dir: from.Dir, Root: from.Root, PKCS11: from.PKCS11, Escrow: from.Escrow, FS: from.FS}, log: from.Log}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if err := refuseExisting(from.Dir); err != nil {
		return nil, err
	}
	_, err := os.Lstat(from.Dir)
	r.madeDir = errors.Is(err, fs.ErrNotExist)
	if err := r.plan(); err != nil {
		return nil, fmt.Errorf("restoring: %w", err)
	}
	err = from.FS.MkdirAll(from.Dir, 0o700)
	if err == nil {
		err = locked(from.Dir, "restore", func() error { return r.run(ctx) })
	}
	if err != nil {
		r.undo()
		return nil, fmt.Errorf("restoring into %s: %w", from.Dir, err)
	}
	return r.verify(ctx)
}

type restore struct {
	rebuild // finds the root key, and puts back files and slots
	from    RestoreFrom
	set     *backup.Set
	head    *backup.Head
	files   []backup.File
	config  *Config
	madeDir bool
	made    []string // folders of offers
	out     Restored
}

// plan reads what is to be restored; nothing is written before.
func (r *restore) plan() (err error) {
	if r.set, r.head, err = openGeneration(r.from.Backup, r.from.Generation); err != nil {
		return err
	}
	if want := firstLine([]byte(r.from.LedgerKey)); want != "" && want != r.head.LedgerKey {
		return &Refusal{Problems: []string{fmt.Sprintf("the backup is signed under the key %s, not %s", r.head.LedgerKey, want)}}
	}
	err = r.set.Files(r.head, func(f backup.File) error { r.files = append(r.files, f); return nil })
	if err != nil {
		return err
	}
	r.rebuild.mark = blobs.Mark{Archive: r.set.Mark.Archive}
	r.out = Restored{Archive: r.set.Mark.Archive, Generation: r.head.Generation, Made: r.head.Made, LedgerKey: r.head.LedgerKey, Offers: map[string]string{}}
	if r.from.Identity != "" && r.from.Escrow == nil && r.from.Root == "" {
		sealed, err := r.set.Root(r.head.Generation)
		if err != nil {
			return fmt.Errorf("generation %d holds no copy of the root key: %w", r.head.Generation, err)
		}
		r.rebuild.from.Escrow = &EscrowSource{File: "the copy in the backup", Identity: r.from.Identity}
		_, root, err := r.rebuild.from.Escrow.openSealed(sealed, r.set.Mark.Archive)
		r.roots = []openedRoot{{root: root}}
		return err
	}
	if r.from.Root == "" && r.rebuild.from.Escrow == nil {
		return &Refusal{Problems: []string{"without the root key nothing can be read: give its two-slot file, or a sealed copy of it and the identity that opens it"}}
	}
	return r.openRoots()
}

// openGeneration reads the head of a generation, of the last when n is 0.
func openGeneration(folder backup.Folder, n int64) (*backup.Set, *backup.Head, error) {
	set, err := backup.Open(folder, "")
	if err != nil {
		return nil, nil, err
	}
	all, err := set.Generations()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case len(all) == 0:
		return nil, nil, fmt.Errorf("the backup holds no generation: %w", ErrNotFound)
	case n == 0:
		n = all[len(all)-1]
	case !slices.Contains(all, n):
		return nil, nil, fmt.Errorf("generation %d: %w; there are %v", n, ErrNotFound, all)
	}
	head, err := set.Head(n)
	return set, head, err
}

func (r *restore) run(ctx context.Context) error {
	target := filepath.Join(r.from.Dir, catalogueFile)
	cat, err := createCatalogue(target + ".restored")
	if err != nil {
		return err
	}
	err = r.fill(ctx, cat)
	if err = errors.Join(err, cat.close()); err != nil {
		return err
	}
	// The catalogue gets its name last: without it nobody takes the folder for an archive.
	if err := r.from.FS.Rename(target+".restored", target); err != nil {
		return err
	}
	return r.from.FS.SyncDir(r.from.Dir)
}

// fill takes the steps of restoring, each of which relies on those before.
func (r *restore) fill(ctx context.Context, cat *catalogue) error {
	if err := r.putRows(ctx, cat); err != nil {
		return err
	}
	if err := r.checkLedger(cat); err != nil {
		return err
	}
	if err := r.findRoot(cat); err != nil {
		return err
	}
	if err := r.putConfig(cat); err != nil {
		return err
	}
	if err := r.putBlobs(ctx, cat); err != nil {
		return err
	}
	if err := r.amend(cat); err != nil {
		return err
	}
	if err := r.putLostSlot(); err != nil {
		return err
	}
	return r.putFiles(cat)
}

// putRows makes the catalogue from its pieces.
func (r *restore) putRows(ctx context.Context, cat *catalogue) error {
	known := map[bucket]bool{}
	for _, b := range allBuckets {
		known[b] = true
	}
	w := &rowWriter{cat: cat}
	for _, f := range r.files {
		if !f.IsPiece() {
			continue
		}
		err := readPiece(r.set, f, func(b bucket, k, v []byte) error {
			if !known[b] {
				return fmt.Errorf("bucket %q is not known: it was made by a later program", b)
			}
			r.out.Rows++
			if err := ctx.Err(); err != nil {
				return err
			}
			return w.add(b, k, v)
		})
		if err != nil {
			return err
		}
	}
	return w.flush()
}

// readPiece calls f for the rows of a piece, which is held against its length and SHA-256 before.
func readPiece(set *backup.Set, file backup.File, f func(b bucket, k, v []byte) error) error {
	if file.Length < 0 {
		return fmt.Errorf("%s is lacking", file.Name)
	}
	b, err := set.Piece(file)
	if err == nil {
		err = readPieceRows(b, f)
	}
	if err != nil {
		return fmt.Errorf("piece of the catalogue: %w", err)
	}
	return nil
}

func readPieceRows(b []byte, f func(b bucket, k, v []byte) error) error {
	most := int64(pieceBytes + maxJournalValue + maxJournalKey + 128)
	z := io.LimitReader(flate.NewReader(bytes.NewReader(b)), most)
	return readRows(bufio.NewReaderSize(z, 1<<16), func(b bucket, k, v []byte) error {
		if v == nil {
			return errors.New("a row is deleted in a snapshot")
		}
		return f(b, k, v)
	})
}

// checkLedger wants the ledger of the catalogue to be the one that the head vouches for.
func (r *restore) checkLedger(cat *catalogue) error {
	l := &ledgerCheck{}
	err := cat.view(func(t *tx) error {
		return t.eachRow(func(b bucket, k, v []byte) error { return l.row(b, k, v) })
	})
	if err == nil {
		r.out.Ledger, err = l.holds(r.head)
	}
	return err
}

// findRoot finds the root key that opens the catalogue.
func (r *restore) findRoot(cat *catalogue) error {
	for _, root := range r.roots {
		err := cat.view(func(t *tx) (err error) {
			r.index, err = vault.New(root.root).Unwrap(keyStore{t}, indexKeyNumber)
			return err
		})
		if err == nil {
			r.root = root
			return nil
		}
		if !errors.Is(err, vault.ErrWrongRoot) {
			return err
		}
	}
	return &Refusal{Problems: []string{fmt.Sprintf("the root key does not open generation %d, of %s: it was replaced between them, as each destruction does; take a copy of the key of then, or a generation of since (sae backup --list)", r.head.Generation, r.head.Made.Format(time.RFC3339))}}
}

// putConfig writes the configuration, with the places of here.
func (r *restore) putConfig(cat *catalogue) error {
	var text []byte
	err := cat.view(func(t *tx) error {
		v, err := t.get(bktMeta, []byte(filePrefix+ConfigName))
		if err == nil {
			text, err = vault.Open(fileKey(r.index), []byte(ConfigName), v)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the configuration of the backup: %w", err)
	}
	if text, err = r.placed(text); err != nil {
		return err
	}
	if err := r.from.FS.WriteFile(filepath.Join(r.from.Dir, ConfigName), text, 0o600); err != nil {
		return err
	}
	r.config, err = LoadConfig(r.from.Dir)
	return err
}

// placed gives the configuration with offers and slots where they are to be: below the new folder when
// nobody says. What another archive uses is never taken for ours.
func (r *restore) placed(text []byte) ([]byte, error) {
	c, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("the configuration of the backup: %w", err)
	}
	e := &configEditor{path: ConfigName + " of the backup", lines: strings.SplitAfter(string(text), "\n")}
	if err := e.locate(text); err != nil {
		return nil, fmt.Errorf("changing %s: %w", e.path, err)
	}
	bad := &Refusal{}
	for name := range r.from.Offers {
		if !slices.Contains(e.names, name) {
			bad.addf("offer %s is not in the configuration; it has %s", name, strings.Join(e.names, ", "))
		}
	}
	for i := len(c.Offers) - 1; i >= 0; i-- { // from the end: lines move
		if err := r.placeOffer(e, i, c.Offers[i], bad); err != nil {
			return nil, err
		}
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	if err := e.placeSlots(c.Slots); err != nil {
		return nil, err
	}
	if c.Serve != nil && c.Serve.Backup != nil {
		r.out.Notes = append(r.out.Notes, "serve.backup names "+c.Serve.Backup.Folder+": give this archive another folder while the other one lives")
	}
	return []byte(strings.Join(e.lines, "")), nil
}

// placeOffer says where an offer is to be.
func (r *restore) placeOffer(e *configEditor, i int, c OfferConfig, bad *Refusal) error {
	to, given := r.from.Offers[c.Name]
	switch {
	case to == KeepOffer && c.S3 != nil:
		r.out.Offers[c.Name] = c.where()
		r.out.Notes = append(r.out.Notes, "offer "+c.Name+" stays in its bucket: nothing was restored into it; run sae offer sync "+c.Name)
		return nil
	case to == KeepOffer:
		bad.addf("offer %s is a folder: name one for its copies", c.Name)
		return nil
	case !given && c.S3 != nil:
		bad.addf("offer %s is a bucket: give --offer %s=PATH for a folder in its place, or --offer %s=%s when no other archive uses the bucket any more", c.Name, c.Name, c.Name, KeepOffer)
		return nil
	case !given && filepath.IsAbs(c.Path):
		to = path.Join("offers", c.Name)
	case !given:
		to = c.Path
	}
	r.out.Offers[c.Name] = within(r.from.Dir, to)
	if to == c.Path {
		return nil
	}
	return e.replaceOffer(i, OfferConfig{Name: c.Name, Path: to, Drain: c.Drain})
}

// putBlobs copies the blobs into the offers.
func (r *restore) putBlobs(ctx context.Context, cat *catalogue) error {
	var stores []blobs.Store
	var places []int // their offers
	for i := range r.config.Offers {
		c := &r.config.Offers[i]
		if c.S3 != nil {
			continue
		}
		if err := blobs.CreateDir(r.from.FS, c.Path, c.mark(r.out.Archive)); err != nil {
			return err
		}
		r.made = append(r.made, c.Path)
		s, err := c.open(ctx, r.from.FS, r.out.Archive)
		if err != nil {
			return err
		}
		stores, places = append(stores, s), append(places, i)
	}
	policies, err := r.policiesOf(ctx, cat)
	if err != nil {
		return err
	}
	for _, f := range r.files {
		switch {
		case f.IsPiece():
			continue
		case f.Length < 0:
			r.out.Lacking = append(r.out.Lacking, path.Base(f.Name))
			continue
		}
		p := policies[path.Base(f.Name)]
		var into []blobs.Store
		for n, s := range stores {
			if p == nil || p.wants(places[n]) {
				into = append(into, s)
			}
		}
		if err := r.putBlob(ctx, f, into); err != nil {
			return err
		}
	}
	for _, s := range stores {
		if err := s.Sync(ctx); err != nil {
			return err
		}
	}
	return nil
}

// policiesOf gives the storage policy of each blob.
func (r *restore) policiesOf(ctx context.Context, cat *catalogue) (map[string]*policy, error) {
	out := map[string]*policy{}
	a := &Archive{state: &state{config: r.config, policies: r.config.policies(), cat: cat, log: r.log}}
	return out, cat.view(func(t *tx) error {
		return a.eachBlob(t, func(w wholeBlob) error {
			out[w.name] = w.policy
			return ctx.Err()
		})
	})
}

// putBlob writes a blob into offers; it is durable after the next sync.
func (r *restore) putBlob(ctx context.Context, f backup.File, into []blobs.Store) (err error) {
	var all []io.Writer
	var begun []blobs.Writer
	defer func() {
		for _, w := range begun { // of those that were not closed
			w.Abort()
		}
	}()
	for _, s := range into {
		w, err := s.Create(ctx, path.Base(f.Name))
		if err != nil {
			return err
		}
		all, begun = append(all, w), append(begun, w)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.set.Copy(io.MultiWriter(all...), f); err != nil {
		return err
	}
	for len(begun) > 0 {
		w := begun[0]
		begun = begun[1:]
		if err := w.Close(); err != nil {
			return err
		}
	}
	r.out.Blobs, r.out.Bytes = r.out.Blobs+1, r.out.Bytes+f.Length
	return nil
}

// amend takes out of the catalogue what is not so in the new places: copies that were owed, to be locked,
// or to be deleted. The journal begins anew, far behind what a bucket may hold of the archive that was.
func (r *restore) amend(cat *catalogue) error {
	kept := map[string]bool{}
	for _, c := range r.config.Offers {
		kept[c.Name] = c.S3 != nil
	}
	return cat.update(func(t *tx) error {
		for _, b := range []bucket{bktDebt, bktLock, bktUnused} {
			var gone [][]byte
			err := t.scan(b, nil, nil, func(k, _ []byte) (bool, error) {
				if offer, _, _ := strings.Cut(string(k), "\x00"); !kept[offer] {
					gone = append(gone, slices.Clone(k))
				}
				return true, nil
			})
			for _, k := range gone {
				if err == nil {
					err = t.delete(b, k)
				}
			}
			if err != nil {
				return err
			}
		}
		s, err := t.journalState()
		if err != nil {
			return err
		}
		s.branch()
		return t.put(bktMeta, metaJournal, mustJSON(s))
	})
}

// putLostSlot puts the checkpoint slot of the archive that was lost in its place, so that opening tells
// what is missing.
func (r *restore) putLostSlot() error {
	if r.from.Slot == "" {
		return nil
	}
	old, err := durable.OpenSlot(r.from.FS, r.from.Slot)
	if err != nil {
		return fmt.Errorf("checkpoint slot %s: %w", r.from.Slot, err)
	}
	defer old.Close()
	value, _, _, err := old.Load()
	if err != nil {
		return fmt.Errorf("checkpoint slot %s: %w", r.from.Slot, err)
	}
	return r.putSlot(r.config.Slots.Checkpoint, func() error {
		return durable.CreateSlot(r.from.FS, r.config.Slots.Checkpoint, 0o600, value)
	})
}

// undo removes what an unfinished restoring left.
func (r *restore) undo() {
	for _, dir := range r.made {
		os.RemoveAll(filepath.Join(dir, "blobs"))
		os.Remove(filepath.Join(dir, blobs.MarkName))
		os.Remove(dir)
	}
	if r.madeDir {
		os.RemoveAll(r.from.Dir)
		return
	}
	for _, name := range []string{"keys", "offers", lockFile, catalogueFile, catalogueFile + ".restored", ConfigName} {
		os.RemoveAll(filepath.Join(r.from.Dir, name))
	}
}

// verify opens what was restored, which recomputes the ledger, and holds all of it against each other.
func (r *restore) verify(ctx context.Context) (*Restored, error) {
	_, rolledBack := r.opened()
	a, err := Open(r.from.Dir, Options{ReadOnly: true, Log: r.log, FS: r.from.FS, AcceptRollback: true})
	if err != nil {
		return &r.out, fmt.Errorf("the archive was restored; opening it: %w", err)
	}
	defer a.Close()
	s, err := a.Status()
	if err != nil {
		return &r.out, err
	}
	r.out.Units, r.out.Objects = s.Units, s.Objects
	if r.out.Fsck, err = a.Fsck(ctx); err != nil {
		return &r.out, err
	}
	return &r.out, rolledBack
}

// opened opens the archive, as its users will.
func (r *restore) opened() (bool, error) {
	a, err := Open(r.from.Dir, Options{ReadOnly: true, Log: r.log, FS: r.from.FS})
	if err != nil {
		return false, err
	}
	return true, a.Close()
}

// ledgerCheck holds the rows of a catalogue against the checkpoint that a head vouches for.
type ledgerCheck struct {
	r      integrity.Recompute
	n      uint64
	signed []byte
}

// row takes the rows in order.
func (l *ledgerCheck) row(b bucket, k, v []byte) error {
	switch {
	case b == bktEntry && string(k) != string(be64(l.n)):
		return &DamagedError{What: "ledger", Where: "backup", Why: fmt.Sprintf("entry %d is missing", l.n)}
	case b == bktEntry:
		l.r.Add(v)
		l.n++
	case b == bktMeta && string(k) == string(metaCheckpoint):
		l.signed = bytes.Clone(v)
	}
	return nil
}

// holds gives the size of the ledger.
func (l *ledgerCheck) holds(h *backup.Head) (int64, error) {
	bad := func(format string, args ...any) error {
		return &DamagedError{What: "ledger", Where: "backup", Why: fmt.Sprintf(format, args...)}
	}
	v, err := note.NewVerifier(h.LedgerKey)
	if err != nil {
		return 0, err
	}
	if string(l.signed) != h.Checkpoint {
		return 0, bad("the checkpoint of the catalogue is not that of the head")
	}
	cp, err := integrity.ParseCheckpoint(l.signed, v)
	if err != nil {
		return 0, bad("its checkpoint: %v", err)
	}
	if uint64(cp.Size) != l.n || l.r.Root() != cp.Root {
		return 0, bad("%d entries with root %s, the signed checkpoint says %d with root %s", l.n, l.r.Root(), cp.Size, cp.Root)
	}
	return cp.Size, nil
}
