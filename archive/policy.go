package archive

import (
	"errors"
	"fmt"
	"slices"
)

// policy is where the copies of an object go, and how many must be durable before its
// deposit is acknowledged.
type policy struct {
	id     string // "" for the archive's own
	copies int
	refuse bool   // when one of now cannot be written
	now    []bool // by offer: written with the deposit
	later  []bool // by offer: copied afterwards
}

// wants reports whether a copy belongs into offer i.
func (p *policy) wants(i int) bool { return p.now[i] || p.later[i] }

// enough says whether the policy accepts a blob that lies durably in copies of the offers.
func (p *policy) enough(copies int) bool {
	if p.refuse && copies < p.most() {
		return false
	}
	return copies >= p.copies
}

// most is how many copies are written with a deposit.
func (p *policy) most() (n int) {
	for _, now := range p.now {
		if now {
			n++
		}
	}
	return n
}

// explain says why a blob has too few copies, offer by offer.
func (p *policy) explain(copies int, failed map[int]error, offers []*offer) error {
	want, down := p.copies, "queue"
	if p.refuse {
		want, down = p.most(), "refuse"
	}
	name := "the storage policy"
	if p.id != "" {
		name += " " + p.id
	}
	errs := []error{fmt.Errorf("%d of %d copies could be written, %s wants %d (offer-down: %s)", copies, p.most(), name, want, down)}
	for i, o := range offers {
		if err := failed[i]; err != nil {
			errs = append(errs, fmt.Errorf("offer %s: %w", o.name, err))
		}
	}
	return errors.Join(errs...)
}

// policies gives all policies by their identifiers; "" is the archive's own.
func (c *Config) policies() map[string]*policy {
	out := map[string]*policy{}
	own := PolicyConfig{Copies: c.Storage.Copies, Down: c.Storage.Down, Later: c.Storage.Later}
	for _, p := range append([]PolicyConfig{own}, c.Storage.Policies...) {
		q := &policy{id: p.ID, copies: p.Copies, refuse: p.Down == "refuse" || p.Down == "" && c.Storage.Down == "refuse"}
		for _, o := range c.Offers {
			later := slices.Contains(p.Later, o.Name)
			now := !later && (len(p.Offers) == 0 || slices.Contains(p.Offers, o.Name))
			q.now, q.later = append(q.now, now && !o.Drain), append(q.later, later && !o.Drain)
		}
		out[p.ID] = q
	}
	return out
}

// policy gives the policy with an identifier; one that the configuration no longer has is
// the archive's own.
func (a *Archive) policy(id string) *policy {
	if p := a.policies[id]; p != nil {
		return p
	}
	return a.policies[""]
}

// policyOf is the policy of deposits under an agreement.
func (a *Archive) policyOf(t *Tenant, agreement string) *policy {
	for _, g := range t.Agreements {
		if g.ID == agreement && g.Storage != "" {
			return a.policy(g.Storage)
		}
	}
	return a.policy(t.Storage)
}

// checkPolicies holds the policies against the offers, and what names them against them.
func (c *Config) checkPolicies(bad *configProblems) {
	offers, known := map[string]bool{}, map[string]bool{"": true}
	for _, o := range c.Offers {
		offers[o.Name] = true
	}
	wantOffers := func(at string, names []string) {
		for _, n := range names {
			if !offers[n] {
				bad.addf(at, "%q is not one of the offers", n)
			}
		}
	}
	wantOffers("$.storage.later", c.Storage.Later)
	for i, p := range c.Storage.Policies {
		at := fmt.Sprintf("$.storage.policies[%d]", i)
		if !codeForm.MatchString(p.ID) || known[p.ID] {
			bad.addf(at+".id", "%q is not a code, or is there twice", p.ID)
		}
		known[p.ID] = true
		wantOffers(at+".offers", p.Offers)
		wantOffers(at+".later", p.Later)
		if p.Down != "" && p.Down != "refuse" && p.Down != "queue" {
			bad.addf(at+".offer-down", "want refuse or queue")
		}
	}
	for id, p := range c.policies() {
		at := "$.storage.copies"
		for i := range c.Storage.Policies {
			if c.Storage.Policies[i].ID == id {
				at = fmt.Sprintf("$.storage.policies[%d].copies", i)
			}
		}
		if p.copies < 1 || p.copies > p.most() {
			bad.addf(at, "want 1 to %d, the number of offers that are written at once", p.most())
		}
	}
	for i, t := range c.Tenants {
		if !known[t.Storage] {
			bad.addf(fmt.Sprintf("$.tenants[%d].storage", i), "%q is not one of the storage policies", t.Storage)
		}
		for j, g := range t.Agreements {
			if !known[g.Storage] {
				bad.addf(fmt.Sprintf("$.tenants[%d].agreements[%d].storage", i, j), "%q is not one of the storage policies", g.Storage)
			}
		}
	}
}
