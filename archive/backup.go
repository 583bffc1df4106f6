package archive

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"sae/archive/backup"
	"sae/archive/blobs"
	"sae/archive/escrow"
)

// A backup is a copy of one moment: every row of the catalogue, read in one transaction, and the blobs
// that it speaks of. Deposits go on meanwhile. Blobs never change, so that only those are copied that the
// folder has not; the rows are cut into pieces at places which their keys tell, so that pieces without a
// change are the same, and there already.
//
// The rows hold configuration and keys, too, enciphered (files.go). The root key is not in them: with a
// backup alone nothing is read, and with the root key of after a destruction nothing of before. So what
// was destroyed is as gone from a backup as from a copy of the archive's folder. The journal is left out:
// a restored archive begins a new one.

// BackupOptions say how a backup is made.
type BackupOptions struct {
	Keep int // generations; 7 when it is 0
	// WithRoot puts a sealed copy of the root key beside the generation: see Escrow.
	WithRoot bool
	Progress func(done, total int64) // bytes of blobs; may be nil
}

// keepGenerations is how many generations are kept when nobody says.
const keepGenerations = 7

// BackedUp is a generation of a backup that was made.
type BackedUp struct {
	Generation int64         `json:"generation"`
	Made       time.Time     `json:"made"`   // of the snapshot
	Ledger     int64         `json:"ledger"` // entries in it
	Files      int64         `json:"files"`
	Bytes      int64         `json:"bytes"`
	NewFiles   int64         `json:"newFiles"` // that the folder had not
	NewBytes   int64         `json:"newBytes"`
	Lacking    []string      `json:"lacking,omitempty"` // blobs of which no offer has a good copy
	Root       *Escrowed     `json:"root,omitempty"`
	Removed    backup.Pruned `json:"removed"`
	Seconds    float64       `json:"seconds"`
}

// BackupState is the last backup; the catalogue keeps it as it is.
type BackupState struct {
	Time       time.Time `json:"time"` // when it ended
	Generation int64     `json:"generation"`
	Ledger     int64     `json:"ledger"`
	Bytes      int64     `json:"bytes"`
	NewBytes   int64     `json:"newBytes"`
	Lacking    int64     `json:"lacking,omitempty"`
	Seconds    float64   `json:"seconds"`
	Replaced   int64     `json:"replaced"` // how often the root key had been: another one opens it
}

// metaBackup is the row of the last backup.
var metaBackup = []byte("backup")

// backupTries is how many snapshots are taken when blobs go while they are copied.
const backupTries = 5

// Backup writes a generation of the backup in a folder, on behalf of agent: all that was acknowledged
// before it began is in it. It is whole and durable on return; an error, or a crash, leaves the
// generations before it as they were.
func (a *Archive) Backup(ctx context.Context, agent string, to backup.Folder, o BackupOptions) (_ *BackedUp, err error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	if !a.backing.TryLock() {
		return nil, &Refusal{Problems: []string{"another backup is being made: wait until it has ended"}}
	}
	defer a.backing.Unlock()
	if o.Keep == 0 {
		o.Keep = keepGenerations
	}
	if o.Keep < 1 {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("keep %d generations? at least the new one stays", o.Keep)}}
	}
	ctx, end := a.begin(ctx, WorkBackup)
	defer func() { end(err) }()
	b := &backingUp{a: a, o: o, began: time.Now()}
	if err := b.run(ctx, agent, to); err != nil {
		return nil, fmt.Errorf("backing up: %w", err)
	}
	return &b.out, b.note()
}

type backingUp struct {
	a     *Archive
	o     BackupOptions
	began time.Time
	w     *backup.Writer
	out   BackedUp
	head  backup.Head
	files []backup.File

	mu    sync.Mutex
	bad   []string // blobs without a good copy
	gone  int      // blobs that nothing refers to any more
	done  int64    // bytes
	total int64
}

func (b *backingUp) run(ctx context.Context, agent string, to backup.Folder) error {
	a := b.a
	if err := a.keepFiles(); err != nil {
		return err
	}
	set, err := backup.Create(to, a.config.Archive)
	if err != nil {
		return err
	}
	if b.w, err = set.Begin(); err != nil {
		return err
	}
	// Most blobs are copied before the snapshot: behind it there is little left that could go meanwhile.
	all, err := a.backupBlobs()
	if err != nil {
		return err
	}
	if err := b.copyAll(ctx, all); err != nil {
		return err
	}
	if err := b.snapshots(ctx, agent); err != nil {
		return err
	}
	if err := b.w.Finish(&b.head, b.files, a.signer); err != nil {
		return err
	}
	pruned, err := set.Prune(b.o.Keep)
	err = errors.Join(err, removeLateRoots(set))
	b.out.Removed = *pruned
	b.out.Files, b.out.Bytes = b.head.Files, b.head.Bytes
	b.out.NewFiles, b.out.NewBytes = b.w.Made, b.w.Written
	b.out.Generation, b.out.Made, b.out.Lacking = b.head.Generation, b.head.Made, b.bad
	b.out.Seconds = time.Since(b.began).Seconds()
	if err != nil {
		return fmt.Errorf("generation %d is whole; removing older ones: %w", b.head.Generation, err)
	}
	return nil
}

// removeLateRoots removes the sealed copies of the root key whose last day is over.
func removeLateRoots(set *backup.Set) error {
	all, err := set.Generations()
	if err != nil {
		return err
	}
	for _, n := range all {
		sealed, err := set.Root(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if h, _, err := escrow.ReadHeader(sealed); err == nil && time.Now().After(h.DestroyBy) {
			if err := set.RemoveRoot(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshots takes a snapshot, and another when a blob of it went before it was copied.
func (b *backingUp) snapshots(ctx context.Context, agent string) error {
	for range backupTries {
		if b.o.WithRoot && b.out.Root == nil {
			if err := b.sealRoot(ctx, agent); err != nil {
				return err
			}
		}
		all, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		if err := b.copyAll(ctx, all); err != nil {
			return err
		}
		if b.out.Root != nil && b.head.Replaced != b.out.Root.replaced { // it opens nothing here
			b.out.Root = nil
			continue
		}
		if b.gone == 0 {
			b.addBlobs(all)
			return nil
		}
	}
	return fmt.Errorf("blobs went while they were copied, %d times in a row: try when nothing is being destroyed or compacted", backupTries)
}

// sealRoot keeps a sealed copy of the root key; the ledger says so first.
func (b *backingUp) sealRoot(ctx context.Context, agent string) error {
	b.a.acting.Lock() // the root key is not replaced meanwhile
	e, sealed, err := b.a.sealRoot(ctx, agent)
	b.a.acting.Unlock()
	if err != nil {
		return err
	}
	e.File = fmt.Sprintf("generation %d", b.w.Generation)
	b.out.Root, b.head.WithRoot = e, true
	return b.w.PutRoot(sealed)
}

// backupBlobs are the blobs that the catalogue speaks of, but for the journal's, by name.
func (a *Archive) backupBlobs() (all []wholeBlob, err error) {
	err = a.cat.view(func(t *tx) (err error) {
		all, err = a.blobsIn(t)
		return err
	})
	return all, err
}

func (a *Archive) blobsIn(t *tx) (all []wholeBlob, err error) {
	err = a.eachBlob(t, func(w wholeBlob) error {
		if !strings.HasPrefix(w.name, "j") {
			all = append(all, w)
		}
		return nil
	})
	slices.SortFunc(all, func(x, y wholeBlob) int { return strings.Compare(x.name, y.name) })
	return all, err
}

// snapshot writes every row of one moment, and gives the blobs that belong to them.
func (b *backingUp) snapshot(ctx context.Context) (all []wholeBlob, err error) {
	b.files, b.head.Made = nil, time.Now().UTC()
	b.head.LedgerKey = b.a.ledgerKey
	p := &rowPieces{w: b.w}
	err = b.a.cat.view(func(t *tx) error {
		v, err := t.get(bktMeta, metaCheckpoint)
		b.head.Checkpoint = string(v)
		if err != nil {
			return err
		}
		cp, err := b.a.checkpointIn(t)
		b.out.Ledger = cp.Size
		if err != nil {
			return err
		}
		r, err := t.rootRecord()
		b.head.Replaced = r.Replaced
		if err != nil {
			return err
		}
		if all, err = b.a.blobsIn(t); err != nil {
			return err
		}
		last := bucket("")
		err = t.eachRow(func(bk bucket, k, v []byte) error {
			if bk != last {
				last = bk
				if err := p.end(); err != nil {
					return err
				}
			}
			if bk == bktBlob && bytes.HasPrefix(v, []byte(journalBlob)) || bk == bktMeta && string(k) == string(metaBackup) {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return p.add(bk, k, v)
		})
		if err == nil {
			err = p.end()
		}
		return err
	})
	b.files = p.files
	return all, err
}

// rowPieces cuts rows into pieces. A piece ends behind a key whose checksum says so, or with its bucket:
// where rows were put or deleted, the pieces around them stay as they are.
type rowPieces struct {
	w     *backup.Writer
	files []backup.File
	rows  bytes.Buffer
}

const (
	pieceRows  = 1 << 12   // on average
	pieceBytes = 128 << 20 // at most, but for one row
)

func (p *rowPieces) add(b bucket, k, v []byte) error {
	p.rows.WriteByte(journalPut)
	if err := writeRow(&p.rows, []byte(b), k, v); err != nil {
		return err
	}
	if checksum(b, k, nil)%pieceRows == 0 || p.rows.Len() >= pieceBytes {
		return p.end()
	}
	return nil
}

func (p *rowPieces) end() error {
	if p.rows.Len() == 0 {
		return nil
	}
	p.rows.WriteByte(journalEnd)
	var out bytes.Buffer
	z, err := flate.NewWriter(&out, flate.BestSpeed)
	if err == nil {
		_, err = p.rows.WriteTo(z)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return err
	}
	p.rows.Reset()
	f, err := p.w.Piece(out.Bytes())
	p.files = append(p.files, f)
	return err
}

// addBlobs names the blobs behind the pieces.
func (b *backingUp) addBlobs(all []wholeBlob) {
	bad := map[string]bool{}
	for _, name := range b.bad {
		bad[name] = true
	}
	for _, w := range all {
		f := backupFile(w)
		if bad[w.name] {
			f.Length = -1
		}
		b.files = append(b.files, f)
	}
}

func backupFile(w wholeBlob) backup.File {
	session, n, _ := blobs.Split(w.name) // a name of the catalogue is one
	return backup.File{Name: backup.BlobName(w.name, session, n), Sum: backup.Sum{SHA256: hex.EncodeToString(w.cipher), Length: w.size}}
}

// backupWorkers copy blobs at the same time.
const backupWorkers = 4

// copyAll copies the blobs that the folder has not.
func (b *backingUp) copyAll(ctx context.Context, all []wholeBlob) error {
	b.bad, b.gone, b.done, b.total = nil, 0, 0, 0
	for _, w := range all {
		b.total += w.size
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan wholeBlob)
	var wg sync.WaitGroup
	for range backupWorkers {
		wg.Go(func() {
			for w := range work {
				if err := b.copy(ctx, w); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, w := range all {
		if ctx.Err() != nil {
			break
		}
		have, err := b.w.Has(backupFile(w).Name, w.size)
		if err != nil {
			cancel(err)
			break
		}
		if have {
			b.progress(w.size)
		} else {
			work <- w
		}
	}
	close(work)
	wg.Wait()
	return errors.Join(context.Cause(ctx), b.w.Flush())
}

func (b *backingUp) progress(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += n
	if b.o.Progress != nil {
		b.o.Progress(b.done, b.total)
	}
}

// copy copies a blob from the first offer that has a good copy.
func (b *backingUp) copy(ctx context.Context, w wholeBlob) error {
	var failed []error // by which it is not known that there is no good copy
	for _, o := range b.a.offers {
		read, err := b.copyFrom(ctx, o, w)
		switch {
		case err == nil:
			b.progress(w.size)
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !read: // the folder does not take it
			return err
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, backup.ErrSum):
			failed = append(failed, fmt.Errorf("offer %s: %w", o.name, err))
		}
	}
	known, err := b.a.knowsBlob(w.name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !known: // destroyed, or moved into a pack, since it was listed
		b.gone++
	case len(failed) > 0:
		return fmt.Errorf("no copy of blob %s could be read: %w", w.name, errors.Join(failed...))
	default:
		b.bad = append(b.bad, w.name)
	}
	return nil
}

// copyFrom copies a blob from an offer; read is false when it was the folder that failed.
func (b *backingUp) copyFrom(ctx context.Context, o *offer, w wholeBlob) (read bool, err error) {
	src, err := o.open(ctx, w.name)
	if err != nil {
		return true, err
	}
	defer src.Close()
	from := &sourceReader{r: &contextReader{ctx, io.NewSectionReader(src, 0, src.Size())}}
	err = b.w.Add(backupFile(w), func(to io.Writer) error {
		_, err := io.CopyBuffer(to, onlyReader{from}, make([]byte, 256<<10))
		return err
	})
	return err == nil || from.err != nil || errors.Is(err, backup.ErrSum), err
}

// sourceReader remembers that reading failed.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// note lets the archive know of its last backup.
func (b *backingUp) note() error {
	s := BackupState{Time: now(), Generation: b.out.Generation, Ledger: b.out.Ledger, Bytes: b.out.Bytes, NewBytes: b.out.NewBytes,
		Lacking: int64(len(b.out.Lacking)), Seconds: b.out.Seconds, Replaced: b.head.Replaced}
	err := b.a.update(nil, func(t *tx) error { return t.put(bktMeta, metaBackup, mustJSON(s)) })
	if err != nil {
		return fmt.Errorf("generation %d is whole; noting it: %w", s.Generation, err)
	}
	return nil
}

// BackupInto is Backup into a folder of this machine, which must be there.
func (a *Archive) BackupInto(ctx context.Context, agent, folder string, o BackupOptions) (*BackedUp, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	to, err := backup.OpenDir(a.fs, folder)
	if err != nil {
		return nil, fmt.Errorf("backing up: %w", err)
	}
	return a.Backup(ctx, agent, to, o)
}

// LastBackup is the last backup; nil when there was none.
func (a *Archive) LastBackup() (s *BackupState, err error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) (err error) {
		s, err = t.lastBackup()
		return err
	})
	return s, err
}

func (t *tx) lastBackup() (*BackupState, error) {
	v, err := t.get(bktMeta, metaBackup)
	if err != nil || v == nil {
		return nil, err
	}
	s := &BackupState{}
	return s, json.Unmarshal(v, s)
}
