// Package integrity holds what an auditor needs to follow the ledger without
// the archive: entries and the items they commit to, signed checkpoints, and
// inclusion and consistency proofs. Nothing here reads or writes an archive.
//
// The ledger is an append-only Merkle tree (RFC 6962 section 2.1, SHA-256).
// One entry is one operation: a deposit, a seal, an audit. An operation on
// many units names none of them in its entry: it commits to them by the root of
// a second RFC 6962 tree over its items. An item holds a random identifier and
// the salted commitment of the content, which is also the item's leaf in the
// evidence record (RFC 4998), so ledger and evidence speak of the same bytes.
//
// Invariants:
//   - an entry and its items hold random identifiers, salted commitments, times
//     and codes: never personal data, never an unsalted digest of content;
//   - the bytes of an entry are hashed as they are stored, and are never encoded again;
//   - outside formats are those of C2SP: tlog-checkpoint, tlog-proof, tlog-tiles.
//
// Sub-packages: tsp (time-stamps, RFC 3161), ers (evidence records, RFC 4998),
// bundle (the proof bundle given to an auditor, and its verification).
package integrity
