package proto_test

import (
	"path"
	"slices"
	"strings"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func privacyRules() []rule {
	return []rule{
		{
			name: "no personal data in the custody chain",
			check: checkLeaks(func(m protoreflect.MessageDescriptor) bool {
				return slices.Contains([]protoreflect.Name{"Event", "Reply"}, m.Name()) && m.ParentFile().Package() == "amanat.custody.v1"
			}),
		},
		{
			name: "no personal data in events and in errors",
			check: checkLeaks(func(m protoreflect.MessageDescriptor) bool {
				return path.Base(m.ParentFile().Path()) == "events.proto" || m.ParentFile().Package() == "amanat.events.v1"
			}),
		},
		{
			name: "no personal data in what is federal",
			check: checkLeaks(func(m protoreflect.MessageDescriptor) bool {
				return m.ParentFile().Package() == "amanat.federal.v1"
			}),
		},
		{
			name: "no personal data outside the seals of the post",
			check: checkLeaks(func(m protoreflect.MessageDescriptor) bool {
				return m.ParentFile().Package() == "amanat.post.v1"
			}),
		},
		{
			name: "no personal data in what is advertised to all nodes",
			check: checkLeaks(func(m protoreflect.MessageDescriptor) bool {
				return strings.Contains(string(m.Name()), "Advert")
			}),
		},
		{
			name: "no personal data in what asks by name, in pages and in filters",
			check: checkLeaks(func(m protoreflect.MessageDescriptor) bool {
				return strings.HasPrefix(string(m.Name()), "Get") || m.Name() == "Filter" || // they stand in addresses, so in logs
					strings.HasPrefix(string(m.Name()), "List") && strings.HasSuffix(string(m.Name()), "Request")
			}),
		},
		{
			name:  "every field that plainly identifies a person is marked",
			check: checkMarks,
			except: map[name]string{
				"amanat.gateway.v1.FieldViolation.description": "a sentence of ours on what a field must be, never what it held",
				"amanat.custody.v1.Needs.age_from":             "a band for finding a place, made to say no more than the offer must",
				"amanat.custody.v1.Needs.age_to":               "as age_from",
				"amanat.custody.v1.Needs.gender":               "an offer shows sex, without which no place can be found",
				"amanat.identity.v1.RosterNode.display_name":   "name of an institution",
				"amanat.protection.v1.Unit.display_name":       "name of an institution",
				"amanat.shelter.v1.Advert.display_name":        "name of an institution",
				"amanat.shelter.v1.AdvertGroup.age_from":       "the ages a group takes",
				"amanat.shelter.v1.AdvertGroup.age_to":         "the ages a group takes",
				"amanat.shelter.v1.Group.age_from":             "the ages a group takes",
				"amanat.shelter.v1.Group.age_to":               "the ages a group takes",
				"amanat.shelter.v1.Place.display_name":         "name of an institution",
				"amanat.shelter.v1.Shelter.display_name":       "name of an institution",
			},
		},
	}
}

func marked(field protoreflect.FieldDescriptor) bool {
	mark, _ := proto.GetExtension(field.Options(), privacyv1.E_Personal).(privacyv1.PersonalData)
	return mark != privacyv1.PersonalData_PERSONAL_DATA_UNSPECIFIED
}

// checkLeaks reports every marked field that can be reached from the messages chosen.
func checkLeaks(chosen func(protoreflect.MessageDescriptor) bool) func(files, report) {
	return func(files files, report report) {
		for _, m := range messagesOf(files) {
			if !chosen(m) {
				continue
			}
			walk(m, map[name]bool{}, func(field protoreflect.FieldDescriptor) bool {
				if marked(field) {
					report(field.FullName(), "is personal data and can be reached from "+string(m.FullName()))
				}
				return true
			})
		}
	}
}

// identifying are words that, as a whole field name or its end, say something of one person.
var identifying = []string{
	"given_name", "father_name", "mother_name", "family_name", "display_name", "full_name", "alias", "given_by",
	"cnic", "b_form", "passport", "phone", "email", "address", "home_place", "meeting_place", "location",
	"birth_date", "age_from", "age_to", "age_as_of", "gender", "health", "disability", "pregnancy",
	"note", "narrative", "feedback", "remarks", "description", "court_order", "photograph", "fingerprint",
	"exploitation", "found_district",
}

func checkMarks(files files, report report) {
	for _, m := range messagesOf(files) {
		for _, field := range fieldsOf(m) {
			identifies := slices.ContainsFunc(identifying, func(word string) bool {
				return string(field.Name()) == word || strings.HasSuffix(string(field.Name()), "_"+word)
			})
			if identifies && !marked(field) {
				report(field.FullName(), "identifies a person and has no (amanat.privacy.v1.personal)")
			}
		}
	}
}
