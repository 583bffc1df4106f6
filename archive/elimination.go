package archive

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/integrity"
	"sae/retention"
)

// An elimination (Code du patrimoine art. L212-2, L212-3, R212-14) begins with a request: a
// frozen, numbered list of units, which the originating agency agrees to and the control
// authority visas, item by item, each a person of their own. The list stands in the catalogue
// in clear, as identifiers; the ledger commits to it. Transfers to the archives that keep units
// for ever, and the destruction of paper of which a copy stays, go by requests of the same form.

// RequestKind is what a request is for.
type RequestKind string

// The kinds.
const (
	ForElimination RequestKind = ""         // units are destroyed
	ForTransfer    RequestKind = "transfer" // units go to an archive that keeps them for ever
	ForPaper       RequestKind = "paper"    // the paper of units is destroyed, their copies stay
	ForErasure     RequestKind = "erasure"  // units are destroyed for the person whom they concern (erasure.go)
)

// ledgerKind is the kind of the ledger entry of a step.
func (k RequestKind) ledgerKind(s EliminationStep) integrity.Kind {
	return integrity.Kind(k.String() + "-" + string(s))
}

// EliminationStep is what can be done to a request.
type EliminationStep string

// The steps.
const (
	Proposed  EliminationStep = "proposed"  // by an archivist
	Agreed    EliminationStep = "agreed"    // by the originating agency
	Visaed    EliminationStep = "visaed"    // by the control authority
	Refused   EliminationStep = "refused"   // by either: ended
	Withdrawn EliminationStep = "withdrawn" // by an archivist, before anything was destroyed: ended
	// ExecutedStep is taken by an archivist, when all was destroyed that could be: ended.
	ExecutedStep EliminationStep = "executed"
	Sent         EliminationStep = "sent"         // of a transfer, by an archivist
	Acknowledged EliminationStep = "acknowledged" // of a transfer: the reply was verified
	Certified    EliminationStep = "certified"    // the destruction certificate was archived
	Decided      EliminationStep = "decided"      // of an erasure, by the data-protection officer
)

// Elimination is a request as it is kept. It names no person but by pseudonym.
type Elimination struct {
	ID     string            `json:"elimination"`
	Kind   RequestKind       `json:"kind,omitempty"`
	To     string            `json:"to,omitempty"` // of a transfer: the archive that takes the units
	Tenant string            `json:"tenant"`
	At     string            `json:"at"`    // day for which retentions were looked at
	Units  int64             `json:"units"` // numbered from 1
	Root   integrity.Hash    `json:"root"`  // RFC 6962 root over "UNIT VERSION" of each
	Lines  []EliminationLine `json:"lines"` // of the bordereau
	Steps  []StepTaken       `json:"steps"`
	// Refusals are the numbers of units that somebody refused: they stay.
	Refusals []int64 `json:"refusals,omitempty"`
	// Of an erasure: the request of a data subject, and the article of the GDPR.
	Request string `json:"request,omitempty"`
	Article int    `json:"article,omitempty"`

	// Begun: some of its units are destroyed. It is found out when the request is read, and not stored.
	Begun bool `json:"-"`
}

// EliminationLine is one line of the bordereau: units of one agency under the same rules.
type EliminationLine struct {
	Agency  string   `json:"originatingAgency"`
	Rules   []string `json:"rules"`
	First   int64    `json:"first"` // number of the first of its units
	Units   int64    `json:"units"`
	Objects int64    `json:"objects"`
	Bytes   int64    `json:"bytes"`
	From    string   `json:"from,omitempty"` // extreme dates of the documents
	To      string   `json:"to,omitempty"`
	Due     string   `json:"due"` // the last day on which one of them became due
}

// StepTaken is a step that was taken; its words are kept enciphered.
type StepTaken struct {
	Step      EliminationStep `json:"step"`
	Entry     int64           `json:"ledgerEntry"`
	Time      time.Time       `json:"time"`
	Agent     string          `json:"agent"` // pseudonym
	Operation string          `json:"operation"`
	Refused   int64           `json:"refused,omitempty"`   // units
	Destroyed int64           `json:"destroyed,omitempty"` // units, of executing
}

// State is the last step.
func (e *Elimination) State() EliminationStep { return e.Steps[len(e.Steps)-1].Step }

// open reports whether something may still be done.
func (e *Elimination) open() bool {
	switch e.State() {
	case Refused, Withdrawn, ExecutedStep, Certified:
		return false
	}
	return true
}

// step gives a step that was taken.
func (e *Elimination) step(s EliminationStep) (StepTaken, bool) {
	i := slices.IndexFunc(e.Steps, func(t StepTaken) bool { return t.Step == s })
	if i < 0 {
		return StepTaken{}, false
	}
	return e.Steps[i], true
}

func (e *Elimination) executed() bool {
	_, ok := e.step(ExecutedStep)
	return ok
}

// StepText is what a person says with a step.
type StepText struct {
	Reason string `json:"reason,omitempty"`
	// Bordereau is a unit of the archive: the bordereau as it was signed.
	Bordereau string `json:"bordereau,omitempty"`
	// Refused are the numbers of units that are refused, and why.
	Refused []RefusedUnits `json:"refused,omitempty"`
	// The outcome of executing: units, and copies that are gone or cannot be deleted yet.
	Destroyed int64  `json:"destroyed,omitempty"`
	Kept      []Kept `json:"kept,omitempty"`
	Deleted   int64  `json:"deleted,omitempty"`
	Waiting   int64  `json:"waiting,omitempty"`
	// Packages are those of a transfer that was sent.
	Packages []SentPackage `json:"packages,omitempty"`
}

// RefusedUnits are units refused for one reason.
type RefusedUnits struct {
	Numbers []int64 `json:"numbers"`
	Reason  string  `json:"reason"`
}

const eliminationID = "e"

// metaEliminating is the row of a request whose list is being written.
var metaEliminating = []byte("eliminating")

func elimRowKey(id string, number int64) []byte {
	return binary.BigEndian.AppendUint32([]byte(id), uint32(number))
}

// eachOf calls f for each row of a request's list, in the order of their numbers, until it
// returns false.
func (t *tx) eachOf(request string, f func(number int64, unit string, version int) (bool, error)) error {
	return t.scan(bktElim, elimRowKey(request, 0), prefixEnd([]byte(request)), func(k, v []byte) (bool, error) {
		unit, version := splitUnitKey(v)
		return f(int64(binary.BigEndian.Uint32(k[len(request):])), unit, version)
	})
}

// refuses reports whether somebody refused a unit.
func (e *Elimination) refuses(number int64) bool {
	_, refused := slices.BinarySearch(e.Refusals, number)
	return refused
}

// elimChunk is how many units of a list one transaction writes.
const elimChunk = 20_000

// frozen is a unit of a list.
type frozen struct {
	unit     string
	version  int
	agency   string
	rules    string
	objects  int64
	bytes    int64
	from, to string
	due      string
}

// EliminationRequest says what to propose: the units of a tenant that are eliminable on a day
// or, for a transfer, to be kept, of those that the filter chooses.
type EliminationRequest struct {
	Kind   RequestKind
	To     string // of a transfer
	At     string
	Filter Filter
	Reason string
}

// ProposeElimination freezes the list of what is eliminable, on behalf of agent, who must be
// an archivist. Units that another open request lists are left out.
func (a *Archive) ProposeElimination(ctx context.Context, agent string, r EliminationRequest) (*Elimination, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(r.Filter.Tenant)
	if err != nil {
		return nil, err
	}
	if err := of.may(agent, Archivist); err != nil {
		return nil, err
	}
	if r.At > now().Format(time.DateOnly) {
		return nil, &Refusal{Problems: []string{"what is due on " + r.At + " is not due yet: nobody could execute what is proposed for a day to come (sae eliminate analyse looks ahead)"}}
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	if err := a.sweepElimination(); err != nil {
		return nil, err
	}
	list, err := a.proposable(ctx, of, r)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		what := "nothing is " + string(r.Kind.verdict()) + " on " + r.At
		if r.Kind == ForPaper {
			what = "there is no paper that may be destroyed"
		}
		return nil, &Refusal{Problems: []string{what + " that no open request lists: sae eliminate analyse says why"}}
	}
	e := &Elimination{ID: newID(eliminationID), Kind: r.Kind, To: r.To, Tenant: of.ID, At: r.At, Units: int64(len(list)), Lines: linesOf(list), Root: rootOf(list)}
	if err := a.writeList(ctx, e.ID, list); err != nil {
		return nil, errors.Join(err, a.sweepElimination())
	}
	if err := a.takeStep(ctx, agent, e, Proposed, StepText{Reason: r.Reason}); err != nil {
		return nil, errors.Join(err, a.sweepElimination())
	}
	return e, nil
}

// verdict is what units must be to go by a request.
func (k RequestKind) verdict() retention.Verdict {
	if k == ForTransfer {
		return retention.ToKeep
	}
	return retention.Eliminable
}

// proposable lists what may be proposed, in the order of the bordereau.
func (a *Archive) proposable(ctx context.Context, of *Tenant, r EliminationRequest) (list []frozen, err error) {
	taken := map[string]bool{}
	err = a.cat.view(func(t *tx) error { taken, err = a.listed(t); return err })
	if err != nil {
		return nil, err
	}
	r.Filter.Tenant = of.ID
	if r.Kind == ForPaper {
		list, err = a.paperList(ctx, of, r, taken)
		sortFrozen(list)
		return list, err
	}
	err = a.Due(ctx, of.ID, r.At, func(u DueUnit) error {
		if u.Assess.Verdict != r.Kind.verdict() || taken[u.ID] || !u.ChosenBy(&r.Filter) {
			return nil
		}
		list = append(list, frozen{unit: u.ID, version: u.unit.Version, agency: u.Agency, rules: strings.Join(u.Rules, " "), objects: int64(u.Objects), bytes: u.Bytes,
			from: dayOf(u.unit.StartDate), to: dayOf(u.unit.EndDate), due: u.Assess.Due})
		return nil
	})
	sortFrozen(list)
	return list, err
}

func sortFrozen(list []frozen) {
	slices.SortFunc(list, func(x, y frozen) int {
		return cmp.Or(cmp.Compare(x.agency, y.agency), cmp.Compare(x.rules, y.rules), cmp.Compare(x.due, y.due), cmp.Compare(x.unit, y.unit))
	})
}

// listed are the units of all open requests.
func (a *Archive) listed(t *tx) (map[string]bool, error) {
	open := map[string]bool{}
	taken := map[string]bool{}
	err := t.scan(bktElim, []byte(eliminationID), []byte{eliminationID[0] + 1}, func(k, v []byte) (bool, error) {
		if len(k) == 27 {
			e, err := parseElimination(v)
			if err != nil {
				return false, damaged("elimination", string(k), err)
			}
			open[e.ID] = e.open()
			return true, nil
		}
		if open[string(k[:27])] {
			unit, _ := splitUnitKey(v)
			taken[unit] = true
		}
		return true, nil
	})
	return taken, err
}

// linesOf sums a sorted list up.
func linesOf(list []frozen) (lines []EliminationLine) {
	for i, u := range list {
		if i == 0 || u.agency != list[i-1].agency || u.rules != list[i-1].rules {
			lines = append(lines, EliminationLine{Agency: u.agency, Rules: strings.Fields(u.rules), First: int64(i + 1)})
		}
		l := &lines[len(lines)-1]
		l.Units++
		l.Objects += u.objects
		l.Bytes += u.bytes
		l.Due = max(l.Due, u.due)
		if u.from != "" && (l.From == "" || u.from < l.From) {
			l.From = u.from
		}
		l.To = max(l.To, u.to, u.from)
	}
	return lines
}

func rootOf(list []frozen) integrity.Hash {
	var tree integrity.Recompute
	for _, u := range list {
		tree.Add(fmt.Appendf(nil, "%s %d", u.unit, u.version))
	}
	return tree.Root()
}

// writeList writes the list, some of it in each transaction. Until the request is there it is
// litter, which sweepElimination removes.
func (a *Archive) writeList(ctx context.Context, id string, list []frozen) error {
	number := int64(0)
	for chunk := range slices.Chunk(list, elimChunk) {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := a.update(nil, func(t *tx) error {
			if number == 0 {
				if err := t.put(bktMeta, metaEliminating, []byte(id)); err != nil {
					return err
				}
			}
			for i, u := range chunk {
				if err := t.put(bktElim, elimRowKey(id, number+int64(i)+1), unitKey(u.unit, u.version)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("writing the list: %w", err)
		}
		number += int64(len(chunk))
	}
	return nil
}

// sweepElimination removes the list of a request that did not come about.
func (a *Archive) sweepElimination() error {
	var id []byte
	err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktMeta, metaEliminating)
		id = bytes.Clone(v)
		return err
	})
	if err != nil || id == nil {
		return err
	}
	if err := a.sweepBucket(bktElim, id, prefixEnd(id), func(k []byte) bool { return len(k) > len(id) }); err != nil {
		return err
	}
	return a.update(nil, func(t *tx) error { return t.delete(bktMeta, metaEliminating) })
}

// takeStep records a step, on behalf of agent.
func (a *Archive) takeStep(ctx context.Context, agent string, e *Elimination, step EliminationStep, text StepText) error {
	op := &operation{id: newID(opID), entry: integrity.Entry{Agent: agentID(a.indexKey, agent)}}
	after := a.stepOperation(op, e, step, text)
	if _, _, err := a.commit(ctx, op); err != nil {
		return fmt.Errorf("recording the step: %w", err)
	}
	*e = *after
	return nil
}

// stepOperation makes an operation one that takes a step; after is the request after it, once it
// is committed.
func (a *Archive) stepOperation(op *operation, e *Elimination, step EliminationStep, text StepText) (after *Elimination) {
	refused := refusedOf(text)
	op.entry.Kind, op.entry.Tenant = e.Kind.ledgerKind(step), e.Tenant
	said := op.say(string(mustJSON(text)))
	op.detail = func(position) any {
		return integrity.EliminationDetail{Elimination: e.ID, Units: e.Units, Root: e.Root, Refused: int64(len(refused)), Destroyed: text.Destroyed, Text: said, Request: e.Request, Article: e.Article}
	}
	after = &Elimination{}
	*after = *e
	after.Refusals = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(e.Refusals), refused...))))
	op.records = append(op.records, func(p position) []record {
		after.Steps = append(slices.Clone(e.Steps), StepTaken{Step: step, Entry: p.entry, Time: p.time, Agent: op.entry.Agent, Operation: op.id, Refused: int64(len(refused)), Destroyed: text.Destroyed})
		out := []record{{bktElim, []byte(e.ID), mustJSON(after)}}
		if text.Bordereau != "" {
			out = append(out, record{bktAct, unitActKey(text.Bordereau, e.ID), append(be64(uint64(p.entry)), rowBordereau)})
		}
		return out
	})
	op.deletes = append(op.deletes, record{bucket: bktMeta, key: metaEliminating})
	return after
}

func refusedOf(text StepText) (numbers []int64) {
	for _, r := range text.Refused {
		numbers = append(numbers, r.Numbers...)
	}
	return slices.Compact(slices.Sorted(slices.Values(numbers)))
}

// StepElimination takes a step on a request, on behalf of agent, who must have the role for it
// and have taken none before.
func (a *Archive) StepElimination(ctx context.Context, agent, id string, step EliminationStep, text StepText) (*Elimination, error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	e, err := a.Elimination(id)
	if err != nil {
		return nil, err
	}
	if err := a.checkStep(agent, e, step, &text); err != nil {
		return nil, err
	}
	return e, a.takeStep(ctx, agent, e, step, text)
}

// stepRule is what a step wants.
type stepRule struct {
	after []EliminationStep
	role  Role
	apart []EliminationStep // steps that another person must have taken
}

var everyStep = []EliminationStep{Proposed, Agreed, Visaed}

// stepRules are those of an elimination, but for refusals: whose they are depends on when.
var stepRules = map[EliminationStep]stepRule{
	Agreed:       {[]EliminationStep{Proposed}, OriginatingAgency, everyStep},
	Visaed:       {[]EliminationStep{Agreed}, ControlAuthority, everyStep},
	Withdrawn:    {[]EliminationStep{Proposed, Agreed, Visaed}, Archivist, nil},
	ExecutedStep: {[]EliminationStep{Visaed}, Archivist, everyStep},
	Certified:    {[]EliminationStep{ExecutedStep}, Archivist, nil},
}

// transferRules are those of a transfer: nothing is destroyed by who chose what goes.
var transferRules = map[EliminationStep]stepRule{
	Sent:         {[]EliminationStep{Proposed, Sent}, Archivist, nil},
	Acknowledged: {[]EliminationStep{Sent}, Archivist, []EliminationStep{Proposed, Sent}},
	ExecutedStep: {[]EliminationStep{Acknowledged}, Archivist, []EliminationStep{Proposed, Sent}},
	Withdrawn:    {[]EliminationStep{Proposed, Sent}, Archivist, nil},
}

// erasureRules are those of an erasure: nothing is destroyed by who decided.
var erasureRules = map[EliminationStep]stepRule{
	ExecutedStep: {[]EliminationStep{Decided}, Archivist, []EliminationStep{Decided}},
	Certified:    {[]EliminationStep{ExecutedStep}, Archivist, nil},
}

// rule is what a step of the request wants now.
func (e *Elimination) rule(step EliminationStep) (stepRule, bool) {
	rules := stepRules
	switch e.Kind {
	case ForTransfer:
		rules = transferRules
	case ForErasure:
		rules = erasureRules
	}
	if e.Kind == ForPaper && step == Certified { // the bordereau and the ledger say it all
		return stepRule{}, false
	}
	if r, ok := rules[step]; ok || step != Refused || e.Kind == ForTransfer || e.Kind == ForErasure {
		return r, ok
	}
	if e.State() == Agreed {
		return stepRule{[]EliminationStep{Agreed}, ControlAuthority, everyStep}, true
	}
	return stepRule{[]EliminationStep{Proposed}, OriginatingAgency, everyStep}, true
}

// checkStep says what stands against a step.
func (a *Archive) checkStep(agent string, e *Elimination, step EliminationStep, text *StepText) error {
	rule, ok := e.rule(step)
	bad := &Refusal{}
	if !ok || !slices.Contains(rule.after, e.State()) {
		bad.addf("%s %s is %s: it cannot be %s now", e.Kind, e.ID, e.State(), step)
		return bad
	}
	of, err := a.tenant(e.Tenant)
	if err != nil {
		return err
	}
	if err := of.may(agent, rule.role); err != nil {
		return err
	}
	if rule.role == OriginatingAgency {
		if err := of.mayAgree(agent, e.Lines); err != nil {
			return err
		}
	}
	who := agentID(a.indexKey, agent)
	for _, s := range e.Steps {
		if s.Agent == who && slices.Contains(rule.apart, s.Step) {
			bad.addf("%s has taken another step of this %s (%s): each is another person's", agent, e.Kind, s.Step)
		}
	}
	if (step == Refused || step == Withdrawn) && strings.TrimSpace(text.Reason) == "" {
		bad.addf("no reason: say why")
	}
	if step == Refused || step == Withdrawn {
		text.Refused = nil
	}
	for _, r := range text.Refused {
		if strings.TrimSpace(r.Reason) == "" {
			bad.addf("units are refused without a reason")
		}
		for _, n := range r.Numbers {
			if n < 1 || n > e.Units {
				bad.addf("number %d: the list has 1 to %d", n, e.Units)
			}
		}
	}
	if n := len(refusedOf(*text)); n > 0 && int64(n) == e.Units {
		bad.addf("every unit is refused: refuse the request")
	}
	if text.Bordereau != "" {
		if u, err := a.Unit(text.Bordereau); err != nil || u.Tenant != e.Tenant {
			bad.addf("bordereau %q: deposit it first, and name its unit", text.Bordereau)
		}
	}
	if step == Withdrawn && e.Begun {
		bad.addf("some of its units are destroyed already: execute it to its end")
	}
	checkText("reason", text.Reason, 10_000, bad)
	return bad.orNil()
}

func parseElimination(v []byte) (*Elimination, error) {
	e := &Elimination{}
	err := json.Unmarshal(v, e)
	if err == nil && len(e.Steps) == 0 {
		err = errors.New("no step was taken")
	}
	return e, err
}

// request reads a request.
func (t *tx) request(id string) (*Elimination, error) {
	v, err := t.get(bktElim, []byte(id))
	if err == nil && (v == nil || !idForm.MatchString(id)) {
		err = fmt.Errorf("elimination %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	e, err := parseElimination(v)
	if err != nil {
		return nil, damaged("elimination", id, err)
	}
	return e, nil
}

// Elimination gives a request.
func (a *Archive) Elimination(id string) (e *Elimination, err error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		if e, err = t.request(id); err != nil {
			return err
		}
		return t.eachOf(id, func(_ int64, unit string, _ int) (bool, error) {
			stone, err := t.tomb(unit)
			e.Begun = e.Begun || stone != nil
			return !e.Begun && (e.State() == Visaed || e.State() == Acknowledged || e.State() == Decided), err
		})
	})
	return e, err
}

// String names the kind for people.
func (k RequestKind) String() string {
	if k == ForElimination {
		return "elimination"
	}
	return string(k)
}

// Eliminations gives the requests of a tenant of some kinds, in the order in which they were made.
func (a *Archive) Eliminations(tenant string, kinds ...RequestKind) (out []*Elimination, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		return t.eachElimination(func(e *Elimination) error { out = append(out, e); return nil })
	})
	out = slices.DeleteFunc(out, func(e *Elimination) bool { return e.Tenant != of.ID || !slices.Contains(kinds, e.Kind) })
	slices.SortFunc(out, func(x, y *Elimination) int { return int(x.Steps[0].Entry - y.Steps[0].Entry) })
	return out, err
}

func (t *tx) eachElimination(f func(*Elimination) error) error {
	return t.scan(bktElim, nil, nil, func(k, v []byte) (bool, error) {
		if len(k) != 27 {
			return true, nil
		}
		e, err := parseElimination(v)
		if err != nil {
			return false, damaged("elimination", string(k), err)
		}
		err = f(e)
		return err == nil, err
	})
}

// ListedUnit is a unit of a request's list.
type ListedUnit struct {
	Number  int64                 `json:"number"`
	Unit    string                `json:"unit"`
	Version int                   `json:"version"`
	Title   string                `json:"title,omitempty"`
	Refused bool                  `json:"refused,omitempty"`
	Now     *retention.Assessment `json:"now,omitempty"` // what would become of it today
	// Destroyed is the ledger entry by which it was destroyed; 0 when it was not.
	Destroyed int64 `json:"destroyed,omitempty"`
}

// EachListed calls f for the units of a request, in their order, as they are now.
func (a *Archive) EachListed(ctx context.Context, id string, f func(ListedUnit) error) error {
	return a.eachListed(ctx, id, nil, f)
}

// eachListed is EachListed as a reader may see it; nil is the archive itself.
func (a *Archive) eachListed(ctx context.Context, id string, r *Reader, f func(ListedUnit) error) error {
	e, err := a.Elimination(id)
	if err != nil {
		return err
	}
	today := now().Format(time.DateOnly)
	return a.cat.view(func(t *tx) error {
		h := a.heirs(t, "", nil)
		return t.eachOf(id, func(number int64, listed string, version int) (bool, error) {
			u := ListedUnit{Number: number, Unit: listed, Version: version, Refused: e.refuses(number)}
			unit, err := a.unit(t, u.Unit, 0)
			var destroyed *DestroyedError
			if errors.As(err, &destroyed) {
				u.Destroyed = destroyed.Entry
				err = f(u)
				return err == nil, errors.Join(err, ctx.Err())
			}
			if err != nil {
				return false, err
			}
			in, err := h.ofUnit(unit)
			if err != nil {
				return false, err
			}
			if unit, err = r.shown(t, h, unit); err != nil {
				return false, err
			}
			now := retention.Appraise(in, today)
			u.Title, u.Now = unit.Title, &now
			err = f(u)
			return err == nil, errors.Join(err, ctx.Err())
		})
	})
}

// StepWords gives what was said with a step.
func (a *Archive) StepWords(s StepTaken) (text StepText, err error) {
	err = a.cat.view(func(t *tx) error { text, err = a.stepText(t, s); return err })
	return text, err
}

func (a *Archive) stepText(t *tx, s StepTaken) (text StepText, err error) {
	words, err := a.operationText(t, s.Operation)
	if err == nil {
		err = json.Unmarshal(words, &text)
	}
	return text, err
}

// operationText opens what an operation said in words.
func (a *Archive) operationText(t *tx, op string) ([]byte, error) {
	v, err := t.get(bktOp, []byte(op))
	if err == nil && v == nil {
		err = fmt.Errorf("operation %q: %w", op, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	var r operationRecord
	s, err := decodeRecord(v, &r)
	if err != nil {
		return nil, damaged("operation", op, err)
	}
	key, err := a.vault.Unwrap(keyStore{t}, r.Key)
	if err != nil {
		return nil, damaged("operation", op, err)
	}
	_, words, err := s.open(key)
	if err != nil {
		return nil, damaged("operation", op, err)
	}
	return words, nil
}

// checkEliminations holds every request against the ledger: its list is the one committed to,
// and its steps are those that the ledger knows.
func (a *Archive) checkEliminations(t *tx, find func(where string, err error)) error {
	steps, paper := map[string]int{}, map[string][]paperEntry{}
	err := t.entriesOf(func(index int64, e integrity.Entry) error {
		if e.Kind == integrity.PaperDestroyed {
			var d integrity.PaperDetail
			err := e.ReadDetail(e.Kind, &d)
			paper[d.Under] = append(paper[d.Under], paperEntry{index, d.Root})
			return err
		}
		var d integrity.EliminationDetail
		if err := e.ReadDetail(e.Kind, &d); err != nil {
			return err
		}
		steps[d.Elimination]++
		if err := a.checkElimination(t, index, e, d); err != nil {
			find(d.Elimination, err)
		}
		return nil
	}, "elimination-", "transfer-", "paper-", "erasure-")
	if err != nil {
		return err
	}
	return t.eachElimination(func(e *Elimination) error {
		if n := steps[e.ID]; n != len(e.Steps) {
			find(e.ID, fmt.Errorf("it has %d steps, the ledger %d", len(e.Steps), n))
		}
		if err := t.checkPaper(e, paper[e.ID]); err != nil {
			find(e.ID, err)
		}
		return nil
	})
}

// checkRequest holds a request against the ledger, before anything is done by it.
func (a *Archive) checkRequest(id string) error {
	return a.cat.view(func(t *tx) error {
		e, err := t.request(id)
		if err != nil {
			return err
		}
		for _, s := range e.Steps {
			b, err := t.entry(s.Entry)
			if err != nil {
				return err
			}
			entry, err := integrity.ParseEntry(b)
			var d integrity.EliminationDetail
			if err == nil {
				err = entry.ReadDetail(e.Kind.ledgerKind(s.Step), &d)
			}
			if err == nil && d.Elimination != id {
				err = fmt.Errorf("ledger entry %d is of another request", s.Entry)
			}
			if err == nil {
				err = a.checkElimination(t, s.Entry, entry, d)
			}
			if err != nil {
				return &DamagedError{What: "elimination", Where: id, Why: "it is not as the ledger says", Err: err}
			}
		}
		return nil
	})
}

// checkRefusals wants the units that stay to be those that the steps refused.
func (a *Archive) checkRefusals(t *tx, e *Elimination) error {
	var all []int64
	for _, s := range e.Steps {
		text, err := a.stepText(t, s)
		if err != nil {
			return err
		}
		all = append(all, refusedOf(text)...)
	}
	if !slices.Equal(slices.Compact(slices.Sorted(slices.Values(all))), e.Refusals) {
		return errors.New("the units that are refused are not those that the steps refused")
	}
	return nil
}

func (a *Archive) checkElimination(t *tx, entry int64, said integrity.Entry, d integrity.EliminationDetail) error {
	kind := said.Kind
	v, err := t.get(bktElim, []byte(d.Elimination))
	if err != nil {
		return err
	}
	e, err := parseElimination(v)
	if err != nil {
		return fmt.Errorf("the request of ledger entry %d is not there, or damaged: %w", entry, err)
	}
	taken := func(s StepTaken) bool { return s.Entry == entry && e.Kind.ledgerKind(s.Step) == kind }
	i := slices.IndexFunc(e.Steps, taken)
	if i < 0 || e.Root != d.Root || e.Units != d.Units {
		return fmt.Errorf("it is not the request of ledger entry %d", entry)
	}
	if s := e.Steps[i]; s.Agent != said.Agent || s.Operation != said.Operation || !s.Time.Equal(said.Time) || e.Tenant != said.Tenant || e.Request != d.Request || e.Article != d.Article || s.Refused != d.Refused || s.Destroyed != d.Destroyed {
		return fmt.Errorf("its step %q is not as ledger entry %d says", s.Step, entry)
	}
	words, err := a.commitmentOf(t, e.Steps[i].Operation)
	if err != nil {
		return err
	}
	if words != d.Text {
		return fmt.Errorf("what was said with it is not what ledger entry %d commits to", entry)
	}
	if i > 0 {
		return nil
	}
	if err := a.checkRefusals(t, e); err != nil {
		return err
	}
	return t.checkList(e)
}

// checkList recomputes the root of a list.
func (t *tx) checkList(e *Elimination) error {
	var tree integrity.Recompute
	n := int64(0)
	err := t.eachOf(e.ID, func(number int64, unit string, version int) (bool, error) {
		n++
		tree.Add(fmt.Appendf(nil, "%s %d", unit, version))
		return number == n, nil
	})
	if err == nil && (n != e.Units || tree.Root() != e.Root) {
		err = errors.New("its list is not the one that the ledger commits to")
	}
	return err
}

// commitmentOf is the commitment of what an operation said.
func (a *Archive) commitmentOf(t *tx, op string) (h integrity.Hash, err error) {
	v, err := t.get(bktOp, []byte(op))
	if err == nil && v == nil {
		err = fmt.Errorf("operation %q: %w", op, ErrNotFound)
	}
	if err != nil {
		return h, err
	}
	var r operationRecord
	s, err := decodeRecord(v, &r)
	if err != nil {
		return h, err
	}
	key, err := a.vault.Unwrap(keyStore{t}, r.Key)
	if err != nil {
		return h, err
	}
	salt, words, err := s.open(key)
	return groupLeaf(sha256.Sum256(words), salt), err
}
