package seda

import (
	"slices"
	"strings"
)

// thingKind is what an XML id identifies.
type thingKind uint8

const (
	notDeclared thingKind = iota
	otherThing
	unitThing
	linkThing // an ArchiveUnit that only refers to another
	groupThing
	objectThing
)

// thing is what has an XML id, or is referred to by one.
type thing struct {
	kind thingKind
	used bool  // by a unit, for a group or object
	line int32 // of its declaration
	ref  int32 // index among units or objects; of a link, the thing it refers to, -1 for none
}

// reference is one use of an XML id, to be held against its declaration at the end.
type reference struct {
	to   int32 // thing
	want thingKind
	line int32
}

// graph is the skeleton of a transfer: what refers to what. It is all that is kept of
// a manifest in memory: about 200 bytes for a unit with an object.
type graph struct {
	ids    map[string]int32
	names  []string // by thing
	things []thing
	refs   []reference
	edges  []edge  // parent to child, both units or links
	units  []int32 // things, in document order
}

type edge struct{ parent, child int32 }

// thing gives the number of what has this XML id.
func (g *graph) thing(id []byte) int32 {
	n, ok := g.ids[string(id)]
	if !ok {
		n = int32(len(g.things))
		name := string(id)
		g.ids[name] = n
		g.names, g.things = append(g.names, name), append(g.things, thing{ref: -1})
	}
	return n
}

// cycles finds units that contain themselves: one of each knot, with the way round.
func (g *graph) cycles() (out [][]int32) {
	children := g.children()
	// Kahn's algorithm: what cannot be taken off in the order of containment is in a
	// cycle, or inside one.
	degree := make([]int32, len(g.things))
	for _, c := range children.items {
		degree[c]++
	}
	var free []int32
	for n := range degree {
		if degree[n] == 0 {
			free = append(free, int32(n))
		}
	}
	left := len(g.things)
	for len(free) > 0 {
		n := free[len(free)-1]
		free = free[:len(free)-1]
		left--
		for _, c := range children.of(n) {
			if degree[c]--; degree[c] == 0 {
				free = append(free, c)
			}
		}
	}
	if left == 0 {
		return nil
	}
	return g.ways(degree, children)
}

// children gives the children of each thing, links replaced by what they refer to.
func (g *graph) children() lists {
	return newLists(len(g.things), func(add func(list, item int32)) {
		for _, e := range g.edges {
			add(e.parent, g.target(e.child))
		}
	})
}

// target is the unit that a child is, or refers to.
func (g *graph) target(n int32) int32 {
	for range 64 { // links to links
		t := g.things[n]
		if t.kind != linkThing || t.ref < 0 {
			return n
		}
		n = t.ref
	}
	return n
}

// maxCycles bounds how many are shown.
const maxCycles = 20

// ways follows, among what is left, children to where they come round.
func (g *graph) ways(degree []int32, children lists) (out [][]int32) {
	start, next := children.start, children.items
	const unseen, done = -1, -2
	place := make([]int32, len(g.things)) // on the way now: where on it
	for i := range place {
		place[i] = unseen
	}
	for n := range place {
		if degree[n] == 0 || place[n] != unseen {
			continue
		}
		var way, child []int32 // depth first, without recursion
		way, child = append(way, int32(n)), append(child, start[n])
		place[n] = 0
		for len(way) > 0 && len(out) < maxCycles {
			top := way[len(way)-1]
			if child[len(child)-1] == start[top+1] {
				place[top] = done
				way, child = way[:len(way)-1], child[:len(child)-1]
				continue
			}
			c := next[child[len(child)-1]]
			child[len(child)-1]++
			switch {
			case degree[c] == 0 || place[c] == done:
			case place[c] == unseen:
				place[c] = int32(len(way))
				way, child = append(way, c), append(child, start[c])
			default:
				out = append(out, slices.Clone(way[place[c]:]))
			}
		}
	}
	return out
}

// nameOf shows a way by its XML ids.
func (g *graph) nameOf(way []int32) string {
	var names []string
	for _, n := range way {
		names = append(names, g.names[n])
	}
	return strings.Join(append(names, names[0]), " > ")
}

// lists are many short lists of numbers in little memory.
type lists struct {
	start []int32 // of list i; the next one's is its end
	items []int32
}

func (l *lists) of(i int32) []int32 { return l.items[l.start[i]:l.start[i+1]] }

// newLists makes n lists of pairs, each a list and an item of it. pairs is called twice.
func newLists(n int, pairs func(add func(list, item int32))) lists {
	l := lists{start: make([]int32, n+2)}
	pairs(func(list, _ int32) { l.start[list+2]++ })
	for i := 2; i < len(l.start); i++ {
		l.start[i] += l.start[i-1]
	}
	l.items = make([]int32, l.start[n+1])
	pairs(func(list, item int32) {
		l.items[l.start[list+1]] = item
		l.start[list+1]++
	})
	return l
}
