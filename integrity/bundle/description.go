package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
)

// description is what is read of a unit's description: what it says of its
// objects. Of a unit that was destroyed the tombstone stands in its place, which
// names the objects that went with it.
type description struct {
	Form    string      `json:"form,omitempty"`
	Unit    string      `json:"unit"`
	Objects []described `json:"objects"`
}

const tombstoneForm = "sae-tombstone/1"

type described struct {
	ID       string `json:"id"`
	Object   string `json:"object,omitempty"` // of a tombstone: its identifier
	Filename string `json:"filename"`
	SHA256   string `json:"sha256"`
}

// descriptions holds what the units' descriptions say of their objects against
// the documents. A document without its unit's description fails: nothing else
// in the bundle proves its file name.
func (v *verifier) descriptions() {
	ofUnit := map[string][]Document{}
	described := map[string]bool{}
	for _, d := range v.report.Documents {
		if isDescription(d) {
			described[d.ID] = true
		} else {
			ofUnit[d.Unit] = append(ofUnit[d.Unit], d)
		}
	}
	for _, d := range v.report.Documents {
		switch {
		case isDescription(d):
			v.add("description", d.Member, v.describes(d, ofUnit[d.ID]))
		case !described[d.Unit]:
			v.add("description", d.Member, errors.New("the description of its unit is missing"))
		}
	}
}

func isDescription(d Document) bool { return d.Member == "units/"+d.ID+".json" }

// describes wants the description to be of its unit, and each of the bundle's
// documents of this unit to be an object it lists, with this name and digest.
func (v *verifier) describes(unit Document, documents []Document) error {
	b, err := v.c.small(unit.Member)
	if err != nil {
		return err
	}
	var d description
	if err := json.Unmarshal(b, &d); err != nil {
		return errors.New("not JSON of a description") // the cause could quote it
	}
	if d.Unit != unit.ID {
		return fmt.Errorf("it describes another unit")
	}
	if d.Form == tombstoneForm && len(documents) > 0 {
		return errors.New("it is a tombstone, and documents of its unit are here")
	}
	listed := make(map[string]described, len(d.Objects))
	for _, o := range d.Objects {
		if d.Form == tombstoneForm {
			o.ID = o.Object
		}
		if _, twice := listed[o.ID]; twice {
			return errors.New("it lists an object twice")
		}
		listed[o.ID] = o
	}
	for _, doc := range documents {
		switch o, ok := listed[doc.ID]; {
		case !ok || o.SHA256 != doc.SHA256:
			return fmt.Errorf("it does not list object %s with the digest of its document", doc.ID)
		case SafeName(o.Filename) != path.Base(doc.Member):
			return fmt.Errorf("it gives object %s another file name", doc.ID)
		}
	}
	return nil
}
