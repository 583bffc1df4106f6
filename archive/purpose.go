package archive

import (
	"fmt"
	"slices"
	"strings"

	"sae/retention"
)

// Purpose is what somebody reads for: a code, kept in the log of accesses.
type Purpose string

// The purposes. The first three are those by which rules say when a unit is open; all others read
// as ForAccess does. Some stand in the GDPR: consent, public interest (Art. 6), what may still be done
// with data that are restricted (Art. 18), requests of the data subject (Art. 15 and following).
const (
	ForAccess        Purpose = "access"
	ForDissemination Purpose = "dissemination"
	ForReuse         Purpose = "reuse"

	ForInstruction    Purpose = "instruction" // handling the case: what is meant when nothing is said
	ForLegalClaims    Purpose = "legal-claims"
	ForConsent        Purpose = "consent" // the data subject agreed
	ForProtection     Purpose = "protection-of-others"
	ForPublicInterest Purpose = "public-interest"
	ForDataSubject    Purpose = "data-subject-request"
	ForAudit          Purpose = "audit"
)

// Purposes are all of them.
var Purposes = []Purpose{ForAccess, ForDissemination, ForReuse,
	ForInstruction, ForLegalClaims, ForConsent, ForProtection, ForPublicInterest, ForDataSubject, ForAudit}

// ParsePurpose reads the code of a purpose.
func ParsePurpose(s string) (Purpose, error) {
	if p := Purpose(s); slices.Contains(Purposes, p) {
		return p, nil
	}
	var others []string
	for _, p := range Purposes[3:] {
		others = append(others, string(p))
	}
	return "", fmt.Errorf("want access, dissemination or reuse, or what it is read for: %s", strings.Join(others, ", "))
}

// ruled is the purpose by which rules stand against reading.
func (p Purpose) ruled() retention.Purpose {
	switch p {
	case ForDissemination:
		return retention.ToPublish
	case ForReuse:
		return retention.ToReuse
	}
	return retention.ToRead
}

// For gives the reader for a purpose, and why in words, "" for none; both go into the log of
// accesses, the words enciphered.
func (r *Reader) For(p Purpose, why string) *Reader {
	out := *r
	out.stated, out.why, out.purpose = p, why, p.ruled()
	return &out
}
