package rules

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

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
}

// Beds are a group and how many of its units the rows leave free, whatever state the shelter is in.
type Beds struct {
	Group *shelterv1.Group
	Free  int32
}

// Places are the candidates of a search. Those that are alike in all that decides whom they take lie together, so that a
// search judges a kind of shelter once, and then looks only at what is free. Not safe for use by several goroutines while
// one of them writes.
type Places struct {
	kinds     map[string]*kind
	shelters  map[string]*site
	groups    map[string]place
	districts map[string]int32 // numbered in order of first sight
}

// kind is what like shelters have in common.
type kind struct {
	key     string
	shelter *shelterv1.Shelter // with its groups
	hours   hours
	rows    []row
}

// row is what a search reads of every shelter of a kind; it is kept small, since there may be tens of thousands.
type row struct {
	open      uint64 // bit i mod 64: a unit of group i is free
	vouched   int64  // when its freshest group was vouched for, nanoseconds since 1970
	full      int64  // until when it says that it is full, likewise; 0: it does not
	district  int32
	suspended bool
	site      *site
}

// site is one shelter.
type site struct {
	name, displayName, district, node string
	confidential                      bool
	kind                              *kind
	at                                int // in the kind's rows
	beds                              []bed
}

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
	return &Places{kinds: map[string]*kind{}, shelters: map[string]*site{}, groups: map[string]place{}, districts: map[string]int32{}}
}

// Put adds a candidate, or replaces it.
func (p *Places) Put(c Candidate) {
	p.Remove(c.Shelter.GetName())
	k, order := p.kindOf(c)
	s := &site{
		name: c.Shelter.GetName(), displayName: c.Shelter.GetDisplayName(), district: c.Shelter.GetDistrict(), node: c.Node,
		confidential: c.Shelter.GetConfidential(), kind: k, at: len(k.rows),
	}
	r := row{district: p.number(s.district), suspended: c.Shelter.GetState() == shelterv1.Shelter_STATE_SUSPENDED, site: s}
	if until := c.Shelter.GetFullUntilTime(); until != nil {
		r.full = until.AsTime().UnixNano()
	}
	for i, from := range order {
		b := c.Beds[from]
		s.beds = append(s.beds, bed{name: b.Group.GetName(), free: b.Free, vouched: vouchedAt(b.Group)})
		r.vouched = max(r.vouched, s.beds[i].vouched)
		p.groups[b.Group.GetName()] = place{s, i}
	}
	k.rows = append(k.rows, r)
	s.reopen()
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
	last := len(s.kind.rows) - 1
	moved := s.kind.rows[last]
	s.kind.rows[s.at], moved.site.at = moved, s.at
	s.kind.rows[last] = row{}
	if s.kind.rows = s.kind.rows[:last]; last == 0 {
		delete(p.kinds, s.kind.key)
	}
}

// Take makes fewer units of a group free, or more where quantity is negative; nothing happens for a group that is not known.
func (p *Places) Take(group string, quantity int32) {
	if at, ok := p.groups[group]; ok {
		at.site.beds[at.group].free -= quantity
		at.site.reopen()
	}
}

// reopen writes what is free into the site's row.
func (s *site) reopen() {
	open := uint64(0)
	for i, b := range s.beds {
		if b.free > 0 {
			open |= 1 << (i % 64)
		}
	}
	s.kind.rows[s.at].open = open
}

func (p *Places) number(district string) int32 {
	n, ok := p.districts[district]
	if !ok {
		n = int32(len(p.districts))
		p.districts[district] = n
	}
	return n
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
	k, ok := p.kinds[key]
	if !ok {
		k = &kind{key: key, shelter: like, hours: hoursOf(like.GetSchedule())}
		p.kinds[key] = k
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
