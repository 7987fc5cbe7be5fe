package manners

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// draws are random numbers that a seed decides. Each thing has numbers of its own, by its kind and by how many of that
// were there before: calls for other things, and ids, which differ from run to run, do not change them.
type draws struct {
	seed uint64

	mu      sync.Mutex
	names   map[string]string // by id
	counts  map[string]int    // by kind
	streams map[string]*rand.Rand
}

func newDraws(seed uint64) *draws {
	return &draws{seed: seed, names: map[string]string{}, counts: map[string]int{}, streams: map[string]*rand.Rand{}}
}

// number is the next number from 0 to 1 for what happens to a thing of a kind.
func (d *draws) number(what, kind, id string) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	name, ok := d.names[kind+id]
	if !ok {
		d.counts[kind]++
		name = fmt.Sprintf("%s %d", kind, d.counts[kind])
		d.names[kind+id] = name
	}
	name = what + " of " + name
	stream := d.streams[name]
	if stream == nil {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(name))
		stream = rand.New(rand.NewPCG(d.seed, hash.Sum64()))
		d.streams[name] = stream
	}
	return stream.Float64()
}

// knows tells whether anything was drawn for a thing.
func (d *draws) knows(kind, id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[kind+id] != ""
}

// span is a range of durations.
type span struct{ low, high time.Duration }

// at is the duration at a fraction of the range.
func (s span) at(fraction float64) time.Duration {
	return s.low + time.Duration(fraction*float64(s.high-s.low))
}
