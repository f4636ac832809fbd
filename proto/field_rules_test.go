package proto_test

import (
	"regexp"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func fieldRules() []rule {
	return []rule{
		{
			name:  "every field of a resource or request says its behaviour",
			check: checkBehaviour,
			except: map[name]string{
				"amanat.events.v1.ListEventsRequest.after":     "no route, so no OpenAPI that would show it; 0 is a position",
				"amanat.events.v1.ListEventsRequest.page_size": "no route, so no OpenAPI that would show it",
			},
		},
		{
			name:  "every string, bytes and repeated field that a caller or another node fills has a bound",
			check: checkBounds,
		},
		{
			name:  "every enum that a caller fills takes known values alone",
			check: checkEnums,
		},
		{
			name:  "a required message is checked for presence",
			check: checkRequired,
			except: map[name]string{
				"amanat.protection.v1.UpdateUnitRequest.unit":     "a part of a unit, likewise",
				"amanat.protection.v1.UpdateWorkerRequest.worker": "a part of a worker, likewise",
				"amanat.shelter.v1.UpdateShelterRequest.shelter":  "a part of a shelter: the use case judges the whole once the part is in it",
				"amanat.shelter.v1.UpdateGroupRequest.group":      "a part of a group, likewise",
			},
		},
		{
			name:  "times are Timestamps named *_time or answer_by",
			check: checkTimes,
			except: map[name]string{
				"amanat.custody.v1.Event.time":          "the moment of the record itself, as CloudEvents names it",
				"amanat.custody.v1.Reply.time":          "the moment of the record itself",
				"amanat.events.v1.Event.time":           "the name CloudEvents gives it",
				"amanat.federal.v1.FlowFact.time":       "the moment of the fact itself",
				"amanat.post.v1.QuarantinedLetter.time": "the moment of the record itself",
				"amanat.post.v1.Receipt.time":           "the moment of the record itself",
				"amanat.post.v1.Refusal.time":           "the moment of the record itself",
				"amanat.privacy.v1.AuditRow.time":       "the moment of the record itself",
			},
		},
	}
}

func rulesOf(field protoreflect.FieldDescriptor) *validate.FieldRules {
	if field == nil {
		return nil
	}
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	return rules
}

func behaves(field protoreflect.FieldDescriptor, behaviour annotations.FieldBehavior) bool {
	all, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(all, behaviour)
}

// ignoredOnInput says that a service never takes the field from a caller: it sets it itself.
func ignoredOnInput(field protoreflect.FieldDescriptor) bool {
	return behaves(field, annotations.FieldBehavior_OUTPUT_ONLY)
}

// inputs answers what comes from outside a service: requests, and what letters of other nodes carry,
// which are the messages named so and those of the table.
func inputs(files files) []protoreflect.MessageDescriptor {
	letters := []name{
		"amanat.custody.v1.HeadQuery", "amanat.federal.v1.FlowFact", "amanat.federal.v1.Facts", "amanat.federal.v1.FlowDays", "amanat.federal.v1.FlowsWanted",
		"amanat.federal.v1.ShelterDay", "amanat.federal.v1.LinkStates", "amanat.federal.v1.LateCounts", "amanat.post.v1.Mail", "amanat.post.v1.Letters", "amanat.post.v1.CarriedRecord",
		"amanat.post.v1.AttachmentChunk", "amanat.post.v1.AttachmentAgain",
		"amanat.protection.v1.Dossier", "amanat.shelter.v1.Advert", "amanat.shelter.v1.SignedAdvert",
	}
	all := slices.DeleteFunc(messagesOf(files), func(m protoreflect.MessageDescriptor) bool {
		named := strings.HasSuffix(string(m.Name()), "Letter") && m.ParentFile().Package() != "amanat.post.v1"
		return !named && !slices.Contains(letters, m.FullName())
	})
	for _, method := range methodsOf(files) {
		all = append(all, method.Input())
	}
	return all
}

// eachInput visits every field that can be filled from outside, each once.
func eachInput(files files, visit func(protoreflect.FieldDescriptor)) {
	seen := map[name]bool{}
	for _, m := range inputs(files) {
		walk(m, seen, func(field protoreflect.FieldDescriptor) bool {
			if ignoredOnInput(field) {
				return false
			}
			visit(field)
			return true
		})
	}
}

func checkBehaviour(files files, report report) {
	for _, m := range messagesOf(files) {
		id := m.Fields().ByName("name")
		resource := id != nil && behaves(id, annotations.FieldBehavior_IDENTIFIER)
		request := slices.ContainsFunc(methodsOf(files), func(method protoreflect.MethodDescriptor) bool {
			return method.Input() == m
		})
		if !resource && !request {
			continue
		}
		for _, field := range fieldsOf(m) {
			all, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
			// One of several cannot be called required or optional; the oneof itself is ruled.
			if len(all) == 0 && field.ContainingOneof() == nil {
				report(field.FullName(), "has no (google.api.field_behavior)")
			}
		}
	}
}

func checkBounds(files files, report report) {
	eachInput(files, func(field protoreflect.FieldDescriptor) {
		rules := rulesOf(field)
		if field.IsMap() {
			if !rules.GetMap().HasMaxPairs() {
				report(field.FullName(), "has no max_pairs")
			}
			return
		}
		if field.IsList() {
			if !rules.GetRepeated().HasMaxItems() {
				report(field.FullName(), "has no max_items")
			}
			rules = rules.GetRepeated().GetItems()
		}
		switch field.Kind() {
		case protoreflect.StringKind:
			if !boundedString(rules.GetString()) {
				report(field.FullName(), "has no max_len, len, uuid or bounded pattern")
			}
		case protoreflect.BytesKind:
			if !rules.GetBytes().HasMaxLen() && !rules.GetBytes().HasLen() {
				report(field.FullName(), "has no max_len or len")
			}
		}
	})
}

// unbounded finds what makes a pattern match text of any length.
var unbounded = regexp.MustCompile(`[^\\][*+]|\{\d+,\}`)

func boundedString(rules *validate.StringRules) bool {
	if rules.HasMaxLen() || rules.HasLen() || rules.GetUuid() {
		return true
	}
	pattern := rules.GetPattern()
	return strings.HasPrefix(pattern, "^") && strings.HasSuffix(pattern, "$") && !unbounded.MatchString(pattern)
}

func checkEnums(files files, report report) {
	eachInput(files, func(field protoreflect.FieldDescriptor) {
		if field.Kind() != protoreflect.EnumKind || field.IsList() {
			return
		}
		if !rulesOf(field).GetEnum().GetDefinedOnly() {
			report(field.FullName(), "does not say enum.defined_only")
		}
		if behaves(field, annotations.FieldBehavior_REQUIRED) && !slices.Contains(rulesOf(field).GetEnum().GetNotIn(), 0) {
			report(field.FullName(), "is REQUIRED and takes UNSPECIFIED: say not_in: [0]")
		}
	})
}

func checkRequired(files files, report report) {
	for _, method := range methodsOf(files) {
		for _, field := range fieldsOf(method.Input()) {
			if field.Message() != nil && !field.IsList() && behaves(field, annotations.FieldBehavior_REQUIRED) && !rulesOf(field).GetRequired() {
				report(field.FullName(), "is REQUIRED and may be absent: say (buf.validate.field).required")
			}
		}
	}
}

func checkTimes(files files, report report) {
	for _, m := range messagesOf(files) {
		for _, field := range fieldsOf(m) {
			isTime := field.Message() != nil && field.Message().FullName() == "google.protobuf.Timestamp"
			named := strings.HasSuffix(string(field.Name()), "_time") || field.Name() == "answer_by"
			switch {
			case isTime && !named:
				report(field.FullName(), "is a Timestamp and not named *_time")
			case named && !isTime:
				report(field.FullName(), "is named as a time and is no Timestamp")
			}
		}
	}
}
