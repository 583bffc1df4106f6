package teleprocedure

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sae/api"
)

// record is what was done for a submission. Each step is written before it is asked for, and when it
// was answered: whoever goes on after a crash knows which answers may have been lost.
type record struct {
	Salt     []byte               `json:"salt"`
	Digest   []byte               `json:"digest"` // of salt and manifest
	Asked    map[string]time.Time `json:"asked,omitempty"`
	Subject  string               `json:"subject,omitempty"`
	File     string               `json:"file,omitempty"`
	Opened   bool                 `json:"opened,omitempty"` // the file, for this submission
	Deposit  *api.Deposited       `json:"deposit,omitempty"`
	Event    string               `json:"event,omitempty"` // act
	Problems Problems             `json:"problems,omitempty"`
	Done     *time.Time           `json:"done,omitempty"`
}

// The steps, in their order.
const (
	recordSubject = "subject"
	openFile      = "file"
	deposit       = "deposit"
	recordEvent   = "event"
)

// remembered is how long the archive surely knows a key, less an hour for clocks that differ. What was
// asked for before, and never answered, is not asked for again: it could be done twice.
const remembered = 47 * time.Hour

// Ref is by what a submission is spoken of outside its folder: it names nobody.
func Ref(procedure, id string) string {
	sum := sha256.Sum256([]byte("submission\x00" + procedure + "\x00" + id))
	return hex.EncodeToString(sum[:12])
}

func (f *Folder) recordPath(ref string) string { return filepath.Join(f.path, state, ref+".json") }

// load gives the record of a submission; a new one when there is none.
func (f *Folder) load(ref string) (*record, error) {
	b, err := os.ReadFile(f.recordPath(ref))
	r := &record{Asked: map[string]time.Time{}}
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state of submission %s: %w", ref, err)
	}
	if r.Asked == nil {
		r.Asked = map[string]time.Time{}
	}
	return r, nil
}

// save makes a record durable.
func (f *Folder) save(ref string, r *record) error {
	kept := *r
	kept.Deposit = bare(r.Deposit)
	b, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encoding the state of submission %s: %w", ref, err)
	}
	if err := f.disk.WriteFile(f.recordPath(ref), b, 0o600); err != nil {
		return fmt.Errorf("writing the state of submission %s: %w", ref, err)
	}
	return nil
}

// bare is a deposit without what tells of documents: a record stays when they are destroyed.
func bare(d *api.Deposited) *api.Deposited {
	if d == nil {
		return nil
	}
	out := *d
	out.Units = nil
	for _, u := range d.Units {
		u.Title = ""
		u.Objects = slices.Clone(u.Objects)
		for i := range u.Objects {
			u.Objects[i].SHA256 = ""
		}
		out.Units = append(out.Units, u)
	}
	return &out
}

// isOf reports whether a record is of the submission with this manifest; one that nothing was asked for
// becomes it.
func (r *record) isOf(manifest [32]byte) bool {
	sum := sha256.Sum256(append(bytes.Clone(r.Salt), manifest[:]...))
	if r.Digest != nil && bytes.Equal(r.Digest, sum[:]) {
		return true
	}
	if r.Deposit != nil || !r.Asked[deposit].IsZero() {
		return false
	}
	r.Salt = make([]byte, 16)
	rand.Read(r.Salt)
	sum = sha256.Sum256(append(bytes.Clone(r.Salt), manifest[:]...))
	r.Digest = sum[:]
	return true
}
