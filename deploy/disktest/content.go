package disktest

import (
	"maps"
	"math/rand/v2"
	"slices"
)

const (
	sectorSize = 512 // what a disk writes whole or not at all
	pageSize   = 4096
)

type page [pageSize]byte

// content is what a file holds, as written and as synced. A page is never changed once it is in a map; none is a page of zeroes.
type content struct {
	size       int64
	pages      map[int64]*page
	syncedSize int64
	synced     map[int64]*page
	versions   map[int64][]*page // of each page written since the last sync, oldest first
	sizes      []int64           // since the last sync
}

func newContent() *content {
	return &content{pages: map[int64]*page{}, synced: map[int64]*page{}, versions: map[int64][]*page{}}
}

func (c *content) set(n int64, p *page) {
	c.versions[n] = append(c.versions[n], p)
	if p == nil {
		delete(c.pages, n)
	} else {
		c.pages[n] = p
	}
}

func (c *content) read(dest []byte, offset int64) int {
	n := int(max(0, min(int64(len(dest)), c.size-offset)))
	for done := 0; done < n; {
		at := offset + int64(done)
		from, to := at%pageSize, min(pageSize, at%pageSize+int64(n-done))
		if p := c.pages[at/pageSize]; p != nil {
			copy(dest[done:n], p[from:to])
		} else {
			clear(dest[done : done+int(to-from)])
		}
		done += int(to - from)
	}
	return n
}

func (c *content) write(data []byte, offset int64) {
	for done := 0; done < len(data); {
		at := offset + int64(done)
		fresh := copied(c.pages[at/pageSize])
		done += copy(fresh[at%pageSize:], data[done:])
		c.set(at/pageSize, fresh)
	}
	if end := offset + int64(len(data)); end > c.size {
		c.size = end
		c.sizes = append(c.sizes, end)
	}
}

func copied(p *page) *page {
	fresh := new(page)
	if p != nil {
		*fresh = *p
	}
	return fresh
}

func (c *content) truncate(size int64) {
	if size < c.size {
		for _, n := range slices.Collect(maps.Keys(c.pages)) {
			if kept := cutPage(c.pages[n], n, size); kept != c.pages[n] {
				c.set(n, kept)
			}
		}
	}
	c.size = size
	c.sizes = append(c.sizes, size)
}

// cutPage is page n of a file of this size: nothing lies behind its end.
func cutPage(p *page, n, size int64) *page {
	end := size - n*pageSize
	switch {
	case end <= 0:
		return nil
	case end >= pageSize:
		return p
	}
	fresh := copied(p)
	clear(fresh[end:])
	return fresh
}

func (c *content) sync() {
	for n := range c.versions {
		if p := c.pages[n]; p != nil {
			c.synced[n] = p
		} else {
			delete(c.synced, n)
		}
	}
	c.syncedSize = c.size
	clear(c.versions)
	c.sizes = nil
}

// afterLoss is what the disk has when power comes back: of what was not synced about this share, sector by sector.
func (c *content) afterLoss(chance *rand.Rand, share float64) *content {
	kept := newContent()
	maps.Copy(kept.synced, c.synced)
	for _, n := range slices.Sorted(maps.Keys(c.versions)) {
		kept.synced[n] = torn(c.synced[n], c.versions[n], chance, share)
	}
	kept.syncedSize = pick(c.syncedSize, c.sizes, chance, share)
	for n, p := range kept.synced {
		if p = cutPage(p, n, kept.syncedSize); p != nil {
			kept.synced[n] = p
		} else {
			delete(kept.synced, n)
		}
	}
	kept.size = kept.syncedSize
	maps.Copy(kept.pages, kept.synced)
	return kept
}

// torn takes each sector from one of the versions.
func torn(synced *page, versions []*page, chance *rand.Rand, share float64) *page {
	fresh := new(page)
	for from := 0; from < pageSize; from += sectorSize {
		if p := pick(synced, versions, chance, share); p != nil {
			copy(fresh[from:from+sectorSize], p[from:from+sectorSize])
		}
	}
	return fresh
}

// pick is the synced one or, as often as share says, one of the later ones, mostly the last. With a share of 1 nothing is lost.
func pick[T any](synced T, later []T, chance *rand.Rand, share float64) T {
	switch {
	case len(later) == 0 || chance.Float64() >= share:
		return synced
	case share == 1 || chance.IntN(4) > 0:
		return later[len(later)-1]
	}
	return later[chance.IntN(len(later))]
}

// flip turns one bit around, on the disk as in what is read.
func (c *content) flip(bit int64) {
	n := bit / 8 / pageSize
	fresh := copied(c.pages[n])
	fresh[bit/8%pageSize] ^= 1 << (bit % 8)
	c.pages[n], c.synced[n] = fresh, fresh
}
