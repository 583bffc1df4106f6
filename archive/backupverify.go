package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sae/archive/backup"
)

// VerifyBackupOptions say what of a backup is verified.
type VerifyBackupOptions struct {
	Generation int64  // 0: all
	Archive    string // whose it must be; "" for any
	LedgerKey  string // of the archive, as its keys/ledger.pub says; "" believes the backup
	Progress   func(files int64)
}

// BackupGeneration is a generation of a backup.
type BackupGeneration struct {
	Generation int64     `json:"generation"`
	Made       time.Time `json:"made"`
	Ledger     int64     `json:"ledger,omitempty"` // entries, verified
	Files      int64     `json:"files"`
	Bytes      int64     `json:"bytes"`
	Lacking    int64     `json:"lacking,omitempty"`
	Replaced   int64     `json:"rootReplaced"` // how often the root key had been
	WithRoot   bool      `json:"withRoot,omitempty"`
	Opens      *bool     `json:"opens,omitempty"` // whether it hangs from the root key of the archive at hand
}

// VerifiedBackup is what was found of a backup.
type VerifiedBackup struct {
	Archive     string             `json:"archive"`
	LedgerKey   string             `json:"ledgerKey,omitempty"` // under which the heads are signed
	Generations []BackupGeneration `json:"generations"`
	Files       int64              `json:"files"` // that were read, each once
	Bytes       int64              `json:"bytes"`
	Findings    []Finding          `json:"findings"`
}

// ListBackup reads the heads of a backup.
func ListBackup(folder backup.Folder, archive string) (*VerifiedBackup, error) {
	set, err := backup.Open(folder, archive)
	if err != nil {
		return nil, err
	}
	out := &VerifiedBackup{Archive: set.Mark.Archive, Generations: []BackupGeneration{}, Findings: []Finding{}}
	all, err := set.Generations()
	for _, n := range all {
		h, err := set.Head(n)
		if err != nil {
			out.find(fmt.Sprintf("generation %d", n), err)
			continue
		}
		out.LedgerKey = h.LedgerKey
		out.Generations = append(out.Generations, generationOf(h))
	}
	return out, err
}

func generationOf(h *backup.Head) BackupGeneration {
	return BackupGeneration{Generation: h.Generation, Made: h.Made, Files: h.Files, Bytes: h.Bytes, Lacking: h.Lacking, Replaced: h.Replaced, WithRoot: h.WithRoot}
}

func (v *VerifiedBackup) find(where string, err error) {
	v.Findings = append(v.Findings, Finding{What: "backup", Where: where, Why: err.Error()})
}

// VerifyBackup reads every file of a backup again, holds it against the manifests, and the catalogues
// against their ledgers. No key is needed. Files that generations share are read once.
func VerifyBackup(ctx context.Context, folder backup.Folder, o VerifyBackupOptions) (*VerifiedBackup, error) {
	set, err := backup.Open(folder, o.Archive)
	if err != nil {
		return nil, err
	}
	all, err := set.Generations()
	if err != nil {
		return nil, err
	}
	if o.Generation != 0 {
		all = []int64{o.Generation}
	}
	v := &verifying{set: set, o: o, read: map[backup.File]error{}, out: &VerifiedBackup{Archive: set.Mark.Archive, Generations: []BackupGeneration{}, Findings: []Finding{}}}
	if len(all) == 0 {
		v.out.find("generations", errors.New("there is none"))
	}
	for _, n := range all {
		if err := v.generation(ctx, n); err != nil {
			return v.out, err
		}
	}
	return v.out, nil
}

type verifying struct {
	set  *backup.Set
	o    VerifyBackupOptions
	read map[backup.File]error // what came of reading a blob
	out  *VerifiedBackup
}

func (v *verifying) generation(ctx context.Context, n int64) error {
	where := fmt.Sprintf("generation %d", n)
	h, err := v.set.Head(n)
	if want := firstLine([]byte(v.o.LedgerKey)); err == nil && want != "" && want != h.LedgerKey {
		err = fmt.Errorf("its head is signed under the key %s, not that of the archive", h.LedgerKey)
	}
	if err != nil {
		v.out.find(where, err)
		return ctx.Err()
	}
	g := generationOf(h)
	v.out.LedgerKey = h.LedgerKey
	l := &ledgerCheck{}
	whole := true // its catalogue could be read
	err = v.set.Files(h, func(f backup.File) error {
		switch {
		case f.Length < 0:
			return ctx.Err()
		case f.IsPiece():
			if err := readPiece(v.set, f, l.row); err != nil {
				whole = false
				v.out.find(where, err)
			}
			v.count(f)
		default:
			if err := v.blob(f); err != nil {
				v.out.find(where, err)
			}
		}
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && whole {
		g.Ledger, err = l.holds(h)
	}
	if err != nil {
		v.out.find(where, err)
	}
	v.out.Generations = append(v.out.Generations, g)
	return nil
}

func (v *verifying) blob(f backup.File) error {
	err, done := v.read[f]
	if !done {
		err = v.set.Check(f)
		v.read[f] = err
		v.count(f)
	}
	return err
}

func (v *verifying) count(f backup.File) {
	v.out.Files, v.out.Bytes = v.out.Files+1, v.out.Bytes+f.Length
	if v.o.Progress != nil {
		v.o.Progress(v.out.Files)
	}
}
