//go:build race

package archive

// raced says that the race detector looks on: what one goroutine alone computes is then seven times as
// slow, and of such tests a part is enough. make test runs the whole of them without it.
const raced = true
