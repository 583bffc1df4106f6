// Package ers reads, writes, verifies and renews evidence records: the
// Evidence Record Syntax of RFC 4998, in DER.
//
// An evidence record proves that a data object group (here the content and its
// salt) existed at the time of its first time-stamp, and goes on proving it
// after the certificates, the signature algorithms and the hash algorithms of
// that time have aged, because later time-stamps cover the earlier ones.
//
// Invariants:
//   - A record that Parse accepts is written back by Marshal byte for byte:
//     hash-tree renewal hashes the encoding of earlier chains (section 5.2), so
//     an encoding that changes would break them.
//   - The records that this package composes always state digestAlgorithm [0]
//     in every ArchiveTimeStamp, without algorithm parameters (RFC 5754
//     section 2), and the first list of a renewal holds the hashes of all
//     earlier tokens of its chain.
//   - A list of one hash is carried unhashed; any other is sorted in binary
//     ascending order, concatenated and hashed (sections 4.2 and 4.3).
//   - No check is skipped silently: Verify reports every clause by its name.
//
// The tree of a batch is stored as tiles of 256 nodes, so that the record of
// one object out of millions is assembled from a few kilobytes. Time-stamp
// tokens are opaque here: the caller gives the function that verifies them.
//
// Decisions where the standard leaves a choice:
//   - cryptoInfos [0] (section 3.1) and attributes [1] (section 4.1) are kept
//     as they are and not interpreted; the former are outside every time-stamp
//     and therefore prove nothing.
//   - encryptionInfo [1] is refused: such a record proves ciphertext that only
//     the named method can make again (section 6).
//   - Section 5.2 step 4 says H(h(i) + ha(i)) in prose, in that order, while its
//     figure 4 sorts the two; erratum 7411 (reported, not verified) asks for the
//     sorted reading. We write the order of the prose, as other makers do, and
//     accept both: each binds the same two hashes.
package ers
