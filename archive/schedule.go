package archive

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/integrity"
	"sae/retention"
)

// The retention schedule of each tenant stands in the catalogue, every version of every rule.
// It is changed as a whole, by one ledger entry, which commits to what it is afterwards.

// ruleRecord is one version of a rule.
type ruleRecord struct {
	retention.Versioned
	Entry int64     `json:"entry"` // by which it came to stand
	Time  time.Time `json:"time"`
}

func ruleKey(tenant, id string, version int) []byte {
	return binary.BigEndian.AppendUint32([]byte(tenant+"\x00"+id+"\x00"), uint32(version))
}

//go:embed schedule.tmpl.yaml
var firstSchedule []byte

// firstRules are the rules of a new archive.
func firstRules() []retention.Versioned {
	rules, err := retention.ParseYAML(firstSchedule)
	if err != nil {
		panic(err) // a test reads them
	}
	var out []retention.Versioned
	for _, r := range rules {
		out = append(out, retention.Versioned{Rule: r, Version: 1})
	}
	return out
}

// ruleRows are the rows of versions of rules, and schedules the schedules of all tenants.
func ruleRows(tenant string, rules []retention.Versioned) func(position) []record {
	return func(p position) (out []record) {
		for _, r := range rules {
			out = append(out, record{bktRule, ruleKey(tenant, r.ID, r.Version), mustJSON(ruleRecord{r, p.entry, p.time})})
		}
		return out
	}
}

func (t *tx) eachRule(tenant string, f func(tenant string, r ruleRecord) error) error {
	var from, to []byte
	if tenant != "" {
		from = []byte(tenant + "\x00")
		to = prefixEnd(from)
	}
	return t.scan(bktRule, from, to, func(k, v []byte) (bool, error) {
		var r ruleRecord
		of, _, _ := strings.Cut(string(k), "\x00")
		err := json.Unmarshal(v, &r)
		if err == nil {
			err = f(of, r)
		}
		return err == nil, err
	})
}

// loadSchedules reads the last version of every rule.
func (a *Archive) loadSchedules(t *tx) error {
	out, err := a.readSchedules(t)
	if err == nil {
		a.schedules.Store(&out)
	}
	return err
}

// readSchedules gives the schedules as the catalogue has them, by tenant.
func (a *Archive) readSchedules(t *tx) (map[string]*retention.Schedule, error) {
	rules := map[string][]retention.Versioned{}
	err := t.eachRule("", func(tenant string, r ruleRecord) error {
		rules[tenant] = append(rules[tenant], r.Versioned) // the last of an id wins
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the retention schedules: %w", err)
	}
	out := map[string]*retention.Schedule{}
	for _, t := range a.config.Tenants {
		out[t.ID] = retention.NewSchedule(rules[t.ID])
	}
	return out, nil
}

// schedule is that of a tenant, as it is now.
func (a *Archive) schedule(tenant string) *retention.Schedule {
	if s := (*a.schedules.Load())[tenant]; s != nil {
		return s
	}
	return retention.NewSchedule(nil)
}

// Rules gives the schedule of a tenant; "" is the first.
func (a *Archive) Rules(tenant string) (*retention.Schedule, error) {
	t, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	return a.schedule(t.ID), nil
}

// RulesAt gives the schedule of a tenant as it was before a ledger entry: what was proposed then names
// its rules.
func (a *Archive) RulesAt(tenant string, entry int64) (*retention.Schedule, error) {
	t, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	var rules []retention.Versioned
	err = a.cat.view(func(tx *tx) error {
		return tx.eachRule(t.ID, func(_ string, r ruleRecord) error {
			if r.Entry < entry {
				rules = append(rules, r.Versioned)
			}
			return nil
		})
	})
	return retention.NewSchedule(rules), err
}

// RuleVersion is a version of a rule, and how it came to stand.
type RuleVersion = ruleRecord

// RuleHistory gives all versions of a rule, the first first.
func (a *Archive) RuleHistory(tenant, id string) (out []RuleVersion, err error) {
	t, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = a.cat.view(func(tx *tx) error {
		return tx.eachRule(t.ID, func(_ string, r ruleRecord) error {
			if r.ID == id {
				out = append(out, r)
			}
			return nil
		})
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("rule %q: %w", id, ErrNotFound)
	}
	return out, err
}

// maxNamed bounds the rules that an error names.
const maxNamed = 30

// ruleNamed finds an appraisal rule that a deposit names, on a day; "" is no rule.
func ruleNamed(s *retention.Schedule, tenant string, of retention.Category, id string, on time.Time) (retention.Rule, error) {
	if id == "" {
		return retention.Rule{}, nil
	}
	r, ok := s.Rule(id)
	switch {
	case ok && !r.Of(of):
		return r.Rule, fmt.Errorf("rule %s is of category %s, not of %s", id, r.Within(), of)
	case ok && !r.Valid(on):
		return r.Rule, fmt.Errorf("rule %s is not in force on %s: it is from %q until %q", id, on.Format(time.DateOnly), r.From, r.Until)
	case ok:
		return r.Rule, nil
	}
	return retention.Rule{}, unknownRule(s, tenant, id, func(r *retention.Rule) bool { return r.Of(of) })
}

// unknownRule says which rules could be meant.
func unknownRule(s *retention.Schedule, tenant, id string, fits func(*retention.Rule) bool) error {
	var known []string
	for _, r := range s.All() {
		if fits(&r.Rule) {
			known = append(known, r.ID)
		}
	}
	if len(known) > maxNamed {
		known = append(known[:maxNamed], fmt.Sprintf("and %d others", len(known)-maxNamed))
	}
	return fmt.Errorf("rule %q is not known to tenant %s; known: %s", id, tenant, strings.Join(known, ", "))
}

// RulesPlan is what a change of a schedule would do.
type RulesPlan struct {
	Tenant  string       `json:"tenant"`
	Changes []RuleChange `json:"changes"`
	// Before is the digest of the schedule that it changes.
	Before integrity.Hash `json:"before"`
	after  *retention.Schedule
	before *retention.Schedule
}

// RuleChange is one change, and the units that it touches: those that declare the rule, and
// all below them.
type RuleChange struct {
	retention.Change
	Units int64 `json:"units"`
	Due   int64 `json:"due"`   // of them, of which the retention becomes over by it
	Later int64 `json:"later"` // of which it is over today, and would not be any more
}

// PlanRules says what would change if a tenant's schedule got rules; those not among them end
// with replace.
func (a *Archive) PlanRules(ctx context.Context, tenant string, rules []retention.Rule, replace bool) (*RulesPlan, error) {
	t, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	before := a.schedule(t.ID)
	p := &RulesPlan{Tenant: t.ID, Before: before.Digest(), before: before, Changes: []RuleChange{}}
	changes := before.Diff(before.Complete(rules), replace)
	p.after = before.With(changes)
	for _, c := range changes {
		rc, err := a.touched(ctx, p, c)
		if err != nil {
			return nil, fmt.Errorf("counting the units under rule %s: %w", c.ID, err)
		}
		p.Changes = append(p.Changes, rc)
	}
	bad := &Refusal{}
	for _, c := range p.Changes {
		if c.What == "ended" && c.Units > 0 {
			bad.addf("rule %s is used by %d units: it can be given an end (until), not be left out", c.ID, c.Units)
		}
		if c.What == "changed" && slices.Contains(c.Fields, "category") && c.Units > 0 {
			bad.addf("rule %s is used by %d units: its category cannot change", c.ID, c.Units)
		}
	}
	return p, bad.orNil()
}

// ChangeRules changes a schedule as planned, on behalf of agent.
func (a *Archive) ChangeRules(ctx context.Context, agent string, p *RulesPlan) (entry int64, err error) {
	of, err := a.tenant(p.Tenant)
	if err == nil {
		err = of.mayIfNamed(agent, Archivist)
	}
	if err != nil {
		return 0, err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	switch {
	case a.readOnly:
		return 0, ErrReadOnly
	case len(p.Changes) == 0:
		return 0, &Refusal{Problems: []string{"the schedule is so already"}}
	case a.schedule(p.Tenant) != p.before:
		return 0, &Refusal{Problems: []string{"the schedule has changed meanwhile: look at the differences again"}}
	}
	d := integrity.RulesDetail{Schedule: p.after.Digest()}
	var changed []retention.Versioned
	for _, c := range p.Changes {
		switch c.What {
		case "added":
			d.Added++
		case "changed":
			d.Changed++
		default:
			d.Ended++
		}
		r, _ := p.after.Last(c.ID)
		changed = append(changed, r)
	}
	op := &operation{
		id:      newID(opID),
		entry:   integrity.Entry{Kind: integrity.Rules, Tenant: p.Tenant, Agent: agentID(a.indexKey, agent)},
		detail:  func(position) any { return d },
		records: []func(position) []record{ruleRows(p.Tenant, changed)},
	}
	pos, _, err := a.commit(ctx, op)
	if err != nil {
		return 0, fmt.Errorf("changing the schedule: %w", err)
	}
	return pos.entry, a.cat.view(a.loadSchedules)
}
