package server_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"amanat.example/services/shelter/internal/server"
)

// A case worker looks and keeps the waitlist. Beds are held, promised and filled by those who run shelters: who could promise a bed
// to themselves would be told where a confidential shelter is.
func TestWhatACaseWorkerMayDo(t *testing.T) {
	w := newWorld(t)
	w.create(t, "lahore", 1) // so that the server answers
	may := strings.Fields("GetShelter ListShelters FindPlaces WatchCapacity ListOutages ListHolds GetStay ListStays ListHeadcounts ListWaitlistEntries " +
		"CreateWaitlistEntry ReviewWaitlistEntry CloseWaitlistEntry ListAdverts")
	asked := 0
	for method := range server.Policy() {
		name := method[strings.LastIndex(method, "/")+1:]
		if name == "WatchCapacity" { // a stream; TestWatchCapacity asks for it
			continue
		}
		asked++
		// An empty request is valid nowhere, so that whoever may ask is told so.
		err := w.conn.Invoke(w.token("case-worker"), method, &emptypb.Empty{}, &emptypb.Empty{})
		if want := map[bool]codes.Code{true: codes.InvalidArgument, false: codes.PermissionDenied}[slices.Contains(may, name)]; status.Code(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if asked != 38 {
		t.Errorf("%d calls were asked: is a new one for a case worker?", asked)
	}
}
