package archive

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sae/archive/blobs"
	"sae/archive/durable"
	"sae/integrity/tsp"
)

// Examining looks at an archive and what it needs from outside, also when it is damaged, or another
// process holds it: each check stands for itself.

// Verdict is what a check came to.
type Verdict string

// The verdicts.
const (
	Good  Verdict = "ok"
	Doubt Verdict = "warn"
	Fail  Verdict = "FAIL"
)

// Check is one thing that was looked at.
type Check struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	Do      string  `json:"do,omitempty"` // what to do about it
}

// ExamineOptions say what is tried beyond looking.
type ExamineOptions struct {
	// Write writes into each offer a blob of 64 bytes, reads it and deletes it again; into the folders of
	// catalogue and slots a file, synced and removed, to see how long that takes.
	Write bool
	// Stamp asks each time-stamping authority for one time-stamp of random bytes, which may have its price.
	Stamp bool
	Log   *slog.Logger
}

// Examination is what was found.
type Examination struct {
	Checks []Check
	Config *Config // nil when it cannot be read
	Held   string  // who holds the archive; "" for nobody
}

// Examine looks at the archive in dir. What the archive is known by is never changed: see ExamineOptions
// for what is written and taken away again.
func Examine(ctx context.Context, dir string, o ExamineOptions) *Examination {
	e := &examining{dir: dir, o: o, out: &Examination{}}
	if e.o.Log == nil {
		e.o.Log = slog.New(slog.DiscardHandler)
	}
	c, err := LoadConfig(dir)
	if err != nil {
		e.say("configuration", Fail, err.Error(), "mend "+filepath.Join(dir, ConfigName)+"; a copy is in each offer and backup")
		return e.out
	}
	e.out.Config = c
	e.say("configuration", Good, fmt.Sprintf("archive %s, %d tenants, %d offers", c.Archive, len(c.Tenants), len(c.Offers)), "")
	e.permissions()
	e.disks()
	e.slots()
	e.clock()
	e.lock()
	e.offers(ctx)
	if o.Stamp {
		e.authorities(ctx)
	}
	e.converters(ctx)
	if e.out.Held == "" {
		e.open(ctx)
	} else {
		e.say("archive", Good, "not opened, since it is held: for catalogue, ledger, root key and what waits, ask the service for its status (GET /v1/status)", "")
	}
	return e.out
}

type examining struct {
	dir string
	o   ExamineOptions
	out *Examination
}

func (e *examining) say(check string, v Verdict, found, do string) {
	if v == Good {
		do = ""
	}
	e.out.Checks = append(e.out.Checks, Check{check, v, strings.ReplaceAll(found, "\n", "; "), do})
}

// permissions wants keys to be their owner's alone, and the owner to be who runs this.
func (e *examining) permissions() {
	a := &Archive{state: &state{dir: e.dir, config: e.out.Config}}
	if err := a.checkPermissions(); err != nil {
		e.say("permissions", Fail, err.Error(), "the message says what to run")
		return
	}
	fi, err := os.Stat(e.dir)
	switch {
	case err != nil:
		e.say("permissions", Fail, err.Error(), "run it as the owner of the archive")
	case fi.Mode().Perm()&0o007 != 0:
		e.say("permissions", Doubt, fmt.Sprintf("%s has permissions %#o: everybody may look into it", e.dir, fi.Mode().Perm()), "chmod 700 "+e.dir)
	case unix.Access(e.dir, unix.W_OK) != nil:
		e.say("permissions", Fail, e.dir+" cannot be written by who runs this", "run it as the owner of the archive")
	default:
		e.say("permissions", Good, "keys are their owner's alone", "")
	}
}

// disks looks at the space where catalogue and folders for copies lie, and at how a sync fares there.
func (e *examining) disks() {
	e.disk("disk of the catalogue", e.dir)
	for _, c := range e.out.Config.Offers {
		if c.S3 == nil {
			e.disk("disk of offer "+c.Name, c.Path)
		}
	}
	if s := e.out.Config.Serve; s != nil && s.Backup != nil {
		e.disk("disk of the backup", s.Backup.Folder)
	}
}

// File systems that are no place for an archive, by their number (statfs(2)).
var unfit = map[int64]string{
	0x01021994: "tmpfs: it is memory, and gone with the power",
	0x858458f6: "ramfs: it is memory, and gone with the power",
	0x794c7630: "overlayfs: the layer of a container, which goes with it; mount a volume",
	0x6969:     "NFS: locks and syncs are what the server makes of them",
}

// Shares of a disk that are free, below which it is said.
const (
	littleFree = 0.05
	noneFree   = 0.01
)

func (e *examining) disk(check, path string) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		e.say(check, Fail, fmt.Sprintf("%s: %v", path, err), "mount it, or mend its path in "+ConfigName)
		return
	}
	free, inodes := share(st.Bavail, st.Blocks), share(st.Ffree, st.Files)
	found := fmt.Sprintf("%s: %.0f%% of %d GiB and %.0f%% of the inodes are free", path, 100*free, st.Blocks*uint64(st.Bsize)>>30, 100*inodes)
	v, do := Good, ""
	switch least := min(free, inodes); {
	case least < noneFree:
		v, do = Fail, "make room: soon nothing is deposited any more"
	case least < littleFree:
		v, do = Doubt, "make room"
	}
	if why, ok := unfit[int64(st.Type)]; ok {
		v, do = worse(v, Doubt), "put it on a disk of this machine"
		found += "; " + why
	}
	if e.o.Write && v != Fail {
		took, err := trySync(path)
		switch {
		case err != nil:
			v, do = Fail, "see why it cannot be written"
			found += "; " + err.Error()
		case took < 10*time.Microsecond:
			v, do = worse(v, Doubt), "see whether its write cache survives a loss of power"
			found += fmt.Sprintf("; a sync takes %s, less than any disk needs", took)
		default:
			found += fmt.Sprintf("; a sync takes %s (whether the disk then keeps it, no program can know)", took.Round(10*time.Microsecond))
		}
	}
	e.say(check, v, found, do)
}

// worse gives the worse of two verdicts.
func worse(x, y Verdict) Verdict {
	order := []Verdict{Good, Doubt, Fail}
	return order[max(slices.Index(order, x), slices.Index(order, y))]
}

func share(free, of uint64) float64 {
	if of == 0 {
		return 1 // it has no such bound
	}
	return float64(free) / float64(of)
}

// trySync gives the median time of syncing 4 KiB.
func trySync(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, ".sae-doctor-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for range 9 {
		if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// slots wants both places of each slot whole, and on other disks than the catalogue.
func (e *examining) slots() {
	c := &e.out.Config.Slots
	for _, s := range []struct{ what, path string }{{"root key slot", c.Root}, {"checkpoint slot", c.Checkpoint}} {
		if err := checkPlaces(durable.FS{}, s.path); err != nil {
			v, do := Doubt, "the next commit writes it again"
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, durable.ErrSlot) {
				v, do = Fail, "put it back; the root key from a sealed copy: sae root restore"
			}
			e.say(s.what, v, fmt.Sprintf("%s: %v", s.path, err), do)
			continue
		}
		if s.what == "root key slot" && c.PKCS11 != nil {
			e.say(s.what, Good, s.path+", wrapped under a key of token "+c.PKCS11.Token, "")
			continue
		}
		same, err := sameDisk(s.path, e.dir)
		switch {
		case err != nil:
			e.say(s.what, Doubt, err.Error(), "")
		case same:
			e.say(s.what, Doubt, s.path+" lies on the disk of the catalogue: a copy of that disk from before puts both back", "move it to another disk, and name it under slots in "+ConfigName)
		default:
			e.say(s.what, Good, s.path+", on a disk of its own", "")
		}
	}
}

func sameDisk(x, y string) (bool, error) {
	var a, b unix.Stat_t
	if err := errors.Join(unix.Stat(x, &a), unix.Stat(y, &b)); err != nil {
		return false, err
	}
	return a.Dev == b.Dev, nil
}

// clock asks the system whether it is kept by others.
func (e *examining) clock() {
	var t unix.Timex
	state, err := unix.Adjtimex(&t) // it changes nothing
	switch {
	case err != nil:
		e.say("clock", Doubt, "whether it is synchronised is not known: "+err.Error(), "hold it against the time of a time-stamp, below")
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		e.say("clock", Doubt, "it is not synchronised", "run chrony or systemd-timesyncd: times in the ledger are this clock's")
	default:
		e.say("clock", Good, fmt.Sprintf("it is synchronised, to within %s", time.Duration(t.Maxerror)*time.Microsecond), "")
	}
}

// lock sees whether somebody holds the archive.
func (e *examining) lock() {
	path := filepath.Join(e.dir, lockFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		e.say("lock", Good, "nobody holds the archive", "")
		return
	}
	lock, err := durable.LockShared(path)
	var held *durable.HeldError
	switch {
	case errors.As(err, &held):
		e.out.Held = held.Holder
		e.say("lock", Good, "held by "+held.Holder, "")
	case err != nil:
		e.say("lock", Fail, err.Error(), "run it as the owner of the archive")
	default:
		lock.Unlock()
		e.say("lock", Good, "nobody holds the archive", "")
	}
}

// offers opens each and, when writing is tried, puts a blob there, reads it, and takes it away.
func (e *examining) offers(ctx context.Context) {
	for i := range e.out.Config.Offers {
		c := &e.out.Config.Offers[i]
		began := time.Now()
		store, err := c.open(ctx, durable.FS{}, e.out.Config.Archive)
		if err == nil && e.o.Write && !c.Drain {
			err = tryBlob(ctx, store)
		}
		took := time.Since(began).Round(10 * time.Microsecond)
		what := "opened"
		if e.o.Write && !c.Drain {
			what = "opened, written, read and cleaned up"
		}
		switch {
		case err != nil:
			e.say("offer "+c.Name, Fail, c.where()+": "+err.Error(), "mount it, or mend its entry in "+ConfigName)
		case took > 5*time.Second:
			e.say("offer "+c.Name, Doubt, fmt.Sprintf("%s: %s, in %s", c.where(), what, took), "see why it is slow: deposits wait for it")
		default:
			e.say("offer "+c.Name, Good, fmt.Sprintf("%s: %s, in %s", c.where(), what, took), "")
		}
	}
}

func tryBlob(ctx context.Context, store blobs.Store) (err error) {
	name, content := blobs.Name(newID("s"), 1), make([]byte, 64)
	rand.Read(content)
	w, err := store.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		w.Abort()
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Delete(ctx, name), store.Sync(ctx)) }()
	if err := store.Sync(ctx); err != nil {
		return err
	}
	b, err := store.Open(ctx, name)
	if err != nil {
		return err
	}
	defer b.Close()
	back, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err == nil && !bytes.Equal(back, content) {
		err = errors.New("it gives other bytes than were written")
	}
	return err
}

// How far clocks may be apart.
const (
	clockDoubt = 5 * time.Second
	clockFail  = time.Minute
)

// authorities asks each for a time-stamp.
func (e *examining) authorities(ctx context.Context) {
	a := &Archive{state: &state{dir: e.dir, config: e.out.Config, log: e.o.Log}}
	for i, auth := range a.newAuthorities(nil) {
		check := "time-stamps of " + auth.name
		var random [32]byte
		rand.Read(random[:])
		imprint := sha256.Sum256(random[:])
		one, cancel := context.WithTimeout(ctx, auth.timeout)
		began := time.Now()
		token, err := auth.stamp(one, crypto.SHA256, imprint[:])
		took := time.Since(began)
		cancel()
		if err != nil {
			e.say(check, Fail, err.Error(), "see whether the network lets it be reached, and whether its roots are those in "+ConfigName)
			continue
		}
		e.token(check, token, took, e.out.Config.Authority[i].Embedded)
	}
}

func (e *examining) token(check string, token *tsp.Token, took time.Duration, embedded bool) {
	apart := time.Since(token.Time).Abs() - took
	found, v, do := fmt.Sprintf("a time-stamp in %s", took.Round(time.Millisecond)), Good, ""
	if !embedded && apart > clockDoubt {
		found, v, do = fmt.Sprintf("%s; its clock and this one are %s apart", found, apart.Round(time.Second)), Doubt, "set the clock of this machine"
		if apart > clockFail {
			v = Fail
		}
	}
	if cert := token.Signer(); cert != nil {
		days := int(time.Until(cert.NotAfter).Hours() / 24)
		found += fmt.Sprintf("; its certificate ends in %d days", days)
		if days < 90 && v == Good {
			v, do = Doubt, "ask the authority for its next certificate; see whether its roots change"
		}
	}
	if embedded && v == Good {
		v, do = Doubt, "name a qualified authority under timestamps in "+ConfigName
		found += "; it is NOT qualified: for evaluation"
	}
	e.say(check, v, found, do)
}

// converters asks each program for its version.
func (e *examining) converters(ctx context.Context) {
	for i := range e.out.Config.Converters {
		c := &e.out.Config.Converters[i]
		_, err := exec.LookPath(c.Command[0])
		name := ""
		if err == nil {
			name, err = c.ToolName(ctx)
		}
		if err != nil {
			e.say("converter "+c.ID, Fail, err.Error(), "install "+c.Command[0]+", or mend its entry in "+ConfigName)
		} else {
			e.say("converter "+c.ID, Good, name, "")
		}
	}
}

// open opens the archive for reading, which holds ledger, key tree and checkpoint slot against each other,
// and says what its status says.
func (e *examining) open(ctx context.Context) {
	a, err := Open(e.dir, Options{ReadOnly: true, Log: e.o.Log})
	if err != nil {
		e.say("archive", Fail, err.Error(), "docs/operations.md, \"When\", says what to do")
		if a, err = Open(e.dir, Options{NoKeys: true, Log: e.o.Log}); err != nil {
			return
		}
		e.say("archive without its root key", Good, "catalogue, ledger and checkpoint slot fit together", "")
	} else {
		e.say("archive", Good, "catalogue, ledger, root key and checkpoint slot fit together", "")
	}
	defer a.Close()
	s, err := a.Status()
	if err != nil {
		e.say("status", Fail, err.Error(), "run: sae fsck")
		return
	}
	for _, p := range s.Problems {
		if !strings.HasPrefix(p, "time-stamping authority") || !e.o.Stamp { // said above
			e.say("status", Doubt, p, "see docs/operations.md")
		}
	}
	if len(s.Problems) == 0 {
		e.say("status", Good, "nothing to look at", "")
	}
	e.backup(s)
	e.audit(s)
	if !a.noKeys() {
		e.gdpr(ctx, a)
	}
}

// noKeys reports whether the archive was opened without its root key.
func (a *Archive) noKeys() bool { return a.indexKey == [32]byte{} }

func (e *examining) backup(s *Status) {
	switch b := s.LastBackup; {
	case b == nil:
		e.say("backup", Doubt, "there is none", "run sae backup, or name serve.backup in "+ConfigName+"; an offer elsewhere does as well (sae rebuild)")
	default:
		e.say("backup", Good, fmt.Sprintf("generation %d, %s ago", b.Generation, time.Since(b.Time).Round(time.Minute)), "")
	}
}

func (e *examining) audit(s *Status) {
	const often = 32 * 24 * time.Hour
	switch a := s.LastAudit; {
	case a == nil && s.Objects == 0:
		e.say("audit", Good, "nothing to audit yet", "")
	case a == nil:
		e.say("audit", Doubt, "never", "run sae audit --sample 5% nightly")
	case time.Since(a.Time) > often:
		e.say("audit", Doubt, "the last was "+a.Time.Format(time.RFC3339), "run sae audit --sample 5% nightly")
	default:
		e.say("audit", Good, fmt.Sprintf("the last was %s ago: %d findings, %d repaired", time.Since(a.Time).Round(time.Minute), a.Findings, a.Repaired), "")
	}
}

func (e *examining) gdpr(ctx context.Context, a *Archive) {
	for _, t := range a.config.Tenants {
		n := 0
		err := a.CheckGDPR(ctx, t.ID, func(GDPRFinding) error { n++; return nil })
		switch {
		case err != nil:
			e.say("personal data of "+t.ID, Doubt, err.Error(), "run: sae gdpr check")
		case n > 0:
			e.say("personal data of "+t.ID, Doubt, fmt.Sprintf("%d things to look at", n), "run: sae gdpr check --tenant "+t.ID)
		default:
			e.say("personal data of "+t.ID, Good, "nothing to look at", "")
		}
	}
}
