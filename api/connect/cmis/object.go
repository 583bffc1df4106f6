package cmis

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The properties that are read of every object (CMIS 1.1 section 2.1).
const (
	propID        = "cmis:objectId"
	propBase      = "cmis:baseTypeId"
	propType      = "cmis:objectTypeId"
	propName      = "cmis:name"
	propToken     = "cmis:changeToken"
	propModified  = "cmis:lastModificationDate"
	propCreated   = "cmis:creationDate"
	propLabel     = "cmis:versionLabel"
	propSeries    = "cmis:versionSeriesId"
	propLatest    = "cmis:isLatestVersion"
	propPWC       = "cmis:isPrivateWorkingCopy"
	propOut       = "cmis:isVersionSeriesCheckedOut"
	propLength    = "cmis:contentStreamLength"
	propFileName  = "cmis:contentStreamFileName"
	propMIME      = "cmis:contentStreamMimeType"
	propHash      = "cmis:contentStreamHash"
	propSecondary = "cmis:secondaryObjectTypeIds"

	baseFolder   = "cmis:folder"
	baseDocument = "cmis:document"
)

// Object is an object of a repository, by its properties.
type Object struct {
	ID    string
	props map[string][]any
	kinds map[string]string // types, of those of which the repository says it
}

// rawObject is an object as the browser binding writes it (section 5.2.11): succinct or not.
type rawObject struct {
	Succinct map[string]any `json:"succinctProperties"`
	Full     map[string]struct {
		ID    string `json:"id"`
		Type  string `json:"type"`
		Value any    `json:"value"`
	} `json:"properties"`
}

// object reads an object. In the answer to a query a column may have an alias; then the property's own
// id says what it is.
func (r *rawObject) object() (*Object, error) {
	o := &Object{props: map[string][]any{}, kinds: map[string]string{}}
	for id, v := range r.Succinct {
		o.props[id] = list(v)
	}
	for column, p := range r.Full {
		id := p.ID
		if id == "" {
			id = column
		}
		o.props[id], o.kinds[id] = list(p.Value), p.Type
	}
	o.ID = o.Text(propID)
	if o.ID == "" { // succinct, with an alias of the type: f.cmis:objectId
		for column := range r.Succinct {
			if strings.HasSuffix(column, "."+propID) {
				o.ID = o.Text(column)
			}
		}
	}
	if o.ID == "" || len(o.ID) > maxID {
		return nil, fmt.Errorf("an object of the repository has no %s of 1 to %d bytes", propID, maxID)
	}
	return o, nil
}

func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

// Text is the value of a property as text; several are set apart by semicolons, and "" is none.
func (o *Object) Text(id string) string {
	var all []string
	for _, v := range o.props[id] {
		if s := text(v, o.kinds[id]); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, "; ")
}

func text(v any, kind string) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		if kind == "datetime" {
			if t, ok := moment(v); ok {
				return t.Format(time.RFC3339)
			}
		}
		return v.String()
	}
	return "" // what is no value of a property
}

// Time is a property that is a time: in milliseconds since 1970, as the binding says, or as text, as
// some write it.
func (o *Object) Time(id string) (time.Time, bool) {
	if len(o.props[id]) != 1 {
		return time.Time{}, false
	}
	return moment(o.props[id][0])
}

// Day is the day of a property that is a time; "" when there is none.
func (o *Object) Day(id string) string {
	t, ok := o.Time(id)
	if !ok {
		return ""
	}
	return t.Format(time.DateOnly)
}

func moment(v any) (time.Time, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := v.Int64()
		t := time.UnixMilli(n).UTC()
		return t, err == nil && t.Year() > 0 && t.Year() < 10_000
	case string:
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999-0700", time.DateOnly} {
			if t, err := time.Parse(layout, v); err == nil {
				return t.UTC(), true
			}
		}
	}
	return time.Time{}, false
}

// length is the declared size of the content; -1 when it is not declared.
func (o *Object) length() int64 {
	if n, err := strconv.ParseInt(o.Text(propLength), 10, 64); err == nil && n >= 0 {
		return n
	}
	return -1
}

// hasContent reports whether a document has a content stream (section 2.1.4.3.3: its properties are
// not set when it has none).
func (o *Object) hasContent() bool {
	return o.length() >= 0 || o.Text(propMIME) != "" || o.Text(propFileName) != ""
}

// isTrue reports whether a property is set and true.
func (o *Object) isTrue(id string) bool { return o.Text(id) == "true" }
