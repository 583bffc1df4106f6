package archive

import (
	"crypto/rand"
	"regexp"
	"slices"
	"strings"
)

// An identifier is 26 characters of lower-case base32, 130 random bits, behind a
// letter that says what it names. It tells nothing about what it names.
const (
	unitID   = "u"
	objectID = "o"
	opID     = "p"
	// messageID is for what a transfer said, word for word (transferDeposit.message).
	messageID = "m"
	// subjectID is for the record of a data subject (subject.go).
	subjectID = "h"
	batchID   = "b"
	groupID   = "g"
)

const idSize = 27 // bytes

var idForm = regexp.MustCompile(`^[a-z][a-z2-7]{26}$`)

func newID(kind string) string { return kind + strings.ToLower(rand.Text()) }

// newIDs gives n identifiers in their order. What is numbered in the order of its
// identifiers lies together in the catalogue, and is written at once.
func newIDs(kind string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = newID(kind)
	}
	slices.Sort(out)
	return out
}
