package archive

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sae/seda"
)

// eliminationMessages are the messages of SEDA about an elimination, and whom each is for.
var eliminationMessages = map[string]string{
	"originating-agency": "AuthorizationOriginatingAgencyRequest",
	"control-authority":  "AuthorizationControlAuthorityRequest",
	"notification":       "ArchiveDestructionNotification",
}

// MessageRequest says what message about an elimination is wanted.
type MessageRequest struct {
	Kind    string // "originating-agency" and "control-authority": the request to agree, to visa; "notification": that units were destroyed
	Agency  string // originating agency of which units are named; "" for all, or the only one
	To      string // identifier of the control authority
	Version seda.Version
}

// EliminationMessage gives a message of SEDA about a request: authorisation requests name the
// units that were not refused, the notification those that were destroyed.
func (a *Archive) EliminationMessage(id string, r MessageRequest) (*seda.Message, error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	e, err := a.Elimination(id)
	if err != nil {
		return nil, err
	}
	name := eliminationMessages[r.Kind]
	agencies := map[string]bool{}
	for _, l := range e.Lines {
		agencies[l.Agency] = true
	}
	bad := &Refusal{}
	switch {
	case name == "":
		bad.addf("message %q: want originating-agency, control-authority or notification", r.Kind)
	case r.Agency != "" && !agencies[r.Agency]:
		bad.addf("no unit of the request is of originating agency %q", r.Agency)
	case r.Kind == "control-authority" && r.To == "":
		bad.addf("name the control authority")
	case r.Kind != "control-authority" && r.Agency == "" && len(agencies) > 1:
		bad.addf("units of %d originating agencies are in the request: name one", len(agencies))
	case r.Kind == "notification" && !e.executed():
		bad.addf("elimination %s is %s: it has not been executed", e.ID, e.State())
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	if r.Agency == "" && len(agencies) == 1 {
		r.Agency = e.Lines[0].Agency
	}
	units, err := a.messageUnits(e, r)
	if err != nil {
		return nil, err
	}
	first := e.Steps[0]
	m := &seda.Message{Name: name, Version: r.Version, Identifier: first.Operation, Date: first.Time, ArchivalAgency: e.Tenant, Other: r.Agency,
		Comments: []string{fmt.Sprintf("Demande d'élimination %s, entrée %d du journal", e.ID, first.Entry)}}
	if r.Kind == "notification" {
		visa, _ := e.step(Visaed)
		last, _ := e.step(ExecutedStep)
		m.Identifier, m.Date, m.Units, m.Authorization = last.Operation, last.Time, units, visa.Operation
	} else {
		m.Request = &seda.AuthorizationRequest{Reason: "ArchiveDestructionRequest", Comments: m.Comments, Date: first.Time, Units: units, Requester: e.Tenant}
	}
	if r.Kind == "control-authority" {
		m.Other = r.To
	}
	if m.Other == "" {
		return nil, &Refusal{Problems: []string{"the units have no originating agency: SEDA wants one in the message"}}
	}
	return m, nil
}

// messageUnits are the units that a message names.
func (a *Archive) messageUnits(e *Elimination, r MessageRequest) (units []string, err error) {
	of := func(number int64) bool {
		i := slices.IndexFunc(e.Lines, func(l EliminationLine) bool { return number < l.First+l.Units })
		return r.Agency == "" || r.Kind == "control-authority" || i >= 0 && e.Lines[i].Agency == r.Agency
	}
	err = a.cat.view(func(t *tx) error {
		return t.eachOf(e.ID, func(number int64, unit string, _ int) (bool, error) {
			stone, err := t.tomb(unit)
			if err != nil {
				return false, err
			}
			if of(number) && (r.Kind == "notification" && stone != nil || r.Kind != "notification" && !e.refuses(number)) {
				units = append(units, unit)
			}
			return true, nil
		})
	})
	if err == nil && len(units) == 0 {
		err = &Refusal{Problems: []string{"no unit is to be named in the message"}}
	}
	return units, err
}

// ReplyToElimination takes the step that an AuthorizationOriginatingAgencyRequestReply or an
// AuthorizationControlAuthorityRequestReply of SEDA says, on behalf of agent, who must have the
// role for it: ReplyCode OK agrees to what was asked, or visas it; KO refuses it. SEDA has no
// reply item by item. What the reply says becomes the reason.
func (a *Archive) ReplyToElimination(ctx context.Context, agent, id string, m *seda.Message) (*Elimination, error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	e, err := a.Elimination(id)
	if err != nil {
		return nil, err
	}
	step, ok := map[string]EliminationStep{"AuthorizationOriginatingAgencyRequestReply": Agreed, "AuthorizationControlAuthorityRequestReply": Visaed}[m.Name]
	bad := &Refusal{}
	switch {
	case !ok:
		bad.addf("the message is a %s, not the reply to a request for authorisation", m.Name)
	case m.InReplyTo != e.Steps[0].Operation:
		bad.addf("it answers message %q; the request of %s is %s", m.InReplyTo, id, e.Steps[0].Operation)
	case m.ArchivalAgency != e.Tenant:
		bad.addf("it is addressed to %q, not to %s", m.ArchivalAgency, e.Tenant)
	case m.Code != seda.OutcomeOK && m.Code != seda.OutcomeKO:
		bad.addf("its ReplyCode is %q: want OK or KO; units are refused one by one with sae eliminate agree or visa", m.Code)
	case m.Code == seda.OutcomeKO && e.State() != Proposed && step == Agreed, m.Code == seda.OutcomeKO && e.State() != Agreed && step == Visaed:
		bad.addf("%s %s is %s: it is not its turn to refuse", e.Kind, e.ID, e.State())
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	said := append([]string{"SEDA " + m.Identifier}, m.Comments...)
	for _, event := range m.Events {
		if event.Message != "" {
			said = append(said, event.Message)
		}
	}
	if m.Code == seda.OutcomeKO {
		step = Refused
	}
	return a.StepElimination(ctx, agent, id, step, StepText{Reason: strings.Join(said, "\n")})
}
