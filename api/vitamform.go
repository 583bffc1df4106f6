package api

import (
	"encoding/base32"
	"fmt"
	"strings"

	"sae/archive"
)

// What VITAM's clients take: identifiers, states, answers, errors.

// A GUID of VITAM is 22 bytes in base32: version, type, tenant, and what makes it unique. Here this is
// the identifier of the operation.
const (
	guidVersion = 1
	guidRequest = 8 // type
	guidHead    = 6 // bytes of version, type and tenant
	guidSize    = 22
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// guidOf is the GUID of an operation.
func guidOf(tenant uint32, id string) string {
	b := []byte{guidVersion, guidRequest, byte(tenant >> 24), byte(tenant >> 16), byte(tenant >> 8), byte(tenant)}
	rest, err := base32Lower.DecodeString(id[1:])
	if err != nil {
		panic(err) // identifiers of operations are of this form
	}
	return base32Lower.EncodeToString(append(b, rest...))
}

// ofGUID is the operation of a GUID of a tenant.
func ofGUID(tenant uint32, guid string) (id string, err error) {
	b, err := base32Lower.DecodeString(guid)
	if err == nil && len(b) == guidSize {
		id = "j" + base32Lower.EncodeToString(b[guidHead:])
	}
	if id == "" || guidOf(tenant, id) != guid {
		return "", fmt.Errorf("%.40q is not the identifier of an operation of the tenant: %w", guid, archive.ErrNotFound)
	}
	return id, nil
}

// vitamOf is the state of a job in the words of VITAM. It is never PAUSE: a client that waits would
// take it for an end.
func vitamOf(j *archive.Job) (state, status string) {
	switch j.State {
	case archive.JobArchived: // vitamShown asks whether with warnings
		return "COMPLETED", "OK"
	case archive.JobRefused:
		return "COMPLETED", "KO"
	case archive.JobCancelled:
		return "COMPLETED", "FATAL"
	}
	return "RUNNING", "STARTED"
}

// vitamLevels are the statuses in their order, as the status meter counts them.
var vitamLevels = []string{"UNKNOWN", "STARTED", "ALREADY_EXECUTED", "OK", "WARNING", "KO", "FATAL"}

// VitamItemStatus is the state of an operation.
type VitamItemStatus struct {
	Items   map[string]any `json:"itemsStatus"`
	ID      string         `json:"itemId"`
	Message string         `json:"message"`
	Status  string         `json:"globalStatus"`
	Meter   []int          `json:"statusMeter"`
	Data    map[string]any `json:"data"`
	State   string         `json:"globalState"`
}

// VitamHits counts results.
type VitamHits struct {
	Total  int `json:"total"`
	Offset int `json:"offset"`
	Limit  int `json:"limit"`
	Size   int `json:"size"`
}

// VitamResponse is the form of all answers that are no error.
type VitamResponse[T any] struct {
	Code    int            `json:"httpCode"`
	Hits    VitamHits      `json:"$hits"`
	Results []T            `json:"$results"`
	Facets  []any          `json:"$facetResults"`
	Context map[string]any `json:"$context"`
}

func vitamResponse[T any](code int, results ...T) VitamResponse[T] {
	if results == nil {
		results = []T{}
	}
	n := len(results)
	return VitamResponse[T]{code, VitamHits{n, 0, n, n}, results, []any{}, map[string]any{}}
}

// VitamError is a problem in the form of VITAM.
type VitamError struct {
	HTTPCode    int          `json:"httpCode"`
	Code        string       `json:"code"`
	Context     string       `json:"context"`
	State       string       `json:"state"`
	Message     string       `json:"message"`
	Description string       `json:"description"`
	Errors      []VitamError `json:"errors,omitempty"`
}

// asVitam gives a problem in that form.
func (p *Problem) asVitam(path string) *VitamError {
	from, _, _ := strings.Cut(strings.Trim(path, "/"), "/")
	e := &VitamError{HTTPCode: p.Status, Code: p.Code, Context: from, State: replyKO, Message: p.Title, Description: p.Detail}
	if p.Status >= 500 {
		e.State = replyFatal
	}
	for _, f := range p.Faults {
		e.Errors = append(e.Errors, VitamError{HTTPCode: p.Status, Code: p.Code, Context: from, State: e.State, Message: f.Message, Description: f.Location})
	}
	return e
}
