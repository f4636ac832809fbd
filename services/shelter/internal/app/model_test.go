package app_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/soaktest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/store"
)

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

// modelGroup is a group of beds as a person with a pencil would keep it.
type modelGroup struct{ total, overflow, open int32 }

type modelPart struct{ group, quantity int32 }

type modelHold struct {
	name              string
	parts             []modelPart
	live, confirmed   bool
	renewed, occupied bool
	until             time.Time
}

type modelStay struct {
	name            string
	group, quantity int32
	absent, ended   bool
}

type modelOutage struct {
	name            string
	group, quantity int32
	until           time.Time // zero: not known
	ended           bool
}

// model is a shelter of three groups, and what may be done with it next.
type model struct {
	*bench
	groups    [3]modelGroup
	holds     []*modelHold
	stays     []*modelStay
	outages   []*modelOutage
	suspended bool
	fullUntil time.Time
	made      int
	fence     uint64
}

func (m *model) group(i int32) string { return fmt.Sprintf("%s/groups/group-%d", shelterName, i) }

func (m *model) key() string { m.made++; return fmt.Sprint("request-", m.made) }

// catchUp ends what has run out: that happens before any count, whoever counts.
func (m *model) catchUp() {
	now := m.clock.Now()
	for _, h := range m.holds {
		if h.live && !h.confirmed && !h.until.After(now) {
			h.live = false
		}
	}
	for _, o := range m.outages {
		if !o.ended && !o.until.IsZero() && !o.until.After(now) {
			o.ended = true
		}
	}
}

func (m *model) taken(group int32) (held, occupied, out, absent int32) {
	for _, h := range m.holds {
		for _, p := range h.parts {
			if h.live && p.group == group {
				held += p.quantity
			}
		}
	}
	for _, s := range m.stays {
		if !s.ended && s.group == group {
			occupied += s.quantity
			if s.absent {
				absent += s.quantity
			}
		}
	}
	for _, o := range m.outages {
		if !o.ended && o.group == group {
			out += o.quantity
		}
	}
	return held, occupied, out, absent
}

func (m *model) free(group int32) int32 {
	held, occupied, out, _ := m.taken(group)
	return m.groups[group].total + m.groups[group].open - held - occupied - out
}

func (m *model) full() bool { return m.fullUntil.After(m.clock.Now()) }

// room is what the service must say to whoever wants these beds.
func (m *model) room(parts []modelPart) fault.Reason {
	left := [3]int32{m.free(0), m.free(1), m.free(2)}
	for _, p := range parts {
		switch left[p.group] -= p.quantity; {
		case m.suspended:
			return fault.WrongState
		case m.full() || left[p.group] < 0:
			return fault.NoCapacity
		}
	}
	return 0
}

var genQuantity = rapid.Int32Range(1, 4)

func (m *model) parts(t *rapid.T) (parts []modelPart) {
	for range rapid.IntRange(1, 3).Draw(t, "parts") {
		parts = append(parts, modelPart{rapid.Int32Range(0, 2).Draw(t, "group"), genQuantity.Draw(t, "quantity")})
	}
	return parts
}

func check(t *rapid.T, what string, err error, reason fault.Reason) bool {
	if fault.ReasonOf(err) != reason || (err == nil) != (reason == 0) {
		t.Fatalf("%s: %v, want %v", what, err, reason)
	}
	return err == nil
}

func (m *model) placeHold(t *rapid.T) {
	parts := m.parts(t)
	request := &shelterv1.PlaceHoldRequest{Group: m.group(parts[0].group), Quantity: parts[0].quantity, Needs: girl(), RequestId: m.key()}
	for _, p := range parts[1:] {
		request.Also = append(request.Also, &shelterv1.Part{Group: m.group(p.group), Quantity: p.quantity, Needs: girl()})
	}
	m.catchUp()
	want := m.room(parts)
	h, err := m.PlaceHold(context.Background(), request)
	if !check(t, "place", err, want) {
		return
	}
	if h.GetFence().GetNumber() <= m.fence {
		t.Fatalf("the fence went from %d to %d", m.fence, h.GetFence().GetNumber())
	}
	m.fence = h.GetFence().GetNumber()
	again, err := m.PlaceHold(context.Background(), request)
	if err != nil || again.GetName() != h.GetName() {
		t.Fatalf("the same call again: %v, %v", again, err)
	}
	m.holds = append(m.holds, &modelHold{name: h.GetName(), parts: parts, live: true, until: h.GetExpireTime().AsTime()})
}

func pick[T any](t *rapid.T, from []T) (T, bool) {
	if len(from) == 0 {
		var none T
		return none, false
	}
	return from[rapid.IntRange(max(0, len(from)-12), len(from)-1).Draw(t, "which")], true
}

// ended is what a hold says that takes no beds any more.
func (h *modelHold) ended() fault.Reason {
	if h.occupied {
		return fault.WrongState
	}
	return fault.HoldEnded
}

func (m *model) changeHold(t *rapid.T) {
	h, ok := pick(t, m.holds)
	if !ok {
		return
	}
	m.catchUp()
	ctx := context.Background()
	want := fault.Reason(0)
	if !h.live {
		want = h.ended()
	}
	switch rapid.IntRange(0, 3).Draw(t, "action") {
	case 0:
		if _, err := m.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.name}); check(t, "confirm", err, want) {
			h.confirmed = true
		}
	case 1:
		if _, err := m.ReleaseHold(ctx, &shelterv1.ReleaseHoldRequest{Name: h.name}); check(t, "release", err, want) {
			h.live = false
		}
	case 2:
		until := m.clock.Now().Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "minutes")) * time.Minute)
		switch {
		case want != 0:
		case h.confirmed || h.renewed:
			want = fault.WrongState
		case !until.After(h.until):
			want = fault.Field
		}
		if _, err := m.RenewHold(ctx, &shelterv1.RenewHoldRequest{Name: h.name, ExpireTime: timestamppb.New(until)}); check(t, "renew", err, want) {
			h.renewed, h.until = true, until
		}
	case 3:
		if h.occupied {
			want = 0 // the same stay again
		} else if h.live && !h.confirmed {
			want = fault.WrongState
		}
		stay, err := m.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: h.name})
		if !check(t, "admit", err, want) || h.occupied {
			return
		}
		h.live, h.occupied = false, true
		for i, name := range append([]string{stay.GetName()}, stay.GetCompanions()...) {
			m.stays = append(m.stays, &modelStay{name: name, group: h.parts[i].group, quantity: h.parts[i].quantity})
		}
	}
}

func (m *model) walkIn(t *rapid.T) {
	p := modelPart{rapid.Int32Range(0, 2).Draw(t, "group"), genQuantity.Draw(t, "quantity")}
	m.catchUp()
	stay, err := m.AdmitWalkIn(context.Background(), &shelterv1.AdmitWalkInRequest{Group: m.group(p.group), Quantity: p.quantity, Needs: girl(), RequestId: m.key()})
	if check(t, "walk in", err, m.room([]modelPart{p})) {
		m.stays = append(m.stays, &modelStay{name: stay.GetName(), group: p.group, quantity: p.quantity})
	}
}

func (m *model) changeStay(t *rapid.T) {
	s, ok := pick(t, m.stays)
	if !ok {
		return
	}
	m.catchUp()
	ctx := context.Background()
	want := fault.Reason(0)
	if s.ended {
		want = fault.WrongState
	}
	switch rapid.IntRange(0, 3).Draw(t, "action") {
	case 0:
		to := rapid.Int32Range(0, 2).Draw(t, "to")
		if want == 0 && to != s.group && m.free(to) < s.quantity {
			want = fault.NoCapacity
		}
		if _, err := m.MoveStay(ctx, &shelterv1.MoveStayRequest{Name: s.name, ToGroup: m.group(to)}); check(t, "move", err, want) {
			s.group = to
		}
	case 1:
		if s.absent {
			want = fault.WrongState
		}
		back := timestamppb.New(m.clock.Now().Add(time.Hour))
		if _, err := m.StartAbsence(ctx, &shelterv1.StartAbsenceRequest{Name: s.name, Reason: "HOSPITAL", ReturnTime: back}); check(t, "leave", err, want) {
			s.absent = true
		}
	case 2:
		if _, err := m.EndAbsence(ctx, &shelterv1.EndAbsenceRequest{Name: s.name}); check(t, "return", err, want) {
			s.absent = false
		}
	case 3:
		reason := rapid.SampledFrom([]string{"REUNIFIED", "LEFT"}).Draw(t, "reason")
		if s.ended {
			reason = "DIED" // never the same, which would be a no-op
		}
		if _, err := m.DischargeStay(ctx, &shelterv1.DischargeStayRequest{Name: s.name, Reason: reason}); check(t, "discharge", err, want) {
			s.ended, s.absent = true, false
		}
	}
}

func (m *model) changeOutages(t *rapid.T) {
	m.catchUp()
	if o, ok := pick(t, m.outages); ok && rapid.Bool().Draw(t, "end") {
		_, err := m.EndOutage(context.Background(), &shelterv1.EndOutageRequest{Name: o.name})
		check(t, "end an outage", err, 0)
		o.ended = true
		return
	}
	o := &modelOutage{group: rapid.Int32Range(0, 2).Draw(t, "group"), quantity: genQuantity.Draw(t, "quantity")}
	asked := &shelterv1.Outage{Quantity: o.quantity, Reason: "REPAIR"}
	if rapid.Bool().Draw(t, "with an end") {
		o.until = m.clock.Now().Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "minutes")) * time.Minute)
		asked.UntilTime = timestamppb.New(o.until)
	}
	want := fault.Reason(0)
	if m.free(o.group) < o.quantity {
		want = fault.NoCapacity
	}
	made, err := m.CreateOutage(context.Background(), &shelterv1.CreateOutageRequest{Parent: m.group(o.group), Outage: asked, RequestId: m.key()})
	if check(t, "take out of service", err, want) {
		o.name = made.GetName()
		m.outages = append(m.outages, o)
	}
}

func (m *model) changeInventory(t *rapid.T) {
	i := rapid.Int32Range(0, 2).Draw(t, "group")
	g := modelGroup{rapid.Int32Range(0, 14).Draw(t, "total"), rapid.Int32Range(0, 4).Draw(t, "overflow"), rapid.Int32Range(0, 4).Draw(t, "open")}
	m.catchUp()
	held, occupied, out, _ := m.taken(i)
	want := fault.Reason(0)
	switch {
	case g.open > g.overflow:
		want = fault.Field
	case g.total+g.open < held+occupied+out:
		want = fault.WrongState
	}
	_, err := m.UpdateGroup(context.Background(), &shelterv1.UpdateGroupRequest{
		Group: &shelterv1.Group{Name: m.group(i), Total: g.total, Overflow: g.overflow, OverflowOpen: g.open}, UpdateMask: mask("total", "overflow", "overflow_open"),
	}, manager)
	if check(t, "change the inventory", err, want) {
		m.groups[i] = g
	}
}

func (m *model) changeShelter(t *rapid.T) {
	ctx := context.Background()
	var err error
	switch rapid.IntRange(0, 3).Draw(t, "action") {
	case 0:
		m.catchUp()
		m.suspended = true
		for _, h := range m.holds {
			h.live = false
		}
		_, err = m.SuspendShelter(ctx, &shelterv1.SuspendShelterRequest{Name: shelterName, Reason: "REPAIR"}, true)
	case 1:
		m.suspended = false
		_, err = m.ReopenShelter(ctx, &shelterv1.ReopenShelterRequest{Name: shelterName}, true)
	case 2:
		m.fullUntil = m.clock.Now().Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "minutes")) * time.Minute)
		_, err = m.DeclareFull(ctx, &shelterv1.DeclareFullRequest{Name: shelterName, UntilTime: timestamppb.New(m.fullUntil)}, true)
	case 3:
		m.fullUntil = time.Time{}
		_, err = m.WithdrawFull(ctx, &shelterv1.WithdrawFullRequest{Name: shelterName}, true)
	}
	check(t, "change the shelter", err, 0)
}

func (m *model) headcount(t *rapid.T) {
	request := &shelterv1.CreateHeadcountRequest{Parent: shelterName, RequestId: m.key(), Headcount: &shelterv1.Headcount{}}
	open := false
	for i := range int32(3) {
		_, occupied, _, absent := m.taken(i)
		present := max(0, occupied-absent+rapid.Int32Range(-1, 1).Draw(t, "off"))
		open = open || present != occupied-absent
		request.Headcount.Counts = append(request.Headcount.Counts, &shelterv1.Count{Group: fmt.Sprint("group-", i), Present: present})
	}
	h, err := m.CreateHeadcount(context.Background(), request)
	check(t, "count", err, 0)
	if h.GetOpen() != open {
		t.Fatalf("open = %v, want %v: %v", h.GetOpen(), open, h)
	}
}

func (m *model) waitAWhile(t *rapid.T) {
	m.clock.Add(time.Duration(rapid.IntRange(0, 120).Draw(t, "minutes")) * time.Minute)
}

// invariants compares what the service shows with the model, and holds the promise: what is taken is never more than there is.
func (m *model) invariants(t *rapid.T) {
	m.catchUp()
	if _, err := m.FireDue(context.Background()); err != nil {
		t.Fatal(err)
	}
	s, err := m.GetShelter(context.Background(), shelterName, true)
	if err != nil {
		t.Fatal(err)
	}
	if rapid.IntRange(0, 7).Draw(t, "search") == 0 { // the directory applies what has queued up since
		m.search(t, s)
	}
	for i, g := range s.GetGroups() {
		held, occupied, out, _ := m.taken(int32(i))
		want := m.free(int32(i))
		if m.suspended || m.full() {
			want = 0
		}
		if g.GetHeld() != held || g.GetOccupied() != occupied || g.GetOutOfService() != out || g.GetAvailable() != want {
			t.Fatalf("%s shows %d held, %d occupied, %d out, %d free; want %d, %d, %d, %d", g.GetName(),
				g.GetHeld(), g.GetOccupied(), g.GetOutOfService(), g.GetAvailable(), held, occupied, out, want)
		}
		if sum := g.GetHeld() + g.GetOccupied() + g.GetOutOfService(); sum > g.GetTotal()+g.GetOverflow() || g.GetAvailable() < 0 {
			t.Fatalf("%s: %d of %d and %d are taken, %d free", g.GetName(), sum, g.GetTotal(), g.GetOverflow(), g.GetAvailable())
		}
	}
}

// search holds the directory in memory against what the tables say: the same beds are free, and it says so in the right words.
func (m *model) search(t *rapid.T, s *shelterv1.Shelter) {
	found, err := m.FindPlaces(context.Background(), &shelterv1.FindPlacesRequest{Parent: "nodes/punjab", People: []*custodyv1.Needs{girl()}})
	if err != nil {
		t.Fatal(err)
	}
	most := int32(0)
	for _, g := range s.GetGroups() {
		most = max(most, g.GetAvailable())
	}
	if len(found.GetPlaces()) == 1 != (most > 0) {
		t.Fatalf("a search finds %v; %d beds are free", found, most)
	}
	switch {
	case most > 0:
		if got := found.GetPlaces()[0].GetGroups()[0]; s.GetGroups()[groupAt(got.GetGroup())].GetAvailable() != got.GetAvailable() {
			t.Fatalf("a search finds %v; the shelter shows %v", got, s)
		}
	default:
		code := "FULL"
		if m.suspended {
			code = "SUSPENDED"
		} else if m.full() {
			code = "DECLARED_FULL"
		}
		if left := found.GetLeftOut(); len(left) != 1 || left[0].GetCode() != code || left[0].GetCount() != 1 {
			t.Fatalf("a search says %v, want %s", left, code)
		}
	}
}

// sameDirectory builds the directory anew from the tables and holds the one that was kept by the change sets against it.
func (m *model) sameDirectory(t *rapid.T) {
	built, err := app.OpenDirectory(context.Background(), m.DB, "punjab")
	if err != nil {
		t.Fatal(err)
	}
	anew := *m.App
	anew.Directory = built
	for _, people := range [][]*custodyv1.Needs{{girl()}, {girl(), girl()}, {girl(), girl(), girl(), girl(), girl(), girl(), girl(), girl()}} {
		request := &shelterv1.FindPlacesRequest{Parent: "nodes/punjab", People: people, NearDistrict: "PK617"}
		kept, err := m.FindPlaces(context.Background(), request)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := anew.FindPlaces(context.Background(), request)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(kept, fresh) {
			t.Fatalf("the directory says %v; the tables say %v", kept, fresh)
		}
	}
}

func groupAt(name string) int { return int(name[len(name)-1] - '0') }

// TestRandomPrograms does what people do, in any order, and compares the service with the model after every step.
func TestRandomPrograms(t *testing.T) {
	length := soaktest.Alone(1100, 100) // × 100 programs: more than 100,000 steps
	if testing.Short() {
		length = 30
	}
	steps, dir, programs := 0, t.TempDir(), 0
	keys := func() string {
		programs++
		own := filepath.Join(dir, fmt.Sprint(programs))
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		return own
	}
	program := func(r *rapid.T) {
		b, end := openApp(t, kitstore.Options{Engine: kitstore.NewMemory(), Inline: true, Schema: store.Schema}, keys())
		defer end()
		m := &model{bench: b}
		shelter := &shelterv1.Shelter{DisplayName: "Lahore girls", District: "PK617"}
		for i := range m.groups {
			m.groups[i] = modelGroup{total: rapid.Int32Range(0, 12).Draw(r, "total")}
			shelter.Groups = append(shelter.Groups, &shelterv1.Group{
				Name: fmt.Sprint("group-", i), Genders: []string{"Feminine"}, AgeTo: 18, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: m.groups[i].total,
			})
		}
		if _, err := m.CreateShelter(context.Background(), &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "lahore-girls", Shelter: shelter}, manager); err != nil {
			r.Fatal(err)
		}
		actions := []func(*rapid.T){
			m.placeHold, m.placeHold, m.changeHold, m.changeHold, m.changeHold, m.walkIn, m.changeStay, m.changeStay, m.changeStay,
			m.changeOutages, m.changeInventory, m.changeShelter, m.headcount,
		}
		for range length {
			if rapid.IntRange(0, 6).Draw(r, "wait") == 0 {
				m.waitAWhile(r) // what falls due is first met by the next action, whatever it is
			}
			actions[rapid.IntRange(0, len(actions)-1).Draw(r, "action")](r)
			m.invariants(r)
			steps++
		}
		m.sameDirectory(r)
	}
	for range soaktest.Rounds(t, 1, 1) {
		rapid.Check(t, program)
	}
	t.Logf("%d steps", steps)
}
