package rules

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Candidate is a shelter that a search may find: one of this node, or one that another node advertises.
type Candidate struct {
	// Shelter is what is public of it. Its groups, address and telephone are not looked at.
	Shelter *shelterv1.Shelter
	// Node it belongs to, such as punjab.
	Node string
	// Beds are its groups.
	Beds []Beds
	// Heard is when another node last said so; zero for this node's own, which are read from its rows.
	Heard time.Time
}

// Beds are a group and how many of its units the rows leave free, whatever state the shelter is in.
type Beds struct {
	Group *shelterv1.Group
	Free  int32
}

// Places are the candidates of a search. Those that are alike in all that decides whom they take lie together, by district, and are
// counted by what is free, so that a search judges a kind of shelter once, counts without looking, and looks only at the
// best. Not safe for use by several goroutines while one of them writes.
type Places struct {
	kinds    []*kind
	byKey    map[string]*kind
	shelters map[string]*site
	groups   map[string]place
	districts
}

// kind is what like shelters have in common.
type kind struct {
	key      string
	at       int                // in all kinds
	shelter  *shelterv1.Shelter // with its groups
	groups   []*shelterv1.Group
	hours    hours
	wards    []*ward
	in       []*ward // by district
	freshest int64   // of its rows, when a group was vouched for
	tally    tally
	declared []*site // that have said until when they are full
	heard    []*site // of other nodes, in the order in which they were last heard of
}

// ward is the shelters of a kind in one district.
type ward struct {
	district int32
	at       int // in the kind's wards
	rows     []row
	freshest int64
}

const (
	mostCounted = 64 // groups whose bit in a row's open is theirs alone
	mostPacked  = 16 // groups that stand in a row's free
	packed      = 15 // what stands there for so many and more: more than people can be looked for
)

// row is what a search reads of a shelter; it is kept small, since there may be tens of thousands.
type row struct {
	open      uint64 // bit i mod 64: a unit of group i is free
	free      uint64 // four bits each: how many units of the first groups are free
	vouched   int64  // when its freshest group was vouched for, nanoseconds since 1970
	full      int64  // until when it says that it is full, likewise; 0: it does not
	heard     int64  // when it was last heard of, likewise; always for this node's own
	suspended bool
	site      *site
}

// site is one shelter.
type site struct {
	name, displayName, district, node string
	confidential, own                 bool
	kind                              *kind
	ward                              *ward
	at                                int // in the ward's rows
	beds                              []bed
}

func (s *site) row() *row { return &s.ward.rows[s.at] }

// bed is a group of a site, in the kind's order of groups.
type bed struct {
	name    string
	free    int32
	vouched int64
}

type place struct {
	site  *site
	group int
}

// NewPlaces is without candidates.
func NewPlaces() *Places {
	return &Places{byKey: map[string]*kind{}, shelters: map[string]*site{}, groups: map[string]place{}, districts: newDistricts()}
}

// Put adds a candidate, or replaces it.
func (p *Places) Put(c Candidate) {
	p.Remove(c.Shelter.GetName())
	k, order := p.kindOf(c)
	s := &site{
		name: c.Shelter.GetName(), displayName: c.Shelter.GetDisplayName(), district: c.Shelter.GetDistrict(), node: c.Node,
		confidential: c.Shelter.GetConfidential(), own: c.Heard.IsZero(), kind: k,
	}
	r := row{suspended: c.Shelter.GetState() == shelterv1.Shelter_STATE_SUSPENDED, heard: math.MaxInt64, site: s}
	if !s.own {
		r.heard = c.Heard.UnixNano()
	}
	if until := c.Shelter.GetFullUntilTime(); until != nil {
		r.full = until.AsTime().UnixNano()
	}
	for i, from := range order {
		b := c.Beds[from]
		s.beds = append(s.beds, bed{name: b.Group.GetName(), free: b.Free, vouched: min(vouchedAt(b.Group), r.heard)})
		r.vouched = max(r.vouched, s.beds[i].vouched)
		p.groups[b.Group.GetName()] = place{s, i}
	}
	r.open, r.free = s.free()
	n := p.number(s.district)
	p.rows[n]++
	k.add(n, r)
	p.shelters[s.name] = s
}

// Remove forgets a candidate; nothing happens where there is none.
func (p *Places) Remove(shelter string) {
	s, ok := p.shelters[shelter]
	if !ok {
		return
	}
	delete(p.shelters, shelter)
	for _, b := range s.beds {
		delete(p.groups, b.name)
	}
	k := s.kind
	p.rows[s.ward.district]--
	if k.remove(s); k.tally.rows > 0 {
		return
	}
	delete(p.byKey, k.key)
	last := p.kinds[len(p.kinds)-1]
	p.kinds[k.at], last.at = last, k.at
	p.kinds = slices.Delete(p.kinds, len(p.kinds)-1, len(p.kinds))
}

// Take makes fewer units of a group free, or more where quantity is negative; nothing happens for a group that is not known.
func (p *Places) Take(group string, quantity int32) {
	at, ok := p.groups[group]
	if !ok {
		return
	}
	at.site.beds[at.group].free -= quantity
	r := at.site.row()
	at.site.kind.tally.count(r, -1)
	r.open, r.free = at.site.free()
	at.site.kind.tally.count(r, 1)
}

// free is what a row says of what is free.
func (s *site) free() (open, free uint64) {
	for i, b := range s.beds {
		if b.free <= 0 {
			continue
		}
		open |= 1 << (i % mostCounted)
		if i < mostPacked {
			free |= min(uint64(b.free), packed) << (4 * i)
		}
	}
	return open, free
}

func vouchedAt(g *shelterv1.Group) int64 {
	if g.GetVouchTime() == nil {
		return 0
	}
	return g.GetVouchTime().AsTime().UnixNano()
}

// kindOf finds or makes the kind of a candidate, and says in which order the kind has its groups.
func (p *Places) kindOf(c Candidate) (k *kind, order []int) {
	s := c.Shelter
	like := &shelterv1.Shelter{
		Languages: slices.Sorted(slices.Values(s.GetLanguages())), Services: slices.Sorted(slices.Values(s.GetServices())), Wheelchair: s.GetWheelchair(),
		CourtOrderRequired: s.GetCourtOrderRequired(), BoysWithMotherToAge: s.GetBoysWithMotherToAge(), LargestFamily: s.GetLargestFamily(),
		MedicalCover: s.GetMedicalCover(), PsychosocialCover: s.GetPsychosocialCover(), Security: s.GetSecurity(), LongestStayDays: s.GetLongestStayDays(),
		Schedule: slices.SortedFunc(slices.Values(s.GetSchedule()), func(a, b *shelterv1.Opening) int {
			return cmp.Or(cmp.Compare(a.GetWeekday(), b.GetWeekday()), strings.Compare(a.GetOpens(), b.GetOpens()), strings.Compare(a.GetCloses(), b.GetCloses()))
		}),
	}
	groups, keys := make([]*shelterv1.Group, len(c.Beds)), make([][]byte, len(c.Beds))
	for i, b := range c.Beds {
		groups[i] = &shelterv1.Group{
			Genders: slices.Sorted(slices.Values(b.Group.GetGenders())), AgeFrom: b.Group.GetAgeFrom(), AgeTo: b.Group.GetAgeTo(),
			UnitKind: b.Group.GetUnitKind(), WithMother: b.Group.GetWithMother(), Needs: slices.Sorted(slices.Values(b.Group.GetNeeds())),
		}
		keys[i] = marshalled(groups[i])
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(bytes.Compare(keys[a], keys[b]), strings.Compare(c.Beds[a].Group.GetName(), c.Beds[b].Group.GetName()))
	})
	for _, i := range order {
		like.Groups = append(like.Groups, groups[i])
	}
	key := string(marshalled(like))
	k, ok := p.byKey[key]
	if !ok {
		k = &kind{key: key, at: len(p.kinds), shelter: like, groups: like.GetGroups(), hours: hoursOf(like.GetSchedule())}
		p.byKey[key], p.kinds = k, append(p.kinds, k)
	}
	return k, order
}

// marshalled is a message as bytes that are equal for equal messages. What was stored once can be marshalled again.
func marshalled(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil
	}
	return b
}
