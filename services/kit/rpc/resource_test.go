package rpc_test

import (
	"errors"
	"testing"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
)

func TestResourceRules(t *testing.T) {
	rules, err := rpc.NewResourceRules(&shelterv1.Shelter{}, &shelterv1.Group{})
	if err != nil {
		t.Fatal(err)
	}
	whole := func() *shelterv1.Shelter {
		return &shelterv1.Shelter{DisplayName: "A shelter", District: "PK617"}
	}
	if err := rules.Check("shelter", whole(), "groups"); err != nil {
		t.Errorf("groups are kept elsewhere: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*shelterv1.Shelter)
		except []string
		field  string
	}{
		"no name": {func(s *shelterv1.Shelter) { s.DisplayName = "" }, []string{"groups"}, "shelter.display_name"},
		"reversed day": {func(s *shelterv1.Shelter) {
			s.Schedule = []*shelterv1.Opening{{Weekday: 1, Opens: "17:00", Closes: "08:00"}}
		}, []string{"groups"}, "shelter.schedule[0]"},
		"groups judged": {func(*shelterv1.Shelter) {}, nil, "shelter.groups"},
		"reversed ages": {func(s *shelterv1.Shelter) {
			s.Groups = []*shelterv1.Group{{Genders: []string{"Feminine"}, AgeFrom: 9, AgeTo: 6, UnitKind: 1}}
		}, nil, "shelter.groups[0]"},
		"only like names": {func(s *shelterv1.Shelter) { s.District = "" }, []string{"dist", "groups"}, "shelter.district"},
	} {
		s := whole()
		c.change(s)
		err := rules.Check("shelter", s, c.except...)
		refused, ok := errors.AsType[*fault.Error](err)
		if !ok || len(refused.Fields()) != 1 || refused.Fields()[0].Field != c.field {
			t.Errorf("%s: %v, want %s", name, err, c.field)
		}
	}
}
