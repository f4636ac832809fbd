package story

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// beds is a shelter service that learns late of who has come.
type beds struct {
	shelterv1.ShelterServiceClient
	looks      int // until the stay is there
	ended      bool
	discharged []string
}

const late, lateOffer = "nodes/punjab/stays/late", "nodes/punjab/referrals/1/offers/1"

func (b *beds) ListStays(_ context.Context, r *shelterv1.ListStaysRequest, _ ...grpc.CallOption) (*shelterv1.ListStaysResponse, error) {
	page := &shelterv1.ListStaysResponse{Stays: []*shelterv1.Stay{{Name: "nodes/punjab/stays/of-another", Offer: "nodes/punjab/referrals/2/offers/2"}}}
	if b.looks--; b.looks < 0 && !(b.ended && r.GetFilter().GetCurrent()) {
		page.Stays = append(page.Stays, &shelterv1.Stay{Name: late, Offer: lateOffer})
	}
	return page, nil
}

func (b *beds) DischargeStay(_ context.Context, r *shelterv1.DischargeStayRequest, _ ...grpc.CallOption) (*shelterv1.Stay, error) {
	b.discharged = append(b.discharged, r.GetName())
	return &shelterv1.Stay{Name: r.GetName()}, nil
}

// Whoever leaves frees a bed, also when the shelter learns only afterwards that they had come.
func TestDischarge(t *testing.T) {
	gateway := gatewayOf(t, "punjab")
	for name, shelter := range map[string]*beds{"at once": {}, "late": {looks: 5}, "before": {ended: true}} {
		p := &Player{desks: map[string]*desk{"punjab": {node: "punjab", gateway: gateway, shelter: shelter}}}
		err := p.discharge(&hand{ctx: t.Context()}, &member{}, &referralv1.Offer{Name: lateOffer, ToNode: "punjab"}, "REUNIFIED")
		if err != nil || len(shelter.discharged) != 1 || shelter.discharged[0] != late {
			t.Errorf("%s: discharged %v, %v", name, shelter.discharged, err)
		}
	}
}
