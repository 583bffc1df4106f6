// Package archive is the one stateful heart of the service: deposit, commit,
// seal, deliver, audit. Only this package changes stored state.
//
// An archive is a directory: the catalogue (one database file), two slots
// outside of it (the root key, the last checkpoint), the configuration, the
// keys, and the offers, which hold the objects as ciphertext.
//
// A deposit passes three durable moments, and each makes the next one possible:
//
//  1. blobs: the ciphertext of every object is synced in as many offers as the
//     policy wants. A crash here leaves ciphertext that nothing refers to; the
//     next opening sweeps it.
//  2. transaction: one commit of the catalogue holds records, indexes, wrapped
//     keys, ledger entry, hashes and the signed checkpoint. This is the truth.
//     Concurrent operations share one sync of the offers and one commit. A
//     crash after it, before the checkpoint slot is written, leaves a catalogue
//     that extends the slot, which opening accepts.
//  3. token: a batch of leaves gets its time-stamp, committed the same way.
//     A crash before that loses only the token, and the batch is sealed again.
//
// Only after 2 is anything acknowledged. Things are written downwards (blob,
// key, record), read upwards, and deleted in the order record, key, blob.
//
// There are no status columns: stored means that the blob exists, committed that
// there is a ledger index, sealed that a batch covers the leaf.
package archive
