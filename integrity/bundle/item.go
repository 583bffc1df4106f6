package bundle

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"sae/integrity"
)

// ItemProof is an item with its inclusion proof among the items of its entry
// (RFC 6962 section 2.1.1). Its text form:
//
//	sae-item-proof/1
//	item BASE64
//	index N
//	BASE64 of a hash, one a line
type ItemProof struct {
	Item  []byte
	Index int64
	Proof []integrity.Hash
}

const itemHeader = "sae-item-proof/1"

func (p ItemProof) marshal() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nitem %s\nindex %d\n", itemHeader, base64.StdEncoding.EncodeToString(p.Item), p.Index)
	for _, h := range p.Proof {
		fmt.Fprintf(&b, "%s\n", h)
	}
	return []byte(b.String())
}

var errItem = errors.New("not in the form of an item proof")

// maxItemProof bounds an item proof: base64 of the longest item, 63 hashes.
const maxItemProof = 128 << 10

// parseItemProof reads exactly what marshal writes.
func parseItemProof(text []byte) (p ItemProof, err error) {
	if len(text) > maxItemProof {
		return p, errItem
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 || len(lines) > 4+63 || lines[0] != itemHeader {
		return p, errItem
	}
	item, ok := strings.CutPrefix(lines[1], "item ")
	index, ok2 := strings.CutPrefix(lines[2], "index ")
	if !ok || !ok2 {
		return p, errItem
	}
	if p.Item, err = base64.StdEncoding.DecodeString(item); err != nil {
		return p, errItem
	}
	if p.Index, err = strconv.ParseInt(index, 10, 64); err != nil || p.Index < 0 {
		return p, errItem
	}
	for _, l := range lines[3 : len(lines)-1] {
		h, err := tlog.ParseHash(l)
		if err != nil {
			return p, errItem
		}
		p.Proof = append(p.Proof, h)
	}
	if string(p.marshal()) != string(text) {
		return p, errItem
	}
	return p, nil
}
