package retention

import "slices"

// Purpose is what a unit is read for.
type Purpose string

// The purposes, each with the categories of rules that must be over (SEDA 2.x AccessRule,
// ClassificationRule, DisseminationRule, ReuseRule).
const (
	ToRead    Purpose = "access"        // one person reads it
	ToPublish Purpose = "dissemination" // it is made public
	ToReuse   Purpose = "reuse"         // it is used again for something else
)

// Purposes are all of them.
var Purposes = []Purpose{ToRead, ToPublish, ToReuse}

// Categories are those whose rules stand against the purpose while they run.
func (p Purpose) Categories() []Category {
	out := []Category{Access, Classification}
	switch p {
	case ToPublish:
		out = append(out, Dissemination)
	case ToReuse:
		out = append(out, Reuse)
	}
	return out
}

// Bar is a rule that stands against reading a unit. Its End is the first day on which it is over;
// "" when that is not known, or never.
type Bar struct {
	Category Category `json:"category"`
	Rule     string   `json:"rule,omitempty"` // "" for a ClassificationLevel without rule
	Unit     string   `json:"unit"`           // that declares it
	Agency   string   `json:"originatingAgency,omitempty"`
	Start    string   `json:"startDate,omitempty"`
	End      string   `json:"endDate,omitempty"`
}

// Bars are the rules that stand against reading a unit for a purpose on a day, YYYY-MM-DD: those
// that are not over, or of which nobody knows when they are. None: it is open.
func Bars(in *Inheritance, p Purpose, at string) (out []Bar) {
	for _, c := range p.Categories() {
		of := in.Categories[c]
		if of == nil {
			continue
		}
		person := c == Classification && slices.ContainsFunc(of.Properties, reassessed)
		for _, r := range of.Rules {
			if person {
				r.End = "" // no day ends it
			}
			if r.End == "" || r.End > at {
				out = append(out, Bar{c, r.Rule, r.Unit, r.Agency, r.Start, r.End})
			}
		}
		for _, p := range of.Properties {
			if c == Classification && p.Name == "ClassificationLevel" && !slices.ContainsFunc(of.Rules, p.ruled) {
				out = append(out, Bar{Category: c, Unit: p.Unit, Agency: p.Agency})
			}
		}
	}
	return out
}

// ruled reports whether a rule comes to the unit that declares the property, by it or from above:
// one that comes down another way says nothing of it.
func (p InheritedProperty) ruled(r InheritedRule) bool {
	return slices.ContainsFunc(r.Paths, func(path []string) bool { return slices.Contains(path, p.Unit) })
}

// reassessed is what says that somebody has to authorise the reassessment of a classification: it
// does not end by itself (SEDA 2.x NeedReassessingAuthorization).
func reassessed(p InheritedProperty) bool {
	return p.Name == "NeedReassessingAuthorization" && (p.Value == "true" || p.Value == "1")
}

// OpenFrom is the first day on which all bars are over; "" when that is not known, or never.
func OpenFrom(bars []Bar) (day string) {
	for _, b := range bars {
		if b.End == "" {
			return ""
		}
		day = max(day, b.End)
	}
	return day
}
