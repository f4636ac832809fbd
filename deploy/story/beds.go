package story

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// AtTheDoor admits a girl who stands at the door of this run's shelter, and answers with her stay.
func (s *Stage) AtTheDoor(ctx context.Context) (stay string, err error) {
	d := s.desks[s.route.To.Node]
	admitted, err := ask(ctx, d, manager, "", d.shelter.AdmitWalkIn, &shelterv1.AdmitWalkInRequest{
		Group: s.group, Quantity: 1, Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: oldest, AgeTo: oldest}, RequestId: "at-the-door-" + rand.Text(),
	})
	if err != nil {
		return "", fmt.Errorf("admit who is at the door: %w", err)
	}
	return admitted.GetName(), nil
}

// Leave discharges whoever came in by a stay.
func (s *Stage) Leave(ctx context.Context, stay string) error {
	d := s.desks[s.route.To.Node]
	_, err := ask(ctx, d, manager, "", d.shelter.DischargeStay, &shelterv1.DischargeStayRequest{Name: stay, Reason: "REUNIFIED"})
	return err
}

// CountHeads puts down how many girls were counted in this run's shelter, and answers how many more that are than its stays say.
func (s *Stage) CountHeads(ctx context.Context, present int) (more int, err error) {
	d := s.desks[s.route.To.Node]
	shelter, group, _ := strings.Cut(s.group, "/groups/")
	counted, err := ask(ctx, d, manager, "", d.shelter.CreateHeadcount, &shelterv1.CreateHeadcountRequest{
		Parent: shelter, RequestId: "headcount-" + rand.Text(), Headcount: &shelterv1.Headcount{Counts: []*shelterv1.Count{{Group: group, Present: int32(present)}}},
	})
	if err != nil {
		return 0, fmt.Errorf("put a headcount down: %w", err)
	}
	return int(counted.GetCounts()[0].GetDifference()), nil
}
