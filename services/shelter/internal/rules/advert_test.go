package rules_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/shelter/internal/rules"
)

// advertised is a shelter in Quetta as Balochistan told of it an hour before its beds are searched.
func advertised() *shelterv1.Advert {
	s := &shelterv1.Shelter{
		Name: "nodes/balochistan/shelters/quetta", DisplayName: "Sweet Home Quetta", District: "PK226", State: shelterv1.Shelter_STATE_ACTIVE, Confidential: true,
		Address: "7 Hidden Lane", Phone: "+92812111111", Organization: "Quiet Trust", SuspensionReason: "REPAIR", Languages: []string{"urd"}, Services: []string{"LEGAL"},
		Wheelchair: true, CourtOrderRequired: true, BoysWithMotherToAge: 8, LargestFamily: 5, MedicalCover: shelterv1.Cover_COVER_BY_DAY,
		PsychosocialCover: shelterv1.Cover_COVER_VISITING, Security: shelterv1.Security_SECURITY_GUARDED, LongestStayDays: 30,
		Schedule:      []*shelterv1.Opening{{Weekday: 7, Opens: "08:00", Closes: "24:00"}},
		FullUntilTime: timestamppb.New(searchTime.Add(-time.Minute)),
		Groups: []*shelterv1.Group{{
			Name: "nodes/balochistan/shelters/quetta/groups/girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED,
			WithMother: true, Needs: []string{"INFANT"}, Total: 9, Overflow: 2, OverflowOpen: 1, Held: 1, Occupied: 2, OutOfService: 3, CapacitySource: "warden",
			VouchTime: timestamppb.New(searchTime.Add(-2 * time.Hour)),
		}},
	}
	return rules.AdvertOf("balochistan", 7, s, searchTime.Add(-time.Hour))
}

// A search reads of an advert what it reads of an own shelter: nothing that it ranks by is lost on the way.
func TestAdvertSaysAllThatASearchNeeds(t *testing.T) {
	c := rules.CandidateOf(advertised(), searchTime.Add(-time.Hour))
	s := c.Shelter
	if c.Node != "balochistan" || len(c.Beds) != 1 || c.Beds[0].Free != 9+1-1-2-3 || !c.Heard.Equal(searchTime.Add(-time.Hour)) {
		t.Errorf("the candidate is %v", c)
	}
	want := &shelterv1.Shelter{
		Name: "nodes/balochistan/shelters/quetta", DisplayName: "Sweet Home Quetta", District: "PK226", State: shelterv1.Shelter_STATE_ACTIVE, Confidential: true,
		Languages: []string{"urd"}, Services: []string{"LEGAL"}, Wheelchair: true, CourtOrderRequired: true, BoysWithMotherToAge: 8, LargestFamily: 5,
		MedicalCover: shelterv1.Cover_COVER_BY_DAY, PsychosocialCover: shelterv1.Cover_COVER_VISITING, Security: shelterv1.Security_SECURITY_GUARDED,
		LongestStayDays: 30, Schedule: []*shelterv1.Opening{{Weekday: 7, Opens: "08:00", Closes: "24:00"}}, FullUntilTime: timestamppb.New(searchTime.Add(-time.Minute)),
	}
	if !proto.Equal(s, want) {
		t.Errorf("the shelter is\n%v\nwant\n%v", s, want)
	}
	group := &shelterv1.Group{
		Name: "nodes/balochistan/shelters/quetta/groups/girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED,
		WithMother: true, Needs: []string{"INFANT"}, VouchTime: timestamppb.New(searchTime.Add(-2 * time.Hour)),
	}
	if !proto.Equal(c.Beds[0].Group, group) {
		t.Errorf("the group is\n%v\nwant\n%v", c.Beds[0].Group, group)
	}
}

// A worker reads in whose care a place is, how old what is known of it is, and when it was not heard of for long, in each language.
func TestAnotherNodesPlaceInEveryLanguage(t *testing.T) {
	places := rules.NewPlaces()
	places.Put(rules.CandidateOf(advertised(), searchTime.Add(-time.Hour)))
	search := func(language string, after time.Duration) *shelterv1.FindPlacesResponse {
		return places.Find(&shelterv1.FindPlacesRequest{
			Parent: "nodes/punjab", LanguageCode: language, People: []*custodyv1.Needs{needs("Feminine", 9)},
		}, searchTime.Add(after))
	}
	for language, want := range map[string]struct{ care, hours, days, unheard string }{
		"en": {
			"In Balochistan's care: refer there; the bed is certain only once it is held.", "What is known of it is 5 hours old.", "What is known of it is 3 days old.",
			"1 shelter has not been heard of for a week",
		},
		"ur": {
			"ذمہ دار: بلوچستان۔ وہیں ریفر کریں؛ بستر تبھی یقینی ہے جب اسے روک لیا جائے۔", "اس کے بارے میں معلومات 5 گھنٹے پرانی ہیں۔", "اس کے بارے میں معلومات 3 دن پرانی ہیں۔",
			"1 پناہ گاہ کی ایک ہفتے سے کوئی خبر نہیں آئی",
		},
		"sd": {
			"ذميوار: بلوچستان. اتي ئي ريفر ڪريو؛ بسترو تڏهن ئي پڪو آهي جڏهن ان کي روڪيو وڃي.", "هن بابت معلومات 5 ڪلاڪ پراڻي آهي.", "هن بابت معلومات 3 ڏينهن پراڻي آهي.",
			"1 پناهگاهه جي هڪ هفتي کان ڪا خبر ناهي آئي",
		},
	} {
		for after, says := range map[time.Duration]string{3 * time.Hour: want.hours, 70 * time.Hour: want.days} {
			var told []string
			for _, reason := range search(language, after).GetPlaces()[0].GetReasons() {
				told = append(told, reason.GetSentence())
			}
			if !slices.Contains(told, want.care) || !slices.Contains(told, says) {
				t.Errorf("%s, %s later: %q", language, after, told)
			}
		}
		lost := search(language, 8*24*time.Hour)
		if len(lost.GetPlaces()) != 0 || len(lost.GetLeftOut()) != 1 || lost.GetLeftOut()[0].GetSentence() != want.unheard {
			t.Errorf("%s, eight days later: %v", language, lost)
		}
	}
}
