package ers

import "crypto"

// Reduced is the reducedHashtree of a group in a batch tree (RFC 4998
// section 4.2): its first list holds the group's member digests in binary
// ascending order and nothing else, each further list one sibling of the path
// that Path gives. A lone digest without siblings needs no tree: the token
// stamps it directly, and the result is nil.
func Reduced(members, siblings [][]byte) [][][]byte {
	if len(members) == 0 || len(members)+len(siblings) == 1 {
		return nil
	}
	tree := make([][][]byte, 0, 1+len(siblings))
	tree = append(tree, sorted(members))
	for _, s := range siblings {
		tree = append(tree, [][]byte{s})
	}
	return tree
}

// Root recomputes the root hash of a reducedHashtree (RFC 4998 section 4.3
// step 3): the hash of each list becomes a member of the next. An empty tree
// gives nil.
func Root(h crypto.Hash, tree [][][]byte) []byte {
	var root []byte
	for i, list := range tree {
		if i == 0 {
			root = GroupHash(h, list...)
			continue
		}
		// A new slice, so that the caller's tree is left as it is.
		root = GroupHash(h, append([][]byte{root}, list...)...)
	}
	return root
}
