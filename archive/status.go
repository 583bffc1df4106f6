package archive

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sae/integrity"
	"sae/integrity/tsp"
)

// Status is the state of an archive at a glance. It names nobody.
type Status struct {
	Archive     string            `json:"archive"`
	Tenants     []string          `json:"tenants"`
	Units       int64             `json:"units"`
	Objects     int64             `json:"objects"`
	Bytes       int64             `json:"bytes"` // of content, one copy
	Ledger      int64             `json:"ledger"`
	Batches     int64             `json:"batches"`
	Pending     uint64            `json:"pending"`                // leaves that wait for their seal
	PendingFrom *time.Time        `json:"pendingSince,omitempty"` // since when
	LastSeal    *time.Time        `json:"lastSeal,omitempty"`
	LastAudit   *AuditState       `json:"lastAudit,omitempty"`
	Authorities []AuthorityStatus `json:"authorities"`
	Offers      []OfferStatus     `json:"offers"`
	Lost        []LostObject      `json:"lost,omitempty"` // of which no good copy is left
	LateReviews int64             `json:"lateReviews"`    // holds that should have been looked at again
	// LateRequests are those of data subjects that should have been answered.
	LateRequests int64           `json:"lateRequests"`
	Accesses     AccessLogStatus `json:"accessLog"`
	LastBackup   *BackupState    `json:"lastBackup,omitempty"`
	Problems     []string        `json:"problems"` // what a person should look at
}

// AccessLogStatus is where the log of accesses stands.
type AccessLogStatus struct {
	Waiting int64      `json:"waiting"` // accesses in the spool
	Since   *time.Time `json:"waitingSince,omitempty"`
	Records int64      `json:"records"`           // in the catalogue
	Overdue int64      `json:"overdue,omitempty"` // of them, that were kept long enough
	Aside   int64      `json:"damaged,omitempty"` // spools that were set aside
}

// LostObject is an object of which an audit found no good copy.
type LostObject struct {
	Object string    `json:"object"`
	Since  time.Time `json:"since"`
}

// AuditState is the last audit; the catalogue keeps it as it is.
type AuditState struct {
	Time  time.Time `json:"time"`
	Entry int64     `json:"ledgerEntry"`
	integrity.AuditDetail
}

// AuthorityStatus is a configured time-stamping authority.
type AuthorityStatus struct {
	Name     string     `json:"name"`
	Embedded bool       `json:"embedded"`          // then not qualified
	Expires  *time.Time `json:"expires,omitempty"` // of the certificate of its last token here
}

// OfferStatus is one place for copies.
type OfferStatus struct {
	Name     string     `json:"name"`
	Path     string     `json:"path"`
	Down     string     `json:"down,omitempty"`     // why it cannot be used
	Drain    bool       `json:"drain,omitempty"`    // nothing is written to it any more
	Missing  int64      `json:"missing"`            // copies in the repair queue
	Unlocked int64      `json:"unlocked,omitempty"` // copies that are still to be locked
	Since    *time.Time `json:"missingSince,omitempty"`
	Unused   int64      `json:"unused,omitempty"`       // copies that are to be deleted
	Locked   int64      `json:"lockedUnused,omitempty"` // of them, that a lock still keeps
	LockEnd  *time.Time `json:"lockEnd,omitempty"`      // of the first
	Free     uint64     `json:"freeBytes"`
	Size     uint64     `json:"sizeBytes"`
}

// Status gives the state of the archive.
func (a *Archive) Status() (*Status, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	s := &Status{Archive: a.config.Archive, Problems: []string{}}
	for _, t := range a.config.Tenants {
		s.Tenants = append(s.Tenants, t.ID)
	}
	expires := map[string]time.Time{}
	err := a.cat.view(func(t *tx) error { return s.read(a, t, expires) })
	if err != nil {
		return nil, err
	}
	for _, c := range a.config.Authority {
		x := AuthorityStatus{Name: c.Name, Embedded: c.Embedded}
		if e, ok := expires[c.Name]; ok {
			x.Expires = &e
		} else if c.Embedded {
			x.Expires = certificateEnd(filepath.Join(a.dir, tsaCertFile))
		}
		s.Authorities = append(s.Authorities, x)
	}
	debts, err := a.debts()
	if err != nil {
		return nil, err
	}
	for i, o := range a.offers {
		s.Offers = append(s.Offers, offerStatus(o, &a.config.Offers[i], debts))
	}
	err = a.cat.view(func(t *tx) error {
		today := now().Format(time.DateOnly)
		var err, failed error
		s.LateReviews, err = t.lateReviews(today)
		s.LateRequests, failed = t.lateRequests(today)
		return errors.Join(err, failed, s.countUnlocked(t), s.countUnused(t))
	})
	if err != nil {
		return nil, err
	}
	if err := s.readAccesses(a); err != nil {
		return nil, err
	}
	s.judge()
	root, err := a.RootStatus()
	if err != nil {
		return nil, err
	}
	s.Problems = append(s.Problems, root.Problems...)
	if s.LastBackup, err = a.LastBackup(); err != nil {
		return nil, err
	}
	s.Problems = append(s.Problems, s.LastBackup.problems(a.config.Serve.With().Backup, root.Replaced)...)
	return s, nil
}

func (s *Status) readAccesses(a *Archive) error {
	n, since, _, err := a.spooled()
	if s.Accesses.Waiting = n; n > 0 {
		s.Accesses.Since = &since
	}
	aside, failed := a.asideSpools()
	s.Accesses.Aside = int64(len(aside))
	if damage := (*DamagedError)(nil); errors.As(err, &damage) {
		s.Accesses.Aside, err = s.Accesses.Aside+1, nil
	}
	kept := map[string]string{}
	for i := range a.config.Tenants {
		kept[a.config.Tenants[i].ID] = a.keptFrom(&a.config.Tenants[i])
	}
	return errors.Join(err, failed, a.cat.view(func(t *tx) error {
		return t.eachAccessChunk(func(_ []byte, c *accessRecord) error {
			if s.Accesses.Records += c.Count; c.Day < kept[c.Tenant] {
				s.Accesses.Overdue += c.Count
			}
			return nil
		})
	}))
}

func (s *Status) countUnlocked(t *tx) error {
	return t.scan(bktLock, nil, nil, func(k, _ []byte) (bool, error) {
		name, _, _ := strings.Cut(string(k), "\x00")
		for i := range s.Offers {
			if s.Offers[i].Name == name {
				s.Offers[i].Unlocked++
			}
		}
		return true, nil
	})
}

func (s *Status) countUnused(t *tx) error {
	all, err := t.unused()
	for _, u := range all {
		i := slices.IndexFunc(s.Offers, func(o OfferStatus) bool { return o.Name == u.offer })
		if i < 0 {
			continue
		}
		o := &s.Offers[i]
		o.Unused++
		if !u.Until.After(time.Now()) {
			continue
		}
		if o.Locked++; o.LockEnd == nil || u.Until.Before(*o.LockEnd) {
			o.LockEnd = &u.Until
		}
	}
	return err
}

func certificateEnd(path string) *time.Time {
	certs, err := readCertificates(path)
	if err != nil || len(certs) == 0 {
		return nil
	}
	return &certs[0].NotAfter
}

func (s *Status) read(a *Archive, t *tx, expires map[string]time.Time) error {
	cp, err := a.checkpointIn(t)
	if err != nil {
		return err
	}
	s.Ledger = cp.Size
	err = t.eachObject(func(r *objectRecord) error {
		s.Objects++
		s.Bytes += r.Size
		return nil
	})
	if err != nil {
		return err
	}
	if s.Units, err = t.countUnits(); err != nil {
		return err
	}
	err = t.scan(bktBatch, nil, nil, func(_, v []byte) (bool, error) {
		rec, err := decodeBatch(v)
		s.Batches++
		s.LastSeal = &rec.Stamped
		if end := signerEnd(rec.Token); end != nil {
			expires[rec.Authority] = *end
		}
		return true, err
	})
	if err != nil {
		return err
	}
	if s.Lost, err = t.lostObjects(); err != nil {
		return err
	}
	n, since, err := t.waiting()
	if s.Pending = n; n > 0 {
		s.PendingFrom = &since
	}
	if err != nil {
		return err
	}
	s.LastAudit, err = t.lastAudit()
	return err
}

// lastAudit is the last audit; nil when there was none.
func (t *tx) lastAudit() (*AuditState, error) {
	b, err := t.get(bktMeta, metaAudit)
	if err != nil || b == nil {
		return nil, err
	}
	s := &AuditState{}
	return s, json.Unmarshal(b, s)
}

// countUnits counts units, not their versions, nor the records of transfers.
func (t *tx) countUnits() (n int64, err error) {
	end, err := t.end()
	if err != nil {
		return 0, err
	}
	err = t.scan(bktIndex, []byte{idxTenant}, []byte{idxTenant + 1}, func(k, _ []byte) (bool, error) {
		if indexLeaf(k) < end { // one for each unit
			n++
		}
		return true, nil
	})
	return n, err
}

// signerEnd is the end of the validity of the certificate that signed a token.
func signerEnd(der []byte) *time.Time {
	token, err := tsp.Parse(der)
	if err != nil || token.Signer() == nil {
		return nil
	}
	return &token.Signer().NotAfter
}

func offerStatus(o *offer, c *OfferConfig, debts []debt) OfferStatus {
	s := OfferStatus{Name: o.name, Path: c.where(), Drain: c.Drain}
	if o.down != nil {
		s.Down = o.down.Error()
	}
	for _, d := range debts {
		if d.offer != o.name {
			continue
		}
		if s.Missing++; s.Since == nil || d.Since.Before(*s.Since) {
			s.Since = &d.Since
		}
	}
	if c.S3 == nil {
		s.Free, s.Size = space(c.Path)
	}
	return s
}

// space is how many bytes are free where a path lies, and of how many; 0 when that is not known.
func space(path string) (free, size uint64) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize)
}

// judge says what a person should look at.
func (s *Status) judge() {
	say := func(text string) { s.Problems = append(s.Problems, text) }
	for _, o := range s.Offers {
		if o.Down != "" {
			say("offer " + o.Name + " is down: " + o.Down)
		}
		if o.Missing > 0 {
			say("offer " + o.Name + " misses copies: run sae repair")
		}
		if o.Unlocked > 0 {
			say(fmt.Sprintf("offer %s has %d copies that are still to be locked: run sae offer sync %s", o.Name, o.Unlocked, o.Name))
		}
		if n := o.Unused - o.Locked; n > 0 {
			say(fmt.Sprintf("offer %s still has %d copies that are to be deleted: run sae repair", o.Name, n))
		}
		if o.Size > 0 && o.Free < o.Size/20 {
			say("offer " + o.Name + " is nearly full")
		}
	}
	if s.LateReviews > 0 {
		say(fmt.Sprintf("%d holds should have been looked at again: see sae hold list, then sae hold review or lift", s.LateReviews))
	}
	if s.LateRequests > 0 {
		say(fmt.Sprintf("%d requests of data subjects are late: see sae request list", s.LateRequests))
	}
	if n := s.Accesses.Overdue; n > 0 {
		say(fmt.Sprintf("%d records of the log of accesses were kept long enough: run sae gdpr purge-log", n))
	}
	if s.Accesses.Aside > 0 {
		say(fmt.Sprintf("%d spools of accesses were damaged, and set aside in %s: records of who read what may be lost", s.Accesses.Aside, spoolDir))
	}
	for _, x := range s.Authorities {
		if x.Embedded {
			say("time-stamping authority " + x.Name + " is NOT qualified: it is for evaluation")
		}
		if x.Expires != nil && time.Until(*x.Expires) < 90*24*time.Hour {
			say("the certificate of time-stamping authority " + x.Name + " expires on " + x.Expires.Format(time.DateOnly))
		}
	}
	if s.PendingFrom != nil && time.Since(*s.PendingFrom) > 24*time.Hour {
		say("deposits wait for their seal since " + s.PendingFrom.Format(time.RFC3339) + ": run sae seal")
	}
	if s.LastAudit != nil && s.LastAudit.Findings > s.LastAudit.Repaired {
		say("the last audit found damage that is not repaired: run sae audit --repair")
	}
	for _, l := range s.Lost {
		say(fmt.Sprintf("object %s has NO GOOD COPY left since %s: bring back an offer and run sae audit --repair, or give it up with sae repair --accept-loss %s --reason TEXT",
			l.Object, l.Since.Format(time.RFC3339), l.Object))
	}
}

// ChannelShare is how many units came by a channel, and their bytes.
type ChannelShare struct {
	Channel Channel `json:"channel"`
	Units   int64   `json:"units"`
	Objects int64   `json:"objects"`
	Bytes   int64   `json:"bytes"`
	Share   float64 `json:"share"` // of the units that came by any channel, 0 to 1
}

// FormatCount is how many objects have a format.
type FormatCount struct {
	PUID    string `json:"puid"` // "" for unknown
	Name    string `json:"name"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
}

// Stats are the shares of the channels and the formats.
type Stats struct {
	Channels []ChannelShare `json:"channels"`
	Formats  []FormatCount  `json:"formats"`
}

// Stats counts the units of all tenants by channel and the objects by format.
func (a *Archive) Stats() (*Stats, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	channels := map[Channel]*ChannelShare{}
	for _, c := range Channels {
		channels[c] = &ChannelShare{Channel: c}
	}
	formats := map[string]*FormatCount{}
	err := a.cat.view(func(t *tx) error {
		of := map[string]Channel{} // channel by object
		if err := t.countChannels(channels, of); err != nil {
			return err
		}
		return t.countFormats(formats, channels, of)
	})
	if err != nil {
		return nil, err
	}
	out := &Stats{Formats: []FormatCount{}}
	var total int64
	for _, c := range channels {
		total += c.Units
	}
	for _, c := range Channels {
		x := *channels[c]
		if total > 0 {
			x.Share = float64(x.Units) / float64(total)
		}
		out.Channels = append(out.Channels, x)
	}
	for _, f := range formats {
		out.Formats = append(out.Formats, *f)
	}
	slices.SortFunc(out.Formats, func(x, y FormatCount) int {
		return cmp.Or(cmp.Compare(y.Objects, x.Objects), cmp.Compare(x.PUID, y.PUID))
	})
	return out, nil
}

// countChannels counts the last version of every unit.
func (t *tx) countChannels(channels map[Channel]*ChannelShare, of map[string]Channel) error {
	var last unitRecord
	count := func() {
		if c := channels[last.Channel]; c != nil {
			c.Units++
			for _, o := range last.Objects {
				of[o] = last.Channel
			}
		}
	}
	err := t.eachUnit(func(r *unitRecord) error {
		if r.Unit != last.Unit {
			count()
		}
		last = *r
		return nil
	})
	count()
	return err
}

func (t *tx) countFormats(formats map[string]*FormatCount, channels map[Channel]*ChannelShare, of map[string]Channel) error {
	return t.eachObject(func(r *objectRecord) error {
		f := formats[r.Format.PUID]
		if f == nil {
			f = &FormatCount{PUID: r.Format.PUID, Name: strings.TrimSpace(r.Format.Name + " " + r.Format.Version)}
			formats[r.Format.PUID] = f
		}
		f.Objects++
		f.Bytes += r.Size
		if c := channels[of[r.Object]]; c != nil {
			c.Objects++
			c.Bytes += r.Size
		}
		return nil
	})
}
