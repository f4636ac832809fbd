package app_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/store"
)

func offerName(n int) string {
	return fmt.Sprintf("nodes/balochistan/referrals/01920000-0000-7000-8000-%012d/offers/%s", n, strings.Repeat(fmt.Sprint(n%10), 64))
}

// holdFor holds a bed for an offer; 0 is a local hold.
func (b *bench) holdFor(t testing.TB, n int) *shelterv1.Hold {
	t.Helper()
	r := &shelterv1.PlaceHoldRequest{
		Group: groupName, Quantity: 1, Needs: girl(), RequestId: fmt.Sprint("request-", n),
	}
	if n > 0 {
		r.Offer = offerName(n)
	}
	h, err := b.PlaceHold(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (b *bench) confirm(t testing.TB, h *shelterv1.Hold) {
	t.Helper()
	if _, err := b.ConfirmHold(t.Context(), &shelterv1.ConfirmHoldRequest{Name: h.GetName()}); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) stateOf(t testing.TB, name string) shelterv1.Hold_State {
	t.Helper()
	h, err := b.GetHold(t.Context(), name, false)
	if fault.ReasonOf(err) == fault.Missing {
		return shelterv1.Hold_STATE_UNSPECIFIED
	}
	if err != nil {
		t.Fatal(err)
	}
	return h.GetState()
}

func live(n int, stage shelterv1.LiveOffer_Stage, h *shelterv1.Hold) *shelterv1.LiveOffer {
	return &shelterv1.LiveOffer{Offer: offerName(n), Stage: stage, Hold: h.GetName(), Parts: []*shelterv1.Part{{
		Group: groupName, Quantity: 1, Needs: girl(),
	}}}
}

func (b *bench) begin(t testing.TB) *shelterv1.BeginReconciliationResponse {
	t.Helper()
	begun, err := b.BeginReconciliation(t.Context(), &shelterv1.BeginReconciliationRequest{Parent: "nodes/punjab"})
	if err != nil {
		t.Fatal(err)
	}
	return begun
}

func (b *bench) compare(t testing.TB, fence *custodyv1.Fence, after, until string, offers ...*shelterv1.LiveOffer) []string {
	t.Helper()
	response, err := b.ReconcileOffers(t.Context(), &shelterv1.ReconcileOffersRequest{Parent: "nodes/punjab", Fence: fence, After: after, Until: until, Offers: offers})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetLost()
}

// A bed that is held for an offer which is over is given back; what was placed after the list was begun, local holds, people and
// what the list names stay; a promise whose hold was ended here is said to be lost.
func TestOrphansAreReleased(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 8)
	local, orphan, promisedOrphan := b.holdFor(t, 0), b.holdFor(t, 1), b.holdFor(t, 2)
	b.confirm(t, promisedOrphan)
	tentative, promised, gone := b.holdFor(t, 3), b.holdFor(t, 4), b.holdFor(t, 5)
	b.confirm(t, promised)
	b.confirm(t, gone)
	if _, err := b.ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: gone.GetName()}); err != nil {
		t.Fatal(err)
	}
	double, err := b.PlaceHold(t.Context(), &shelterv1.PlaceHoldRequest{ // a second hold of one offer
		Group: groupName, Quantity: 1, Needs: girl(), RequestId: "request-double", Offer: offerName(4),
	})
	if err != nil {
		t.Fatal(err)
	}
	begun := b.begin(t)
	later := b.holdFor(t, 6) // its offer is not on a list that was begun before
	list := []*shelterv1.LiveOffer{
		live(3, shelterv1.LiveOffer_STAGE_TENTATIVE, nil), live(4, shelterv1.LiveOffer_STAGE_PROMISED, promised), live(5, shelterv1.LiveOffer_STAGE_PROMISED, gone),
	}
	if begun.GetRestored() {
		t.Error("a store that was never restored says that it was")
	}
	for range 2 { // the second time nothing is left to do
		// In pages, one of which lies between the others.
		lost := b.compare(t, begun.GetFence(), "", offerName(3), list[0])
		lost = append(lost, b.compare(t, begun.GetFence(), offerName(3), offerName(4), list[1])...)
		lost = append(lost, b.compare(t, begun.GetFence(), offerName(4), "", list[2])...)
		if !slices.Equal(lost, []string{offerName(5)}) {
			t.Errorf("lost %v", lost)
		}
		for what, c := range map[string]struct {
			hold *shelterv1.Hold
			want shelterv1.Hold_State
		}{
			"local": {local, shelterv1.Hold_STATE_HELD}, "orphan": {orphan, shelterv1.Hold_STATE_RELEASED},
			"promised to nobody": {promisedOrphan, shelterv1.Hold_STATE_RELEASED}, "tentative": {tentative, shelterv1.Hold_STATE_HELD},
			"a second of one offer": {double, shelterv1.Hold_STATE_RELEASED}, "promised": {promised, shelterv1.Hold_STATE_CONFIRMED}, "placed since": {later, shelterv1.Hold_STATE_HELD}, "gone": {gone, shelterv1.Hold_STATE_RELEASED},
		} {
			if got := b.stateOf(t, c.hold.GetName()); got != c.want {
				t.Errorf("%s: %v, want %v", what, got, c.want)
			}
		}
	}
}

// A store restored from an hours-old backup answers nothing until it has the whole list; then it has every promise and every
// person again, no tentative hold of an offer, and gives no bed twice.
func TestRestoredStoreIsMended(t *testing.T) {
	dir := t.TempDir()
	options := kitstore.Options{Path: filepath.Join(dir, "shelter.db"), Schema: store.Schema}
	keys := t.TempDir()
	b, end := openApp(t, options, keys)
	b.shelter(t, 6)
	// As the backup has them: tentative, tentative, promised.
	becamePromised, staysTentative, becameFull := b.holdFor(t, 1), b.holdFor(t, 2), b.holdFor(t, 3)
	b.confirm(t, becameFull)
	ended := b.holdFor(t, 7)
	b.confirm(t, ended)
	var backup bytes.Buffer
	if err := b.DB.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	// What came after it.
	b.confirm(t, becamePromised)
	if _, err := b.AdmitHold(t.Context(), &shelterv1.AdmitHoldRequest{Name: becameFull.GetName()}); err != nil {
		t.Fatal(err)
	}
	unknownPromise, unknownPerson := b.holdFor(t, 4), b.holdFor(t, 5)
	b.confirm(t, unknownPromise)
	b.confirm(t, unknownPerson)
	if _, err := b.AdmitHold(t.Context(), &shelterv1.AdmitHoldRequest{Name: unknownPerson.GetName()}); err != nil {
		t.Fatal(err)
	}
	old := b.begin(t).GetFence()
	end()
	if err := kitstore.Restore(t.Context(), &backup, options, true); err != nil {
		t.Fatal(err)
	}

	b, end = openApp(t, options, keys)
	defer end()
	if fault.ReasonOf(b.Gate.Closed()) != fault.Unavailable {
		t.Fatal("a restored store answers")
	}
	letters := &federalLetters{}
	teller := &app.FederalTeller{App: b.App, Federal: "federal", Post: letters}
	if next, err := teller.Report(t.Context()); err != nil || len(letters.sent) > 0 || !next.After(b.clock.Now()) {
		t.Errorf("a restored store tells the federal cell what it may have wrong: %v, next %v, %v", letters.sent, next, err)
	}
	b.clock.Add(100 * time.Minute) // tentative holds would run out
	if next, err := b.FireDue(t.Context()); err != nil || !next.After(b.clock.Now()) {
		t.Fatalf("holds of a restored store are ended by the clock: %v, %v", next, err)
	}
	begun := b.begin(t)
	if !begun.GetRestored() || begun.GetFence().GetIncarnation() == old.GetIncarnation() {
		t.Fatalf("begun %v", begun)
	}
	if _, err := b.ReconcileOffers(t.Context(), &shelterv1.ReconcileOffersRequest{Parent: "nodes/punjab", Fence: old}); fault.ReasonOf(err) != fault.StaleFence {
		t.Errorf("a list of before the restore: %v", err)
	}
	list := []*shelterv1.LiveOffer{
		live(1, shelterv1.LiveOffer_STAGE_PROMISED, becamePromised), live(2, shelterv1.LiveOffer_STAGE_TENTATIVE, staysTentative),
		live(3, shelterv1.LiveOffer_STAGE_ARRIVED, becameFull), live(4, shelterv1.LiveOffer_STAGE_PROMISED, unknownPromise),
		live(5, shelterv1.LiveOffer_STAGE_ARRIVED, unknownPerson),
	}
	b.compare(t, begun.GetFence(), offerName(3), "", list[3:]...) // the end alone is no whole list
	if b.Gate.Closed() == nil {
		t.Fatal("half a list has opened the gate")
	}
	lost := b.compare(t, begun.GetFence(), "", offerName(3), list[:3]...)
	lost = append(lost, b.compare(t, begun.GetFence(), offerName(3), "", list[3:]...)...)
	if len(lost) > 0 || b.Gate.Closed() != nil {
		t.Fatalf("lost %v, gate %v", lost, b.Gate.Closed())
	}
	if _, err := teller.Report(t.Context()); err != nil || len(letters.sent) != 1 {
		t.Errorf("when it is mended, %d letters, %v", len(letters.sent), err)
	}
	for what, c := range map[string]struct {
		hold *shelterv1.Hold
		want shelterv1.Hold_State
	}{
		"became a promise": {becamePromised, shelterv1.Hold_STATE_CONFIRMED}, "stays tentative": {staysTentative, shelterv1.Hold_STATE_RELEASED},
		"came in": {becameFull, shelterv1.Hold_STATE_OCCUPIED}, "promised after the backup": {unknownPromise, shelterv1.Hold_STATE_CONFIRMED},
		"came in after the backup": {unknownPerson, shelterv1.Hold_STATE_OCCUPIED}, "ended after the backup": {ended, shelterv1.Hold_STATE_RELEASED},
	} {
		if got := b.stateOf(t, c.hold.GetName()); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	if got := b.free(t); got != "2 2 2" {
		t.Errorf("held, occupied and available: %s", got)
	}
	if b2 := b.begin(t); b2.GetRestored() {
		t.Error("compared, and it still waits")
	}
}

// A promise for which there is no bed any more is lost, and not made by taking somebody else's.
func TestPromiseWithoutABedIsLost(t *testing.T) {
	dir := t.TempDir()
	options := kitstore.Options{Path: filepath.Join(dir, "shelter.db"), Schema: store.Schema}
	keys := t.TempDir()
	b, end := openApp(t, options, keys)
	b.shelter(t, 1)
	local := b.holdFor(t, 0)
	var backup bytes.Buffer
	if err := b.DB.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: local.GetName()}); err != nil {
		t.Fatal(err)
	}
	promised := b.holdFor(t, 1)
	b.confirm(t, promised)
	end()
	if err := kitstore.Restore(t.Context(), &backup, options, true); err != nil {
		t.Fatal(err)
	}
	b, end = openApp(t, options, keys)
	defer end()
	begun := b.begin(t)
	unknownGroup := live(2, shelterv1.LiveOffer_STAGE_PROMISED, promised)
	unknownGroup.Hold, unknownGroup.Parts[0].Group = promised.GetName()[:len(promised.GetName())-1]+"0", shelterName+"/groups/none"
	lost := b.compare(t, begun.GetFence(), "", "", live(1, shelterv1.LiveOffer_STAGE_PROMISED, promised), unknownGroup)
	if !slices.Equal(lost, []string{offerName(1), offerName(2)}) || b.stateOf(t, local.GetName()) != shelterv1.Hold_STATE_HELD {
		t.Errorf("lost %v, the local hold is %v", lost, b.stateOf(t, local.GetName()))
	}
}

// No hold is ever removed: a list that names one which the store does not have shows that the store is an older copy, though nobody has said so. Who has
// come and who is promised a place have their beds again.
func TestAHoldThatIsUnknownWasLost(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 3)
	known := b.holdFor(t, 9)
	hold := func(n int) *shelterv1.Hold {
		return &shelterv1.Hold{Name: fmt.Sprintf("%s%d", known.GetName()[:len(known.GetName())-1], n)}
	}
	come, promised := hold(1), hold(2)
	if come.GetName() == known.GetName() || promised.GetName() == known.GetName() {
		come, promised = hold(3), hold(4)
	}
	for range 2 {
		lost := b.compare(t, b.begin(t).GetFence(), "", "", live(1, shelterv1.LiveOffer_STAGE_ARRIVED, come), live(2, shelterv1.LiveOffer_STAGE_PROMISED, promised))
		if got := b.free(t); len(lost) > 0 || got != "1 1 1" { // what was held for nobody is given back
			t.Errorf("lost %v; held, occupied and free are %s", lost, got)
		}
	}
}

// A tentative hold that the store has lost with a restore, said or unsaid, may have been given to others since: it is said to be lost, and no bed is taken
// for it. One that is still asked for is not held yet, and not lost.
func TestATentativeHoldThatIsUnknownIsLost(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 3)
	known := b.holdFor(t, 9)
	gone := &shelterv1.Hold{Name: known.GetName()[:len(known.GetName())-4] + "none"}
	for range 2 {
		lost := b.compare(t, b.begin(t).GetFence(), "", "", live(1, shelterv1.LiveOffer_STAGE_TENTATIVE, gone), live(2, shelterv1.LiveOffer_STAGE_TENTATIVE, nil))
		if got := b.free(t); !slices.Equal(lost, []string{offerName(1)}) || got != "0 0 3" {
			t.Errorf("lost %v; held, occupied and free are %s", lost, got)
		}
	}
}

// Lists that contradict themselves are refused, with the field, and nothing is changed.
func TestListsThatAreRefused(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 2)
	orphan := b.holdFor(t, 1)
	begun := b.begin(t)
	one := live(2, shelterv1.LiveOffer_STAGE_TENTATIVE, nil)
	for field, r := range map[string]*shelterv1.ReconcileOffersRequest{
		"until":  {After: offerName(2), Until: offerName(1)},
		"offers": {After: offerName(2), Offers: []*shelterv1.LiveOffer{one}},
	} {
		r.Parent, r.Fence = "nodes/punjab", begun.GetFence()
		if _, err := b.ReconcileOffers(t.Context(), r); fault.ReasonOf(err) != fault.Field || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	twice := &shelterv1.ReconcileOffersRequest{Parent: "nodes/punjab", Fence: begun.GetFence(), Offers: []*shelterv1.LiveOffer{one, one}}
	if _, err := b.ReconcileOffers(t.Context(), twice); fault.ReasonOf(err) != fault.Field {
		t.Errorf("an offer twice: %v", err)
	}
	if got := b.stateOf(t, orphan.GetName()); got != shelterv1.Hold_STATE_HELD {
		t.Errorf("a refused list has changed a hold to %v", got)
	}
}
