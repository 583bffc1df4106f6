package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sae/retention"
)

// What somebody should look at who answers for the protection of data.

// GDPRCode says what a finding of a check is.
type GDPRCode string

// The codes.
const (
	GDPRNoRule     GDPRCode = "NO_RULE"            // a unit that no retention ever ends (art. 5(1)(e))
	GDPRPastDue    GDPRCode = "PAST_DUE"           // a unit that is to be destroyed, and is still there
	GDPRLate       GDPRCode = "LATE_REQUEST"       // a request that should have been answered (art. 12(3))
	GDPRNoFile     GDPRCode = "NO_OPEN_FILE"       // a subject without an open file
	GDPRPromised   GDPRCode = "ERASURE_DUE"        // units that were to be erased later, and now can be
	GDPRUnfinished GDPRCode = "ERASURE_UNFINISHED" // an erasure that was begun, or decided and answered, and is not carried out
)

// GDPRFinding is one thing to look at. It names nobody.
type GDPRFinding struct {
	Code GDPRCode `json:"code"`
	ID   string   `json:"id"` // unit, request or subject
	Date string   `json:"date,omitempty"`
	Do   string   `json:"do"`
}

// CheckGDPR calls f for all that somebody should look at in a tenant.
func (a *Archive) CheckGDPR(ctx context.Context, tenant string, f func(GDPRFinding) error) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	today, broken := now().Format(time.DateOnly), &brokenUnits{}
	err = a.cat.view(func(t *tx) error {
		err := t.eachRequest(func(q *Request) error {
			if q.Tenant != of.ID {
				return nil
			}
			return a.checkRequestGDPR(ctx, t, q, today, f)
		})
		if err != nil {
			return err
		}
		h := a.heirs(t, "", nil)
		err = a.eachSubject(t, of.ID, subjectID, func(s *Subject) (bool, error) {
			if s.MergedInto != "" {
				return true, nil
			}
			for _, file := range s.Files {
				acts, err := a.actsOn(t, file.Unit, h.acts)
				if err != nil || !isClosed(acts) {
					return err == nil, err
				}
			}
			err := f(GDPRFinding{GDPRNoFile, s.ID, "", fmt.Sprintf("%d closed files: is it still needed? sae subject show", len(s.Files))})
			return err == nil, err
		})
		if err != nil {
			return err
		}
		return t.eachLastUnit(of.ID, func(r *unitRecord) error {
			finding, err := a.checkUnitGDPR(t, h, r, today)
			switch {
			case err != nil:
				return broken.add(err)
			case finding != nil:
				return f(*finding)
			}
			return ctx.Err()
		})
	})
	return errors.Join(err, broken.err())
}

// eachLastUnit calls f for the last version of each unit of a tenant.
func (t *tx) eachLastUnit(tenant string, f func(*unitRecord) error) error {
	var last *unitRecord
	flush := func() error {
		if last == nil || last.Tenant != tenant || !isUnit(last.Unit) {
			return nil
		}
		return f(last)
	}
	err := t.eachUnit(func(r *unitRecord) error {
		if last != nil && last.Unit != r.Unit {
			if err := flush(); err != nil {
				return err
			}
		}
		last = r
		return nil
	})
	if err == nil {
		err = flush()
	}
	return err
}

func (a *Archive) checkUnitGDPR(t *tx, h *heirs, r *unitRecord, today string) (*GDPRFinding, error) {
	in, err := h.of(r.Unit)
	if err != nil {
		return nil, err
	}
	if len(in.Categories[retention.Appraisal].Rules) == 0 {
		acts, err := a.actsOn(t, r.Unit, h.acts)
		if err != nil || slices.ContainsFunc(acts, func(act *Act) bool { return act.Kind == bordereauAct }) {
			return nil, err // a signed bordereau is kept for ever
		}
		return &GDPRFinding{GDPRNoRule, r.Unit, "", "nothing ends its retention: give it a rule (sae retention start), or its folder"}, nil
	}
	if v := retention.Appraise(in, today); v.Verdict == retention.Eliminable {
		return &GDPRFinding{GDPRPastDue, r.Unit, v.Due, "its retention is over: sae eliminate propose"}, nil
	}
	return nil, nil
}

func (a *Archive) checkRequestGDPR(ctx context.Context, t *tx, q *Request, today string, f func(GDPRFinding) error) error {
	if q.Late(today) {
		if err := f(GDPRFinding{GDPRLate, q.ID, q.Due, "it was to be answered by then: sae request show"}); err != nil {
			return err
		}
	}
	if q.Erasure != "" && q.took(RequestAnswered) && !q.took(RequestExecuted) && !q.took(RequestWithdrawn) {
		if err := f(GDPRFinding{GDPRUnfinished, q.ID, "", "the person was told, and it is not erased: sae request execute"}); err != nil {
			return err
		}
	}
	w, err := a.requestWords(t, q, RequestDecided)
	if err != nil || w.Promised == "" || w.Promised > today || q.took(RequestWithdrawn) {
		return err
	}
	due := 0
	for _, x := range w.Findings {
		if x.Verdict != retention.EraseAt || x.Date > today {
			continue
		}
		_, _, err := t.unitRecord(x.Unit, 0)
		switch {
		case err == nil:
			due++
		case !errors.Is(err, ErrNotFound): // erased, or destroyed, since
			return err
		}
	}
	if due == 0 {
		return ctx.Err()
	}
	return f(GDPRFinding{GDPRPromised, q.ID, w.Promised, fmt.Sprintf("%d units were to be erased from then on: open a request of the same subject, and decide", due)})
}

// lateRequests counts the requests of all tenants that should have been answered.
func (t *tx) lateRequests(today string) (late int64, err error) {
	err = t.eachRequest(func(q *Request) error {
		if q.Late(today) {
			late++
		}
		return nil
	})
	return late, err
}

// Processed is what the record of processing activities (GDPR art. 30) says of a procedure, beside the
// procedure itself.
type Processed struct {
	*ProcedureVersion
	Terms     []retention.Versioned `json:"rules"`
	Open      int64                 `json:"openFiles"`
	Closed    int64                 `json:"closedFiles"`
	Documents int64                 `json:"documents"`
}

// Register gives what a tenant's record of processing activities says.
func (a *Archive) Register(ctx context.Context, tenant string) (out []*Processed, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	procedures, err := a.Procedures(of.ID)
	if err != nil {
		return nil, err
	}
	s := a.schedule(of.ID)
	err = a.cat.view(func(t *tx) error {
		h := a.heirs(t, "", nil)
		for _, p := range procedures {
			x := &Processed{ProcedureVersion: p}
			for _, id := range x.ruleIDs() {
				if r, ok := s.Last(id); ok {
					x.Terms = append(x.Terms, r)
				}
			}
			err := a.eachFile(t, of.ID, p.ID, 0, func(u *Unit, _ uint64) (bool, error) {
				file, err := a.file(t, h, nil, u, true)
				if err != nil {
					return false, err
				}
				if x.Documents += int64(len(file.Documents)); file.State == "closed" {
					x.Closed++
				} else {
					x.Open++
				}
				return ctx.Err() == nil, ctx.Err()
			})
			if err != nil {
				return err
			}
			out = append(out, x)
		}
		return nil
	})
	return out, err
}

// ruleIDs are the appraisal rules that files and documents of a procedure may have.
func (p *ProcedureVersion) ruleIDs() (ids []string) {
	ids = slices.Clone(p.Rules.Appraisal)
	for _, d := range p.Procedure.Documents {
		if d.Rule != "" {
			ids = addMissing(ids, []string{d.Rule})
		}
	}
	return ids
}

// GDPRSettings are what the configuration says for a tenant, for letters and the record of processing.
func (a *Archive) GDPRSettings(tenant string) (GDPRConfig, error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return GDPRConfig{}, err
	}
	return a.config.gdpr(of), nil
}
