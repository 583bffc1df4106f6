//go:build race

package archive

// raced says that the race detector looks on: what one goroutine alone computes is then seven times as
// slow, and of such tests a part is enough. make test runs the whole of them without it.
//
// Tests that run programs do not run in parallel: between fork and exec a child holds the locks of the
// archives that others close and open again.
const raced = true
