package disktest

import (
	"maps"
	"math/rand/v2"
)

// node is a file or a folder.
type node struct {
	id     uint64
	mode   uint32 // with the type's bits
	file   *content
	folder *folder
}

// folder keeps names as they are seen and as they are sure.
type folder struct {
	names    map[string]*node
	synced   map[string]*node
	unsynced []change // oldest first
}

// change is what one call did to the names of a folder: it is on the disk whole or not at all. nil: the name is gone.
type change map[string]*node

func newFolder() *folder { return &folder{names: map[string]*node{}, synced: map[string]*node{}} }

func (c change) apply(names map[string]*node) {
	for name, to := range c {
		if to == nil {
			delete(names, name)
		} else {
			names[name] = to
		}
	}
}

func (f *folder) change(c change) {
	c.apply(f.names)
	f.unsynced = append(f.unsynced, c)
}

func (f *folder) sync() { f.synced, f.unsynced = maps.Clone(f.names), nil }

// loss draws what a whole disk has when power comes back.
type loss struct {
	chance *rand.Rand
	share  float64
	done   map[*node]*node // a file may have two names
}

// KeepNothing is the seed with which Restore keeps nothing of what was not synced.
const KeepNothing = 0

// newLoss draws how much is kept of what was not synced: all, nothing, or a share of it.
func newLoss(seed uint64) *loss {
	chance := rand.New(rand.NewPCG(seed, 1))
	share := []float64{0, 1, chance.Float64(), chance.Float64()}[chance.IntN(4)]
	if seed == KeepNothing {
		share = 0
	}
	return &loss{chance, share, map[*node]*node{}}
}

func (l *loss) after(n *node) *node {
	if l.done[n] != nil {
		return l.done[n]
	}
	kept := &node{id: n.id, mode: n.mode}
	l.done[n] = kept
	if n.file != nil {
		kept.file = n.file.afterLoss(l.chance, l.share)
		return kept
	}
	names := maps.Clone(n.folder.synced)
	for _, c := range n.folder.unsynced {
		if l.chance.Float64() < l.share {
			c.apply(names)
		}
	}
	kept.folder = newFolder()
	for _, name := range sortedNames(names) {
		kept.folder.names[name] = l.after(names[name])
	}
	kept.folder.sync()
	return kept
}
