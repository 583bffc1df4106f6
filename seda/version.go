// Package seda reads, validates and writes the messages of SEDA, the French standard of
// data exchange for archiving (Standard d'échange de données pour l'archivage, NF
// Z44-022), versions 2.1, 2.2 and 2.3, and the packages (SIP, DIP) that carry them. It
// knows nothing of storage.
//
// The content model of the standard is in this package (grammar.go), not in schema
// files: a document is read once, by package scan, and each element is held against the
// model as it comes, so that a manifest of any size is validated in constant memory.
// What is wrong becomes a Finding; reading goes on, so that all findings are reported.
package seda

import (
	"fmt"
	"strings"
)

// Version is a version of SEDA.
type Version uint8

// The versions. V20 is read with the model of V21.
const (
	V20 Version = 20
	V21 Version = 21
	V22 Version = 22
	V23 Version = 23
)

const spacePrefix = "fr:gouv:culture:archivesdefrance:seda:v"

func (v Version) String() string { return fmt.Sprintf("%d.%d", v/10, v%10) }

// Namespace is the XML namespace of the version.
func (v Version) Namespace() string { return spacePrefix + v.String() }

// ParseVersion reads "2.1", "2.2" or "2.3".
func ParseVersion(s string) (Version, error) {
	for _, v := range []Version{V21, V22, V23} {
		if v.String() == s {
			return v, nil
		}
	}
	return 0, fmt.Errorf("SEDA version %q: want 2.1, 2.2 or 2.3", s)
}

// versionOf finds the version that a namespace is of; 0 for none that can be read.
func versionOf(space string) Version {
	n, ok := strings.CutPrefix(space, spacePrefix)
	if !ok {
		return 0
	}
	for _, v := range []Version{V20, V21, V22, V23} {
		if v.String() == n {
			return v
		}
	}
	return 0
}
