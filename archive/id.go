package archive

import (
	"crypto/rand"
	"regexp"
	"strings"
)

// An identifier is 26 characters of lower-case base32, 130 random bits, behind a
// letter that says what it names. It tells nothing about what it names.
const (
	unitID   = "u"
	objectID = "o"
	opID     = "p"
	batchID  = "b"
	groupID  = "g"
)

var idForm = regexp.MustCompile(`^[a-z][a-z2-7]{26}$`)

func newID(kind string) string { return kind + strings.ToLower(rand.Text()) }
