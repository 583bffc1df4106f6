package integrity

// Status is the outcome of one named check.
type Status string

// The three outcomes. NotCheckable is never success: the verdict of a report
// with such a check says what is missing.
const (
	OK           Status = "OK"
	Failed       Status = "failed"
	NotCheckable Status = "not checkable"
)

// Check is one verification step, named, with its outcome and its reason.
// Detail never holds content or personal data: only digests, times,
// certificate subjects of authorities and member names.
type Check struct {
	Name   string `json:"name"`   // e.g. "token signature"
	Target string `json:"target"` // what was checked: a member or a step, e.g. "evidence record 1, chain 1, time-stamp 2"
	Status Status `json:"status"`
	Detail string `json:"detail,omitempty"`
}
