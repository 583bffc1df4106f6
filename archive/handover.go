package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"sae/integrity"
	"sae/retention"
	"sae/seda"
)

// A transfer to final archives (Code du patrimoine art. L212-4): what is to be kept at the end of
// its retention goes as ArchiveTransfers of SEDA, one for each deposit that the units came by, each
// with the proof bundles of its units and the ledger entry by which they are handed over. What is
// here is destroyed only when the replies were verified against what was sent, digest by digest.

// SentPackage is a package that was sent.
type SentPackage struct {
	Message   string `json:"message"`   // its MessageIdentifier: the operation of the export
	Operation string `json:"operation"` // by which its units were archived
	Units     int    `json:"units"`
	Entry     int64  `json:"ledgerEntry"` // of the export
}

// SentTransfer is the outcome of sending.
type SentTransfer struct {
	Transfer string        `json:"transfer"`
	Packages []SentPackage `json:"packages"`
	Left     []Kept        `json:"left"` // what is not to be kept any more, or not sealed
	Entry    int64         `json:"ledgerEntry"`
}

// Where custody lies in a package.
const (
	custodyProof = "Proofs/custody.tlog-proof"
	custodyKey   = "Proofs/ledger-key.txt"
)

// keptUnsealed: a unit has no evidence yet, which is to go with it.
const keptUnsealed = "NOT_SEALED"

// SendTransfer writes the packages of a transfer that was proposed, on behalf of agent. each is
// called for every package, by its name; what it writes goes to the other archive. Units that are
// not to be kept any more, have changed, or have no evidence yet, are left out.
func (a *Archive) SendTransfer(ctx context.Context, agent, id string, r ExportRequest, each func(name string, write func(Files) (*ExportOutcome, error)) error) (*SentTransfer, error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	e, err := a.transfer(id)
	if err == nil {
		err = a.checkStep(agent, e, Sent, &StepText{})
	}
	if err != nil {
		return nil, err
	}
	out := &SentTransfer{Transfer: id, Packages: []SentPackage{}, Left: []Kept{}}
	var parts []part
	err = a.cat.view(func(t *tx) (err error) { parts, out.Left, err = a.parts(ctx, t, e); return err })
	if err == nil && len(parts) == 0 {
		err = &Refusal{Problems: []string{"none of its units can be sent: sae transfer show --units says why"}}
	}
	if err != nil {
		return nil, err
	}
	custody, err := a.ProveEntry(e.Steps[0].Entry)
	if err != nil {
		return nil, err
	}
	r.Message, r.Archive, r.Exact, r.WithProof, r.Custody = "ArchiveTransfer", e.To, true, true, custody.Marshal()
	for _, p := range parts {
		r.IDs = p.units
		err := each(p.operation, func(files Files) (*ExportOutcome, error) {
			x, err := a.Export(ctx, agent, r, files)
			if err == nil {
				out.Packages = append(out.Packages, SentPackage{Message: x.Operation, Operation: p.operation, Units: len(p.units), Entry: x.Receipt.Index})
			}
			return x, err
		})
		if err != nil {
			return nil, fmt.Errorf("sending transfer %s: %w", id, err)
		}
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	again, err := a.transfer(id)
	if err == nil {
		err = a.checkStep(agent, again, Sent, &StepText{})
	}
	if err != nil {
		return nil, err
	}
	if err := a.takeStep(ctx, agent, again, Sent, StepText{Packages: out.Packages, Kept: out.Left[:min(len(out.Left), maxKeptTold)]}); err != nil {
		return nil, err
	}
	out.Entry = again.Steps[len(again.Steps)-1].Entry
	return out, nil
}

// transfer gives a request to transfer.
func (a *Archive) transfer(id string) (*Elimination, error) {
	e, err := a.Elimination(id)
	if err == nil && e.Kind != ForTransfer {
		err = &Refusal{Problems: []string{id + " is no transfer"}}
	}
	return e, err
}

// part is what goes as one package.
type part struct {
	operation string
	units     []string
}

// parts are the units of a transfer that can go now, by the operation that archived them, and
// those that cannot.
func (a *Archive) parts(ctx context.Context, t *tx, e *Elimination) (parts []part, left []Kept, err error) {
	at, h := now().Format(time.DateOnly), a.heirs(t, "", nil)
	index := map[string]int{}
	err = t.eachOf(e.ID, func(number int64, unit string, version int) (bool, error) {
		u, err := a.unit(t, unit, 0)
		if errors.Is(err, ErrNotFound) {
			left = append(left, Kept{number, unit, keptVersion, nil})
			return true, nil
		}
		if err != nil {
			return false, err
		}
		in, err := h.ofUnit(u)
		if err != nil {
			return false, err
		}
		reason := ""
		now := retention.Appraise(in, at)
		switch {
		case now.Verdict != retention.ToKeep:
			left = append(left, Kept{number, unit, e.Kind.unfit(), now.Reasons})
			return true, ctx.Err()
		case u.Version != version:
			reason = keptVersion
		case u.Sealed == nil:
			reason = keptUnsealed
		}
		if reason != "" {
			left = append(left, Kept{number, unit, reason, nil})
			return true, nil
		}
		i, ok := index[u.Operation]
		if !ok {
			i = len(parts)
			index[u.Operation] = i
			parts = append(parts, part{operation: u.Operation})
		}
		parts[i].units = append(parts[i].units, unit)
		return true, ctx.Err()
	})
	return parts, left, err
}

// ReplySource is an ArchiveTransferReply to read; Name is how to name it to people.
type ReplySource struct {
	Name string
	Data []byte
}

// MaxReply bounds an ArchiveTransferReply, in bytes.
const MaxReply = 1 << 30

// AcknowledgeTransfer verifies the replies of the other archive against what was sent, archives
// them, and then destroys here what the other archive has, on behalf of agent, who must not have
// chosen or sent it. Every unit and every object must be in a reply, with the digest of what is
// here. Packages without reply, or which were refused, are an error unless leave is true: then
// their units stay. Stopped at any point behind the verification, it goes on from there when it is
// called again, without replies.
func (a *Archive) AcknowledgeTransfer(ctx context.Context, agent, id string, replies []ReplySource, leave bool, progress func(destroyed int64)) (*Executed, error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	e, err := a.transfer(id)
	if err != nil {
		return nil, err
	}
	if err := a.checkRequest(id); err != nil {
		return nil, err
	}
	if e.State() != Acknowledged {
		if e, err = a.verifyReplies(ctx, agent, e, replies, leave); err != nil {
			return nil, err
		}
	}
	taken, err := a.takenBy(ctx, e)
	if err != nil {
		return nil, err
	}
	return a.execute(ctx, agent, e, taken, progress)
}

// verifyReplies takes the step of acknowledging.
func (a *Archive) verifyReplies(ctx context.Context, agent string, e *Elimination, replies []ReplySource, leave bool) (*Elimination, error) {
	a.acting.Lock()
	defer a.acting.Unlock()
	if err := a.checkStep(agent, e, Acknowledged, &StepText{}); err != nil {
		return nil, err
	}
	v, err := a.replyVerifier(ctx, e)
	if err != nil {
		return nil, err
	}
	bad := &Refusal{}
	var good []ReplySource
	for _, r := range replies {
		ok, err := v.verify(r, bad)
		if err != nil {
			return nil, err
		}
		if ok {
			good = append(good, r)
		}
	}
	for _, p := range v.packages {
		if _, ok := v.replied[p.Message]; !ok && !leave {
			bad.addf("package %s (%d units) has no reply that says it was taken: give it, or leave its units here with --leave-rest", p.Message, p.Units)
		}
	}
	if len(bad.Problems) == 0 && len(good) == 0 {
		bad.addf("no reply says that anything was taken: nothing is destroyed")
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	return a.archiveReplies(ctx, agent, e, good)
}

// archiveReplies takes the step of acknowledging; the replies are archived with it, as a record.
func (a *Archive) archiveReplies(ctx context.Context, agent string, e *Elimination, replies []ReplySource) (*Elimination, error) {
	of, err := a.tenant(e.Tenant)
	if err != nil {
		return nil, err
	}
	in := newIntake(e.Tenant, "", 1, newIDs(objectID, len(replies)))
	order := make([]int, len(replies))
	for i := range order {
		order[i] = i
	}
	a.storing.Add(1)
	err = a.storeContents(ctx, in, order, 1, nil, func(o int) source {
		return source{content: inMemoryContent(fmt.Sprintf("reply-%d.xml", o+1), replies[o].Data), where: replies[o].Name, policy: a.policyOf(of, "")}
	})
	if err != nil {
		a.giveUp(in)
		return nil, err
	}
	in.units = func(each func(*draft) error) error {
		d := &draft{where: "the replies", desc: Description{Form: descriptionForm, Unit: in.op, Version: 1, Level: "OtherLevel", Title: "Réponses au transfert " + e.ID, Tenant: e.Tenant, Received: now()}}
		for i := range replies {
			d.desc.Objects = append(d.desc.Objects, DescribedObject{Usage: "ArchiveTransferReply", Filename: fmt.Sprintf("reply-%d.xml", i+1)})
			in.describe(d, i, i)
		}
		return each(d)
	}
	op, err := a.intakeOperation(agent, in)
	if err != nil {
		a.giveUp(in)
		return nil, err
	}
	after := a.stepOperation(op, e, Acknowledged, StepText{})
	op.stored = true
	if _, _, err := a.commit(ctx, op); err != nil {
		if !errors.Is(err, errUncertain) {
			a.discard(in)
		}
		return nil, fmt.Errorf("acknowledging transfer %s: %w", e.ID, err)
	}
	return after, nil
}

// takenBy gives the units that the archived replies of a transfer say the other archive has, with
// their identifiers there. They were verified before they were archived.
func (a *Archive) takenBy(ctx context.Context, e *Elimination) (map[string]string, error) {
	s, _ := e.step(Acknowledged)
	record, err := a.Unit(s.Operation)
	if err != nil {
		return nil, err
	}
	v, err := a.replyVerifier(ctx, e)
	if err != nil {
		return nil, err
	}
	v.known = true
	for _, o := range record.Objects {
		var data bytes.Buffer
		if _, _, err := a.Get(ctx, o.ID, &data); err != nil {
			return nil, err
		}
		bad := &Refusal{}
		if _, err := v.verify(ReplySource{o.Filename, data.Bytes()}, bad); err != nil {
			return nil, err
		}
		if err := bad.orNil(); err != nil {
			return nil, err
		}
	}
	return v.taken, nil
}

// replyVerifier holds replies against what was sent.
type replyVerifier struct {
	a        *Archive
	ctx      context.Context
	e        *Elimination
	packages []SentPackage
	units    map[string][]string // by operation: those of the list that may have been sent
	left     map[string]bool
	replied  map[string]bool
	taken    map[string]string
	known    bool // it was verified before: units that are gone already are passed over
}

func (a *Archive) replyVerifier(ctx context.Context, e *Elimination) (*replyVerifier, error) {
	v := &replyVerifier{a: a, ctx: ctx, e: e, units: map[string][]string{}, left: map[string]bool{}, replied: map[string]bool{}, taken: map[string]string{}}
	err := a.cat.view(func(t *tx) error {
		var sent StepTaken
		for _, s := range e.Steps { // the last, when it was sent again
			if s.Step == Sent {
				sent = s
			}
		}
		text, err := a.stepText(t, sent)
		if err != nil {
			return err
		}
		v.packages = text.Packages
		for _, k := range text.Kept {
			v.left[k.Unit] = true
		}
		return t.eachOf(e.ID, func(_ int64, unit string, _ int) (bool, error) {
			rec, _, err := t.unitRecord(unit, 0)
			if errors.Is(err, ErrNotFound) {
				return true, nil
			}
			if err == nil && !v.left[unit] {
				op := rec.deposited().Operation
				v.units[op] = append(v.units[op], unit)
			}
			return err == nil, err
		})
	})
	return v, err
}

// verify holds one reply against its package; what is wrong is added to bad. ok says that it
// answers for units that were taken.
func (v *replyVerifier) verify(r ReplySource, bad *Refusal) (ok bool, err error) {
	var findings seda.Findings
	reply, err := seda.ReadReply(bytes.NewReader(r.Data), seda.Tolerant, &findings)
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.Name, err)
	}
	for _, f := range findings.List {
		if f.Severity == seda.Error && len(bad.Problems) < maxProblems {
			bad.addf("%s: line %d: %s", r.Name, f.Line, f.Sentence(seda.English))
		}
	}
	if findings.Refused() {
		return false, nil
	}
	i := slices.IndexFunc(v.packages, func(p SentPackage) bool { return p.Message == reply.InReplyTo })
	switch {
	case i < 0:
		bad.addf("%s: it answers %q, which is no package of this transfer as it was sent last", r.Name, reply.InReplyTo)
		return false, nil
	case reply.ArchivalAgency != v.e.To:
		bad.addf("%s: it is of archival agency %q, the units were sent to %q", r.Name, reply.ArchivalAgency, v.e.To)
		return false, nil
	case v.replied[reply.InReplyTo]:
		bad.addf("%s: package %s is answered twice", r.Name, reply.InReplyTo)
		return false, nil
	case !strings.HasPrefix(reply.Code, seda.OutcomeOK) && !strings.HasPrefix(reply.Code, seda.OutcomeWarning):
		return false, nil // a refusal: its units stay
	}
	v.replied[reply.InReplyTo] = true
	units := v.units[v.packages[i].Operation]
	if len(units) != v.packages[i].Units && !v.known {
		bad.addf("%s: %d units of package %s were sent, %d of them are still here", r.Name, v.packages[i].Units, reply.InReplyTo, len(units))
	}
	if len(units) == 0 {
		return true, nil
	}
	x := &export{a: v.a, ctx: v.ctx, r: ExportRequest{IDs: units, Exact: true}, seen: map[string]int{}}
	if err := v.a.cat.view(x.gather); err != nil {
		return false, err
	}
	x.name()
	for _, u := range x.units {
		system := reply.Units[x.xmlID(u)]
		if system == "" {
			v.problem(bad, "%s: unit %s is not in it", r.Name, u.Unit)
			continue
		}
		v.taken[u.Unit] = system
		for i := range u.Objects {
			if err := v.object(r.Name, x, u, &u.Objects[i], reply, bad); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// maxProblems bounds what is said to be wrong.
const maxProblems = 50

func (v *replyVerifier) problem(bad *Refusal, format string, args ...any) {
	if len(bad.Problems) < maxProblems {
		bad.addf(format, args...)
	}
}

// object holds what a reply says of an object against the content that is here.
func (v *replyVerifier) object(name string, x *export, u *Unit, o *DescribedObject, reply *seda.Taken, bad *Refusal) error {
	xml := o.ID
	if o.SEDA != "" {
		xml = x.scopes[u.Operation][o.XMLID]
	}
	given, ok := reply.Objects[xml]
	switch {
	case !ok:
		v.problem(bad, "%s: object %s of unit %s is not in it", name, o.ID, u.Unit)
		return nil
	case given.Digest == "":
		v.problem(bad, "%s: it says no digest of object %s: what was not verified is not destroyed", name, o.ID)
		return nil
	case v.known:
		return nil
	}
	same, err := v.sameDigest(o, given)
	if err != nil {
		return err
	}
	if !same {
		v.problem(bad, "%s: object %s of unit %s was archived with another digest (%s %s) than it has here", name, o.ID, u.Unit, given.Algorithm, given.Digest)
	}
	return nil
}

// sameDigest compares a digest with the content that is here.
func (v *replyVerifier) sameDigest(o *DescribedObject, given seda.Given) (bool, error) {
	object, err := v.a.Object(o.ID)
	if err != nil {
		return false, err
	}
	return seda.SameDigest(given.Algorithm, given.Digest, object.digest[:], func() (io.ReadCloser, error) { return v.a.verifiedReader(v.ctx, object) })
}

// custody reads, in a transfer to this archive, the ledger entry by which another archive hands
// units over. It goes into the entry of the deposit.
func (d *transferDeposit) custody() error {
	_, hasProof := d.in.Package.File(custodyProof)
	_, hasKey := d.in.Package.File(custodyKey)
	if !hasProof && !hasKey {
		return nil
	}
	from, err := d.readCustody()
	if err != nil {
		d.find(seda.Finding{Code: seda.CustodyInvalid, Severity: seda.Error, File: custodyProof, Found: err.Error()})
		return nil
	}
	d.from = &integrity.DepositDetail{From: *from}
	return nil
}

// maxCustody bounds each of the two files.
const maxCustody = 256 << 10

func (d *transferDeposit) readCustody() (*integrity.CustodyFrom, error) {
	read := func(name string) ([]byte, error) {
		f, ok := d.in.Package.File(name)
		if !ok || f.Size > maxCustody {
			return nil, fmt.Errorf("%s is missing, or longer than %d bytes", name, maxCustody)
		}
		r, err := d.in.Package.Open(name)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(io.LimitReader(r, maxCustody))
	}
	key, err := read(custodyKey)
	if err != nil {
		return nil, err
	}
	text, err := read(custodyProof)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return nil, err
	}
	receipt, err := integrity.ParseReceipt(text)
	if err != nil {
		return nil, err
	}
	entry, cp, err := receipt.Check(verifier)
	if err != nil {
		return nil, err
	}
	if entry.Kind != integrity.TransferProposed {
		return nil, fmt.Errorf("the entry is of kind %s, not one by which units are handed over", entry.Kind)
	}
	return &integrity.CustodyFrom{Ledger: strings.TrimSpace(string(key)), Entry: receipt.Index, Hash: tlog.RecordHash(receipt.Entry), Size: cp.Size, Root: cp.Root}, nil
}
