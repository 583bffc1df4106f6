// Package tsp makes, asks for and verifies time-stamp tokens (RFC 3161, updated
// by RFC 5816): a signed CMS message (RFC 5652) that says at what time the hash
// of some data existed.
//
// Its invariants:
//   - Parsing takes DER only, bounded in size, depth and count, without trailing
//     bytes. What cannot be parsed gives a *ParseError and no token.
//   - Verifying makes every check, named, and reports each one: nothing is
//     skipped because something else failed. A token is good when no check
//     failed, and proved when all are OK.
//   - A certificate path, and the state of its certificates, is judged at the
//     time in the token and never at the present: a token verifies the same way
//     in fifty years, with what it carries.
//   - Adding certificates and revocation data touches only the part of the token
//     that its signature does not cover.
package tsp
