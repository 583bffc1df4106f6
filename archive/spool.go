package archive

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sae/archive/durable"
	"sae/archive/vault"
)

// Accesses are logged by processes that only read, several at a time, which cannot write to the
// catalogue. They append to a spool, which who writes to the archive takes into the catalogue
// (accesslog.go). It is
//
//	sae-accesses 1 LF
//	16 random bytes: which spool it is
//	8 bytes          its number: one more than that of the last that was taken in
//	8 bytes          number of the data key that it is under
//	8 bytes          when it was begun, seconds since 1970
//	frames
//
// in which each frame is what was appended at once, and durable before anything was read:
//
//	4 bytes   length of the ciphertext
//	8 bytes   number of the frame, from 0
//	ciphertext of records, a line of JSON each (vault.Seal; associated data: "sae accesses 1", which spool,
//	          its number, number of the data key, number of the frame)
//	4 bytes   the length again: the last frame is found from the end
//
// A frame that is not whole at the end is what a crash tore: nobody was given what it would have
// logged. Whatever else does not open was changed, and the spool is set aside for somebody to look at.

const (
	spoolDir   = "accesses"
	spoolFile  = spoolDir + "/spool"
	spoolAside = "damaged-" // begins the names of spools that were set aside

	spoolMagic = "sae-accesses 1\n"
	spoolHead  = int64(len(spoolMagic)) + 16 + 8 + 8 + 8
	frameHead  = 4 + 8
	frameTail  = 4
	// maxFrame bounds the ciphertext of a frame, in bytes.
	maxFrame = 1 << 20
)

// spoolHeader begins a spool.
type spoolHeader struct {
	id       [16]byte
	sequence uint64
	key      uint64
	begun    time.Time
}

func (h *spoolHeader) marshal() []byte {
	b := append([]byte(spoolMagic), h.id[:]...)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, h.sequence), h.key)
	return binary.BigEndian.AppendUint64(b, uint64(h.begun.Unix()))
}

func parseSpoolHeader(b []byte) (h spoolHeader, err error) {
	if int64(len(b)) != spoolHead || !bytes.HasPrefix(b, []byte(spoolMagic)) {
		return h, errors.New("not a spool of accesses")
	}
	b = b[len(spoolMagic):]
	h.id = [16]byte(b)
	h.sequence, h.key = binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])
	h.begun = time.Unix(int64(binary.BigEndian.Uint64(b[32:])), 0).UTC()
	return h, nil
}

// associated is the associated data of a frame.
func (h *spoolHeader) associated(number uint64) []byte {
	b := append([]byte("sae accesses 1"), h.id[:]...)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, h.sequence), h.key)
	return binary.BigEndian.AppendUint64(b, number)
}

// frame is what was appended at once.
type frame struct {
	number uint64
	sealed []byte
	end    int64 // of it, in the spool
}

func (f *frame) marshal() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(f.sealed)))
	b = binary.BigEndian.AppendUint64(b, f.number)
	return binary.BigEndian.AppendUint32(append(b, f.sealed...), uint32(len(f.sealed)))
}

// length is that of the frame in the spool.
func (f *frame) length() int64 { return frameHead + int64(len(f.sealed)) + frameTail }

// errTorn says that a frame is not whole.
var errTorn = errors.New("not a whole frame")

// readFrame reads the frame at a place of a spool of a size. The error is errTorn, or the reader's.
func readFrame(r io.ReaderAt, at, size int64) (*frame, error) {
	var head [frameHead]byte
	if size-at < frameHead {
		return nil, errTorn
	}
	if _, err := r.ReadAt(head[:], at); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n == 0 || n > maxFrame || size-at < frameHead+n+frameTail {
		return nil, errTorn
	}
	b := make([]byte, n+frameTail)
	if _, err := r.ReadAt(b, at+frameHead); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if int64(binary.BigEndian.Uint32(b[n:])) != n {
		return nil, errTorn
	}
	return &frame{binary.BigEndian.Uint64(head[4:]), b[:n], at + frameHead + n + frameTail}, nil
}

// lastFrame reads the frame that ends a spool of a size.
func lastFrame(r io.ReaderAt, size int64) (*frame, error) {
	var tail [frameTail]byte
	if size < spoolHead+frameHead+frameTail {
		return nil, errTorn
	}
	if _, err := r.ReadAt(tail[:], size-frameTail); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	at := size - frameTail - int64(binary.BigEndian.Uint32(tail[:])) - frameHead
	if at < spoolHead {
		return nil, errTorn
	}
	f, err := readFrame(r, at, size)
	if err == nil && f.end != size {
		err = errTorn
	}
	return f, err
}

// spoolScan is what was found in a spool.
type spoolScan struct {
	end     int64  // behind the last frame that opens
	next    uint64 // number of the frame to come
	damaged error  // what is wrong with it, beside a torn end; nil for nothing
}

// scanSpool opens the frames of a spool of a size in their order. What does not open is passed over.
func scanSpool(r io.ReaderAt, size int64, h *spoolHeader, key [32]byte, f func(number uint64, plain []byte) error) (spoolScan, error) {
	s := spoolScan{end: spoolHead}
	opened := func(fr *frame) error {
		plain, err := vault.Open(key, h.associated(fr.number), fr.sealed)
		if err != nil {
			return nil // what follows tells whether it was torn, or changed
		}
		if start := fr.end - fr.length(); start != s.end || fr.number != s.next {
			s.damaged = fmt.Errorf("frame %d stands at byte %d, where frame %d should at %d", fr.number, start, s.next, s.end)
		}
		if s.end = fr.end; fr.number < s.next { // put in twice
			return nil
		}
		s.next = fr.number + 1
		return f(fr.number, plain)
	}
	at := spoolHead
	for {
		fr, err := readFrame(r, at, size)
		if errors.Is(err, errTorn) {
			break
		}
		if err == nil {
			at, err = fr.end, opened(fr)
		}
		if err != nil {
			return s, err
		}
	}
	// A length that was changed hides what follows it, but not from the end.
	var behind []int64
	for end := size; end > at; {
		fr, err := lastFrame(r, end)
		if errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return s, err
		}
		if end = fr.end - fr.length(); end < at {
			break
		}
		behind = append(behind, end)
	}
	for _, at := range slices.Backward(behind) {
		fr, err := readFrame(r, at, size)
		if err == nil {
			err = opened(fr)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// accessState is the row of the catalogue on the spool.
type accessState struct {
	Key   uint64 `json:"key"`             // data key of spools that are begun
	Spool string `json:"spool,omitempty"` // last one of which records were taken in, hex
	// Sequence is the number of that spool. One that has not a higher number, and is not that, is an
	// old copy that was put back: its records are in the log already.
	Sequence uint64 `json:"sequence"`
	Taken    uint64 `json:"taken"` // of it: the frames below this number
}

var metaAccesses = []byte("accesses")

// spoolState is what an archive keeps of the row: nobody else changes it while it is open.
type spoolState struct {
	accessState
	loaded bool
	key    [32]byte // of spools that are begun
}

func spoolKey(data [32]byte) [32]byte { return vault.Derive(data, "sae accesses") }

// loadSpool reads the state of the spool, once; the caller holds spooling.
func (a *Archive) loadSpool() error {
	if a.spool.loaded {
		return nil
	}
	var s accessState
	err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktMeta, metaAccesses)
		if err == nil && v != nil {
			err = json.Unmarshal(v, &s)
		}
		if err != nil {
			return err
		}
		data, err := a.vault.Unwrap(keyStore{t}, s.Key)
		a.spool.key = spoolKey(data)
		return err
	})
	if err == nil {
		a.spool.accessState, a.spool.loaded = s, true
	}
	return err
}

// openedSpool is the spool, which nobody else has open.
type openedSpool struct {
	*durable.Tail
	spoolHeader
	key [32]byte
	new bool // nothing of it is written yet
}

// openSpool opens the spool, or one to begin; the caller holds spooling.
func (a *Archive) openSpool() (*openedSpool, error) {
	if err := a.loadSpool(); err != nil {
		return nil, err
	}
	path := filepath.Join(a.dir, spoolFile)
	tail, err := a.fs.OpenTail(path, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = a.fs.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			tail, err = a.fs.OpenTail(path, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	s := &openedSpool{Tail: tail, new: true}
	s.spoolHeader, s.key = spoolHeader{sequence: a.spool.Sequence + 1, key: a.spool.Key, begun: now()}, a.spool.key
	rand.Read(s.id[:])
	if tail.Size() < spoolHead { // a crash tore the first append, or it was emptied
		return s, nil
	}
	head := make([]byte, spoolHead)
	if _, err := tail.ReadAt(head, 0); err != nil {
		return nil, errors.Join(err, tail.Close())
	}
	h, err := parseSpoolHeader(head)
	last := hex.EncodeToString(h.id[:]) == a.spool.Spool
	switch {
	case err != nil:
	case last && h.key != a.spool.Key: // its key went when all of it was taken in
		return s, nil
	case !last && h.sequence <= a.spool.Sequence:
		err = errors.New("it is an old copy, of which the records were taken in before")
	case h.key != a.spool.Key:
		err = errors.New("it is under a key of another catalogue")
	default:
		s.spoolHeader, s.new = h, false
		return s, nil
	}
	if err := errors.Join(a.setAside(s, h, err), tail.Close()); err != nil {
		return nil, err
	}
	return a.openSpool()
}

// setAside puts a spool that is damaged where the next audit finds it.
func (a *Archive) setAside(s *openedSpool, h spoolHeader, why error) error {
	to := a.asideName(h)
	a.log.Error("the spool of accesses is damaged, and set aside", "file", to, "error", why)
	return s.SetAside(to)
}

// keepCut keeps what is cut off the end of the spool, when it is more than a crash tears.
func (a *Archive) keepCut(s *openedSpool, at int64) error {
	b := make([]byte, s.Size()-at)
	if _, err := s.ReadAt(b, at); err != nil {
		return err
	}
	return a.fs.WriteFile(a.asideName(s.spoolHeader), b, 0o600)
}

func (a *Archive) asideName(h spoolHeader) string {
	return filepath.Join(a.dir, spoolDir, spoolAside+hex.EncodeToString(h.id[:])+"-"+time.Now().UTC().Format("20060102T150405.000000000"))
}

// asideSpools are the spools that were set aside.
func (a *Archive) asideSpools() ([]string, error) {
	return filepath.Glob(filepath.Join(a.dir, spoolDir, spoolAside+"*"))
}

// appendAccess appends records to the spool. When it returns nil they are durable.
func (a *Archive) appendAccess(plain []byte) (err error) {
	a.spooling.Lock()
	defer a.spooling.Unlock()
	s, err := a.openSpool()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	at, number, err := s.seekEnd()
	if err != nil {
		return err
	}
	if torn := s.Size() - at; torn > 0 && !s.new {
		a.log.Warn("the torn end of the spool of accesses is cut", "bytes", torn)
		if torn > frameHead+maxFrame+frameTail {
			if err := a.keepCut(s, at); err != nil {
				return err
			}
		}
	}
	f := frame{number: number, sealed: vault.Seal(s.key, s.associated(number), plain)}
	b := f.marshal()
	if s.new {
		b = append(s.spoolHeader.marshal(), b...)
	}
	return s.Append(at, b)
}

// seekEnd finds where the next frame goes, and its number.
func (s *openedSpool) seekEnd() (at int64, number uint64, err error) {
	if s.new {
		return 0, 0, nil
	}
	last, err := lastFrame(s, s.Size())
	if err == nil {
		if _, err := vault.Open(s.key, s.associated(last.number), last.sealed); err == nil {
			return last.end, last.number + 1, nil
		}
	} else if !errors.Is(err, errTorn) {
		return 0, 0, err
	}
	found, err := scanSpool(s, s.Size(), &s.spoolHeader, s.key, func(uint64, []byte) error { return nil })
	return found.end, found.next, err
}

// spooled says how many frames wait in the spool, and since when. It needs no key.
func (a *Archive) spooled() (n int64, since time.Time, size int64, err error) {
	file, err := os.Open(filepath.Join(a.dir, spoolFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, since, 0, nil
	}
	if err != nil {
		return 0, since, 0, err
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil || fi.Size() < spoolHead {
		return 0, since, 0, err
	}
	head := make([]byte, spoolHead)
	if _, err := file.ReadAt(head, 0); err != nil {
		return 0, since, 0, err
	}
	h, err := parseSpoolHeader(head)
	if err != nil {
		return 0, since, 0, &DamagedError{What: "spool of accesses", Where: file.Name(), Err: err}
	}
	for at := spoolHead; ; n++ {
		f, err := readFrame(file, at, fi.Size())
		if errors.Is(err, errTorn) {
			return n, h.begun, fi.Size(), nil
		}
		if err != nil {
			return n, h.begun, fi.Size(), err
		}
		at = f.end
	}
}
