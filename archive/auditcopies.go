package archive

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"sae/archive/blobs"
	"sae/archive/stream"
)

// byBlob groups objects by the blob that they lie in, and puts them in the order in which
// they lie there: it is then opened once, and read in one go.
func byBlob(objects []*Object) (groups [][]*Object) {
	at := map[string]int{}
	for _, o := range objects {
		i, ok := at[o.record.Blob]
		if !ok {
			i = len(groups)
			at[o.record.Blob], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], o)
	}
	for _, g := range groups {
		slices.SortFunc(g, func(x, y *Object) int { return cmp.Compare(x.record.Offset, y.record.Offset) })
	}
	return groups
}

// opened are the copies of one blob, each opened when it is first read.
type opened struct {
	a      *Archive
	blob   string
	copies map[int]blobs.Blob
	failed map[int]error
}

// part gives the ciphertext of an object in the copy of offer i, until close.
func (o *opened) part(ctx context.Context, i int, r *objectRecord) (*io.SectionReader, error) {
	if o.copies[i] == nil && o.failed[i] == nil {
		o.copies[i], o.failed[i] = o.a.offers[i].open(ctx, o.blob)
	}
	if err := o.failed[i]; err != nil {
		return nil, err
	}
	b := o.copies[i]
	switch {
	case !r.Pack && b.Size() != r.length():
		return nil, fmt.Errorf("%d bytes instead of %d", b.Size(), r.length())
	case r.Offset < 0 || r.Offset+r.length() > b.Size():
		return nil, fmt.Errorf("the pack has %d bytes, the object ends at %d", b.Size(), r.Offset+r.length())
	}
	return io.NewSectionReader(b, r.Offset, r.length()), nil
}

func (o *opened) close() {
	for _, b := range o.copies {
		if b != nil {
			b.Close()
		}
	}
}

// badObject is an object of which the copy in an offer is bad.
type badObject struct {
	*Object
	why  error
	lost bool // as are all others
}

// group reads every copy of objects that lie in one blob.
func (au *audit) group(ctx context.Context, group []*Object, buf []byte) {
	in := &opened{a: au.a, blob: group[0].record.Blob, copies: map[int]blobs.Blob{}, failed: map[int]error{}}
	bad := map[int][]badObject{} // by offer
	for _, o := range group {
		p := au.a.policy(o.record.Policy)
		read := func(i int) error {
			b, err := in.part(ctx, i, &o.record)
			if err != nil {
				return err
			}
			return au.copy(ctx, b, o, buf)
		}
		good, n, errs := au.copies(ctx, p, read)
		for i := range au.a.offers { // none where they belong: perhaps where they do not
			if good < 0 && !p.wants(i) && read(i) == nil {
				good = i
			}
		}
		if good < 0 && au.elsewhere(o) {
			continue
		}
		if good >= 0 || !au.lost[o.ID].GivenUp {
			for i, why := range errs {
				bad[i] = append(bad[i], badObject{o, why, good < 0})
			}
		}
		au.count(ctx, o, good >= 0, n)
	}
	lengths := map[int]int64{}
	for i, b := range in.copies {
		if b != nil {
			lengths[i] = b.Size()
		}
	}
	in.close()
	if len(bad) == 0 && !group[0].record.Pack {
		return
	}
	if now, err := au.a.Object(group[0].ID); err == nil && now.record.Blob != in.blob {
		return // they were moved meanwhile, and their old blob deleted
	}
	var b wholeBlob
	if err := au.a.cat.view(func(t *tx) (err error) { b, err = au.a.registeredBlob(t, in.blob); return err }); err != nil {
		au.findErr("catalogue", au.a.cat.path, err)
		return
	}
	for i, length := range lengths { // every object may be good in a pack that is not
		if group[0].record.Pack && length != b.size && len(bad[i]) == 0 && b.policy.wants(i) {
			bad[i] = []badObject{{group[0], fmt.Errorf("%d bytes instead of %d", length, b.size), false}}
		}
	}
	for i, objects := range bad {
		au.badObjects(ctx, b, i, objects)
	}
}

// elsewhere reports whether an object was moved, or destroyed, since it was looked up.
func (au *audit) elsewhere(o *Object) bool {
	now, err := au.a.Object(o.ID)
	return errors.Is(err, ErrNotFound) || err == nil && now.record.Blob != o.record.Blob
}

// count counts an object whose copies have been read.
func (au *audit) count(ctx context.Context, o *Object, good bool, copies int64) {
	au.mu.Lock()
	defer au.mu.Unlock()
	if _, was := au.lost[o.ID]; good && was {
		au.good = append(au.good, o.ID)
	} else if !good && ctx.Err() == nil {
		au.gone = append(au.gone, o.ID)
	}
	au.report.Objects++
	au.report.Copies += copies
	au.report.Bytes += o.Size
	if au.done += o.Size; au.o.Progress != nil {
		au.o.Progress(au.done, au.total)
	}
}

// copies reads the copies of a blob in the offers where its policy wants them, and gives an
// offer with a good one, -1 for none, how many there are to be, and why the bad ones are bad.
func (au *audit) copies(ctx context.Context, p *policy, read func(offer int) error) (good int, n int64, bad map[int]error) {
	good, bad = -1, map[int]error{}
	for i := range au.a.offers {
		if !p.wants(i) {
			continue
		}
		n++
		if err := read(i); err == nil {
			good = i
		} else if ctx.Err() == nil {
			bad[i] = err
		}
	}
	return good, n, bad
}

// copy holds one copy, b, against what it is a copy of.
func (au *audit) copy(ctx context.Context, b *io.SectionReader, o *Object, buf []byte) error {
	if au.o.Ciphertext {
		return checkSum(ctx, b, o.record.Cipher)
	}
	return auditCopy(ctx, b, o, buf)
}

// auditCopy deciphers one copy and holds its SHA-256 against the sealed one. The
// authentication of every segment covers every byte of the ciphertext.
func auditCopy(ctx context.Context, b *io.SectionReader, o *Object, buf []byte) error {
	r, err := stream.NewReader(o.key, streamAD, stream.Source{Name: o.record.Blob, ReaderAt: b, Size: b.Size()})
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.CopyBuffer(sum, onlyReader{&contextReader{ctx, r}}, buf)
	var corrupt *stream.CorruptError
	if errors.As(err, &corrupt) {
		return fmt.Errorf("from byte %d of its content on: %w", corrupt.Offset, corrupt.Err)
	}
	if err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != o.digest {
		return errors.New("the content is not the one that was deposited")
	}
	return nil
}

// journals reads every copy of every journal blob.
func (au *audit) journals(ctx context.Context) error {
	a := au.a
	var all []wholeBlob
	err := a.cat.view(func(t *tx) error {
		names, err := t.journalBlobs()
		for _, name := range names {
			if err != nil {
				return err
			}
			var b wholeBlob
			b, err = a.registeredBlob(t, name)
			all = append(all, b)
		}
		return err
	})
	au.findErr("catalogue", a.cat.path, err)
	anew := false // a blob has no good copy left: what is in it is in the catalogue too
	for _, b := range all {
		good, _, bad := au.copies(ctx, b.policy, func(i int) error { return a.cipherCopy(ctx, i, b) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for i, why := range bad {
			if good >= 0 {
				au.badCopy(ctx, b, "journal "+b.name, i, why)
				continue
			}
			if anew = au.o.Repair; anew {
				why = fmt.Errorf("%w; the catalogue is written to the offers anew", why)
			}
			au.find(Finding{What: "copy", Where: "journal " + b.name, Offer: a.offers[i].name, Why: why.Error(), Repaired: anew})
		}
	}
	if anew {
		return a.renewJournal()
	}
	return nil
}

// cipherCopy holds one copy of a blob against its SHA-256, for which no key is needed.
func (a *Archive) cipherCopy(ctx context.Context, i int, b wholeBlob) error {
	c, err := a.offers[i].open(ctx, b.name)
	if err != nil {
		return err
	}
	defer c.Close()
	return checkSum(ctx, io.NewSectionReader(c, 0, c.Size()), b.cipher)
}

func checkSum(ctx context.Context, r io.Reader, want []byte) error {
	sum, err := sumOf(ctx, r)
	if err == nil && !bytes.Equal(sum, want) {
		err = errors.New("it is not what was written")
	}
	return err
}

// sumOf is the SHA-256 of ciphertext as it lies in an offer.
func sumOf(ctx context.Context, r io.Reader) ([]byte, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, &contextReader{ctx, r})
	return sum.Sum(nil), err
}

// badObjects finds that the copies of objects of one blob are bad in offer i. Of a pack one
// finding is enough, but for what is lost.
func (au *audit) badObjects(ctx context.Context, b wholeBlob, i int, objects []badObject) {
	var left []badObject
	for _, o := range objects {
		if o.lost {
			au.find(Finding{What: "copy", Where: o.ID + " (" + b.name + ")", Offer: au.a.offers[i].name, Why: o.why.Error(), Lost: true})
		} else {
			left = append(left, o)
		}
	}
	if len(left) == 0 {
		return
	}
	where := left[0].ID + " (" + b.name + ")"
	if len(left) > 1 {
		where = fmt.Sprintf("%s and %d other objects (%s)", left[0].ID, len(left)-1, b.name)
	}
	if left[0].record.Pack && !au.claim(i, b.name) {
		return
	}
	au.badCopy(ctx, b, where, i, left[0].why)
}

// claim says whether the copy of a pack in offer i has not been found bad before: its objects
// come in several groups.
func (au *audit) claim(i int, pack string) bool {
	au.mu.Lock()
	defer au.mu.Unlock()
	c := repairedCopy{i, pack}
	if au.badPacks[c] {
		return false
	}
	if au.badPacks == nil {
		au.badPacks = map[repairedCopy]bool{}
	}
	au.badPacks[c] = true
	return true
}

// badCopy finds that the copy in offer i is bad, and makes it anew from another when it is to
// be repaired.
func (au *audit) badCopy(ctx context.Context, b wholeBlob, where string, i int, why error) {
	f := Finding{What: "copy", Where: where, Offer: au.a.offers[i].name, Why: why.Error()}
	if au.o.Repair {
		switch err := au.a.copyFromAny(ctx, i, b, nil); {
		case err == nil:
			f.Repaired = true
			au.mu.Lock()
			au.repaired = append(au.repaired, repairedCopy{i, b.name})
			au.mu.Unlock()
		case au.moveOut(ctx, b.name):
			f.Repaired = true
			f.Why += "; no copy of the pack is whole, its objects were put into another"
		default:
			f.Why += "; repairing it failed: " + err.Error()
		}
	}
	au.find(f)
}

// moveOut moves the objects of a pack into another, each from an offer where it is good. It
// reports whether all that are good somewhere have been moved.
func (au *audit) moveOut(ctx context.Context, name string) bool {
	au.moving.Lock()
	defer au.moving.Unlock()
	var b wholeBlob
	if err := au.a.cat.view(func(t *tx) (err error) { b, err = au.a.registeredBlob(t, name); return err }); err != nil {
		return false
	}
	for i := range au.a.offers {
		if !au.movedOut[name] && au.a.cipherCopy(ctx, i, b) == nil {
			return false // one is whole: it is the other offer that does not take it
		}
	}
	if au.movedOut[name] {
		return true // it was bad in another offer too
	}
	var ids []string
	err := au.a.cat.view(func(t *tx) error {
		row, err := t.get(bktBlob, []byte(name))
		if err != nil {
			return err
		}
		p, err := parsePack(row)
		if err == nil && p != nil {
			ids = p.Objects
		}
		return err
	})
	if err != nil || len(ids) == 0 {
		return false
	}
	if moved, err := au.a.moveObjects(ctx, ids, &Compacted{}); err != nil || moved == 0 {
		au.a.log.Warn("moving objects out of a damaged pack", "pack", name, "error", err)
		return false
	}
	if au.movedOut == nil {
		au.movedOut = map[string]bool{}
	}
	au.movedOut[name] = true
	return true
}
