package cmis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sae/api/client"
)

// Puller pulls what a query selects out of a repository into the archive.
type Puller struct {
	Browser *Browser
	Mapping *Mapping
	State   *State
	Client  *client.Client
	Most    int64 // bytes of a content; 64 GiB when 0
	DryRun  bool
	Tell    func(Outcome)
}

// Outcome is what became of an object in a pass. It names the object by its identifier alone.
type Outcome struct {
	ID        string   `json:"id"`
	Done      Done     `json:"done"`
	Unit      string   `json:"unit,omitempty"`
	Operation string   `json:"operation,omitempty"`
	Entry     int64    `json:"ledgerEntry,omitempty"`
	Units     int      `json:"units,omitempty"`
	Contents  int      `json:"contents,omitempty"`
	Bytes     int64    `json:"bytes,omitempty"`
	Skipped   int      `json:"skipped,omitempty"`
	Problems  []string `json:"problems,omitempty"`

	away bool // the repository or the archive is not reached
}

// Done is what was done.
type Done string

// What may have been done.
const (
	Archived  Done = "archived"  // and marked, when the mapping says how
	Unchanged Done = "unchanged" // it was archived before, as it is
	Would     Done = "would"     // a dry run
	Changed   Done = "changed"   // it changed while it was read: nothing was archived, or it was not marked; it comes later
	Refused   Done = "refused"
	Later     Done = "later"
)

// Failed reports whether somebody has to look, or to come again.
func (d Done) Failed() bool { return d == Changed || d == Refused || d == Later }

const (
	maxSelected = 100_000
	remembered  = 47 * time.Hour  // how long the archive surely knows a key
	overlap     = 5 * time.Minute // by which a pass looks back behind the last change that was seen
	enough      = 3               // objects in a row for which the repository or the archive is away end a pass
)

func (p *Puller) most() int64 {
	if p.Most == 0 {
		return 64 << 30
	}
	return p.Most
}

// Pass pulls all that the query selects now. An error ends it: the repository or the archive does not
// let in who asks, or the state fails.
func (p *Puller) Pass(ctx context.Context) error {
	if err := p.Browser.Connect(ctx); err != nil {
		return err
	}
	if err := p.markLeft(ctx); err != nil {
		return err
	}
	since, err := p.State.since(p.Browser.id)
	if err != nil {
		return err
	}
	selected, err := p.selected(ctx, since)
	if err != nil {
		return err
	}
	last, held := since, time.Time{} // the last change that was seen, and the first that is to be seen again
	away, unknown := 0, false        // unknown: it is not known when something was changed that is to be seen again
	for i, id := range selected {
		if err := ctx.Err(); err != nil {
			return err
		}
		if away >= enough {
			return nil // nothing more is reached, and the cursor stays
		}
		out, modified, err := p.one(ctx, id)
		if err != nil {
			return fmt.Errorf("object %s (%d of %d): %w", id, i+1, len(selected), err)
		}
		if away++; !out.away {
			away = 0
		}
		if modified.After(last) {
			last = modified
		}
		if out.Done.Failed() && (held.IsZero() || modified.Before(held)) {
			held = modified
			unknown = unknown || modified.IsZero()
		}
		p.Tell(*out)
	}
	if unknown || p.DryRun || !strings.Contains(p.Mapping.Query, "{since}") {
		return nil
	}
	if !held.IsZero() && held.Before(last) {
		last = held
	}
	if last = last.Add(-overlap); !last.After(since) {
		return nil
	}
	return p.State.setSince(p.Browser.id, last)
}

// selected are the objects that the query selects. They are listed before any is marked: marking takes
// them out of the query, and those behind them would be skipped.
func (p *Puller) selected(ctx context.Context, since time.Time) (ids []string, err error) {
	if since.IsZero() {
		since = time.Unix(0, 0)
	}
	statement := strings.ReplaceAll(p.Mapping.Query, "{since}", "TIMESTAMP '"+since.UTC().Format("2006-01-02T15:04:05.000Z")+"'")
	seen := map[string]bool{}
	for skip := 0; ; {
		page, err := p.Browser.query(ctx, statement, skip)
		if err != nil {
			return nil, err
		}
		for _, o := range page.objects {
			if !seen[o.ID] {
				seen[o.ID] = true
				ids = append(ids, o.ID)
			}
		}
		if skip += len(page.objects); !page.more {
			return ids, nil
		}
		if skip > maxSelected {
			return nil, fmt.Errorf("the query selects more than %d objects: let it select fewer, for example by {since}", maxSelected)
		}
	}
}

// one pulls an object, and gives when it was changed last.
func (p *Puller) one(ctx context.Context, id string) (out *Outcome, modified time.Time, err error) {
	root, err := p.Browser.object(ctx, id)
	if err != nil {
		return p.ended(&Outcome{ID: id}, modified, err)
	}
	modified, _ = root.Time(propModified) // without one the cursor does not move by it
	done, err := p.State.load(p.Browser.id, id)
	if err != nil {
		return nil, modified, err
	}
	if p.isMarked(root) {
		return &Outcome{ID: id, Done: Unchanged, Operation: done.Operation, Entry: done.Entry}, modified, nil
	}
	if done.Broken {
		return p.ended(&Outcome{ID: id}, modified, p.broken(done))
	}
	t, err := p.read(ctx, root)
	if err != nil {
		return p.ended(&Outcome{ID: id}, modified, err)
	}
	out = &Outcome{ID: id, Units: len(t.metadata.Units), Contents: len(t.contents), Bytes: t.size, Skipped: t.skipped}
	if done.Operation != "" && done.Fingerprint == t.fingerprint() {
		out.Done, out.Operation, out.Entry = Unchanged, done.Operation, done.Entry
		return out, modified, nil
	}
	if p.DryRun {
		out.Done = Would
		return out, modified, nil
	}
	if err := p.deposit(ctx, t, done); err != nil {
		return p.ended(out, modified, err)
	}
	out.Done, out.Unit, out.Operation, out.Entry = Archived, done.Units[0], done.Operation, done.Entry
	if err := p.markAll(ctx, done, out); err != nil {
		return p.ended(out, modified, err)
	}
	return out, modified, nil
}

// isMarked reports whether an object bears a mark of the archive.
func (p *Puller) isMarked(o *Object) bool {
	if p.Mapping.Mark == nil {
		return false
	}
	for id, v := range p.Mapping.Mark.Properties {
		// A description that was there before is none.
		if s := o.Text(id); (v == "$unit" || v == "$operation") && markForm.MatchString(s) {
			return true
		}
	}
	return false
}

// ended says what becomes of an object that was not archived, or not marked.
func (p *Puller) ended(out *Outcome, modified time.Time, err error) (*Outcome, time.Time, error) {
	var bad Problems
	var refusal *client.Problem
	var fault *Fault
	out.Problems = strings.Split(err.Error(), "\n")
	switch {
	case client.Ours(err), errors.As(err, &fault) && fault.Status == 401:
		return nil, modified, err
	case errors.Is(err, errChanged), isException(err, "updateConflict"):
		out.Done = Changed
	case Passing(err), client.Later(err):
		out.Done, out.away = Later, isAway(err) || client.Away(err)
	case errors.As(err, &bad), errors.As(err, &refusal), errors.As(err, &fault):
		out.Done = Refused
	default:
		return nil, modified, err
	}
	return out, modified, nil
}

// deposit deposits a tree. Before its last byte the repository is read again: what changed meanwhile is
// not archived.
func (p *Puller) deposit(ctx context.Context, t *tree, done *pulled) error {
	now := t.fingerprint()
	if done.Operation != "" { // an earlier state of it
		done.Earlier = append(done.Earlier, done.Operation)
		done.Operation, done.Entry, done.Asked, done.Units, done.Marks = "", 0, nil, nil, nil
	}
	if done.Asked != nil && time.Since(*done.Asked) > remembered {
		return Problems{fmt.Sprintf("it was deposited on %s, and no answer came: look in the archive whether it is there. If it is not, remove %s", done.Asked.Format(time.RFC3339), p.State.objectPath(done.Repository, done.ID))}
	}
	if done.Asked == nil || done.Fingerprint != now {
		asked := time.Now().UTC()
		if done.Asked != nil {
			asked = *done.Asked // the state before may have been archived: what is not known stays so
			done.Earlier = append(done.Earlier, "asked for as "+p.key(done))
		}
		done.Asked, done.Fingerprint = &asked, now
		if err := p.State.save(done); err != nil {
			return err
		}
	}
	made, err := p.Client.Deposit(ctx, p.key(done), &t.metadata, t.contents, func() error { return p.still(ctx, t.root.ID, now) })
	switch {
	case err == nil && len(made.Units) == 0:
		return Problems{"what it was archived as was destroyed since"}
	case err == nil:
	case client.Later(err):
		return err
	default: // it was answered, or never sent to its end: nothing was archived
		done.Asked = nil
		return errors.Join(err, p.State.save(done))
	}
	done.Asked, done.Operation, done.Entry, done.Archived = nil, made.Operation, made.Entry, made.Archived
	done.Units = nil
	for _, u := range made.Units {
		done.Units = append(done.Units, u.ID)
	}
	if p.Mapping.Mark != nil {
		done.Marks = t.marks
	}
	return p.State.save(done)
}

// key names the deposit of a state of an object to the archive, the same for ever.
func (p *Puller) key(done *pulled) string {
	sum := sha256.Sum256([]byte(done.Repository + "\x00" + done.ID + "\x00" + done.Fingerprint))
	return "cmis-" + hex.EncodeToString(sum[:24])
}

// still reads a tree again, and wants it to be as it was.
func (p *Puller) still(ctx context.Context, id, fingerprint string) error {
	root, err := p.Browser.object(ctx, id)
	if err != nil {
		return err
	}
	t, err := p.read(ctx, root)
	if err == nil && t.fingerprint() != fingerprint {
		err = fmt.Errorf("%s: %w", id, errChanged)
	}
	return err
}

// markLeft marks what was deposited before and could not be marked.
func (p *Puller) markLeft(ctx context.Context) error {
	if p.DryRun || p.Mapping.Mark == nil {
		return nil
	}
	left, err := p.State.unmarked(p.Browser.id)
	if err != nil {
		return err
	}
	for _, done := range left {
		out := &Outcome{ID: done.ID, Done: Archived, Unit: done.Units[0], Operation: done.Operation, Entry: done.Entry, Units: len(done.Units)}
		if err := p.markAll(ctx, done, out); err != nil {
			if out, _, err = p.ended(out, time.Time{}, err); err != nil {
				return err
			}
		}
		p.Tell(*out)
	}
	return nil
}

// markAll makes the marks that are left, the root's first: each is told to the state, so that one that
// was made is not made again. A document that changed since stays without, and is named.
func (p *Puller) markAll(ctx context.Context, done *pulled, out *Outcome) error {
	for len(done.Marks) > 0 {
		m := done.Marks[0]
		err := p.Browser.update(ctx, m.ID, m.Token, p.marksOf(done, m))
		if err != nil && !Passing(err) {
			err = p.madeBefore(ctx, done, m, err)
		}
		if Passing(err) {
			return err
		}
		if done.Marks = done.Marks[1:]; err != nil && m.ID == done.ID {
			done.Marks = nil // it is not as it was archived: it comes again, and what is in it with it
		}
		if saved := p.State.save(done); saved != nil {
			return saved
		}
		if err != nil && m.ID == done.ID {
			return err
		}
		if err != nil {
			out.Problems = append(out.Problems, fmt.Sprintf("not marked: %v", err))
		}
		if m.ID == done.ID {
			if err := p.holds(ctx, done); err != nil {
				return err
			}
		}
	}
	if len(done.Units) > 1 {
		done.Units = done.Units[:1]
		return p.State.save(done)
	}
	return nil
}

// holds wants the mark of an object to be there. Where it is not, although the repository took it, each
// pass would archive the object anew: the first is the last.
func (p *Puller) holds(ctx context.Context, done *pulled) error {
	o, err := p.Browser.object(ctx, done.ID)
	if err != nil || p.isMarked(o) {
		return nil // what cannot be read now is seen by the next pass
	}
	done.Broken, done.Marks = true, nil
	if err := p.State.save(done); err != nil {
		return err
	}
	return p.broken(done)
}

func (p *Puller) broken(done *pulled) error {
	return Problems{fmt.Sprintf("it is archived (operation %s), and the repository does not show the mark that it took: see whether it has the properties that the mapping marks with, then remove %s", done.Operation, p.State.objectPath(done.Repository, done.ID))}
}

// madeBefore gives nil when a mark is there although making it failed: the answer to an earlier try was
// lost.
func (p *Puller) madeBefore(ctx context.Context, done *pulled, m mark, err error) error {
	o, readErr := p.Browser.object(ctx, m.ID)
	if readErr != nil {
		if Passing(readErr) {
			return readErr
		}
		return err
	}
	for id, values := range p.marksOf(done, m) {
		if id != propSecondary && o.Text(id) != values[0] {
			return err
		}
	}
	return nil
}

// marksOf are the properties with which an object is marked.
func (p *Puller) marksOf(done *pulled, m mark) map[string][]string {
	out := map[string][]string{}
	unit := done.Units[0]
	if m.Unit < len(done.Units) {
		unit = done.Units[m.Unit]
	}
	values := strings.NewReplacer("$unit", unit, "$operation", done.Operation, "$entry", strconv.FormatInt(done.Entry, 10), "$time", done.Archived.UTC().Format(time.RFC3339), "$millis", strconv.FormatInt(done.Archived.UnixMilli(), 10))
	for id, v := range p.Mapping.Mark.Properties {
		if isProperty(v) {
			v = values.Replace(v)
		}
		out[id] = []string{v}
	}
	if kind := p.Mapping.Mark.SecondaryType; kind != "" {
		out[propSecondary] = slices.Clone(m.Secondary)
		if !slices.Contains(m.Secondary, kind) {
			out[propSecondary] = append(out[propSecondary], kind)
		}
	}
	return out
}
