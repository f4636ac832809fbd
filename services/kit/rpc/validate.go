package rpc

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"amanat.example/services/kit/fault"
)

// maxViolations is how many of a request's faults are reported at once.
const maxViolations = 50

// rules judges requests by what their protos state.
type rules struct {
	validator protovalidate.Validator
	// texts of the CEL rules that state one. What such a rule computes instead can repeat the
	// value, so only these are passed on.
	texts map[string]bool
	// timed are the messages in which a time can stand.
	timed map[protoreflect.FullName]bool
}

// newRules compiles the rules of all request types, so that a rule that cannot be compiled is
// found at start and not at the first call.
func newRules(methods []*method) (*rules, error) {
	var inputs []protoreflect.MessageDescriptor
	for _, m := range methods {
		inputs = append(inputs, m.descriptor.Input())
	}
	return rulesOf(inputs)
}

func rulesOf(messages []protoreflect.MessageDescriptor) (*rules, error) {
	r := &rules{texts: make(map[string]bool)}
	seen := make(map[protoreflect.FullName]protoreflect.MessageDescriptor)
	for _, m := range messages {
		r.collect(m, seen)
	}
	r.findTimed(seen)
	var err error
	if r.validator, err = protovalidate.New(protovalidate.WithMessageDescriptors(slices.Collect(maps.Values(seen))...)); err != nil {
		return nil, fmt.Errorf("rpc: rules of requests: %w", err)
	}
	// What does not compile is reported only when a message of the type is judged: so one of each.
	for _, message := range seen {
		err := r.validator.Validate(dynamicpb.NewMessage(message))
		if broken, ok := errors.AsType[*protovalidate.CompilationError](err); ok {
			return nil, fmt.Errorf("rpc: the rules of %s do not compile: %w", message.FullName(), broken)
		}
	}
	return r, nil
}

// collect finds the stated texts of a message and of all that lies within it.
func (r *rules) collect(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]protoreflect.MessageDescriptor) {
	if seen[message.FullName()] != nil {
		return
	}
	seen[message.FullName()] = message
	if stated, err := protovalidate.ResolveMessageRules(message); err == nil && stated != nil {
		r.collectTexts(stated.ProtoReflect())
	}
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if stated, err := protovalidate.ResolveFieldRules(field); err == nil && stated != nil {
			r.collectTexts(stated.ProtoReflect())
		}
		if field.Message() != nil {
			r.collect(field.Message(), seen)
		}
	}
}

func (r *rules) collectTexts(stated protoreflect.Message) {
	if rule, ok := stated.Interface().(*validate.Rule); ok && rule.GetMessage() != "" {
		r.texts[rule.GetMessage()] = true
		return
	}
	stated.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range value.List().Len() {
				r.collectTexts(value.List().Get(i).Message())
			}
		default:
			r.collectTexts(value.Message())
		}
		return true
	})
}

// check applies the rules to one request.
func (r *rules) check(request proto.Message) error {
	err := r.validator.Validate(request)
	if err == nil {
		if wrong := r.times("", request.ProtoReflect()); len(wrong) > 0 {
			return fault.InvalidFields(wrong...)
		}
		return nil
	}
	found, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("apply the rules of %s: %w", request.ProtoReflect().Descriptor().FullName(), err)
	}
	violations := make([]fault.Violation, 0, min(len(found.Violations), maxViolations))
	for _, v := range found.Violations[:min(len(found.Violations), maxViolations)] {
		violations = append(violations, fault.Violation{Field: fieldPath(v.Proto.GetField()), Sentence: r.sentence(v.Proto)})
	}
	return fault.InvalidFields(violations...)
}

// fieldPath names a field from the request's root. Keys of maps are data, so they are left out.
func fieldPath(path *validate.FieldPath) string {
	var b strings.Builder
	for i, element := range path.GetElements() {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(element.GetFieldName())
		if subscript, ok := element.GetSubscript().(*validate.FieldPathElement_Index); ok {
			b.WriteString("[" + strconv.FormatUint(subscript.Index, 10) + "]")
		}
	}
	if b.Len() == 0 {
		return "(request)"
	}
	return b.String()
}

// sentence is the rule's own text where that is certain not to repeat the value, or one of ours
// where a person would not know from it what to write.
func (r *rules) sentence(v *validate.Violation) string {
	custom := slices.ContainsFunc(v.GetRule().GetElements(), func(e *validate.FieldPathElement) bool {
		return strings.HasPrefix(e.GetFieldName(), "cel")
	})
	if v.GetMessage() == "" || custom && !r.texts[v.GetMessage()] {
		return "breaks the rule " + v.GetRuleId()
	}
	if custom {
		return strings.TrimSuffix(v.GetMessage(), ".")
	}
	switch v.GetRuleId() {
	case "required", "enum.not_in": // The only value our contracts exclude is the one never written.
		return "must be given"
	case "enum.defined_only":
		return "must be one of the values that the contract defines"
	case "string.pattern":
		return patternSentence(v.GetMessage())
	}
	return strings.TrimSuffix(v.GetMessage(), ".")
}

var (
	// class is a set of characters in a pattern, with how often it may stand.
	class = regexp.MustCompile(`\[[^\]]*\](\{[0-9,]*\}|[*+?])?`)
	stars = regexp.MustCompile(`\*+`)
)

// patternSentence says of a pattern for names how the names look, such as nodes/*/cases/*; other
// patterns are shown as they are. stated is protovalidate's sentence, which quotes the pattern.
func patternSentence(stated string) string {
	_, pattern, _ := strings.Cut(stated, "`")
	pattern, _, quoted := strings.Cut(pattern, "`")
	if !quoted {
		return strings.TrimSuffix(stated, ".")
	}
	whole := strings.TrimSuffix(strings.TrimPrefix(pattern, "^"), "$")
	bare, optional := strings.CutSuffix(strings.TrimPrefix(whole, "("), ")?")
	form := stars.ReplaceAllString(class.ReplaceAllString(bare, "*"), "*")
	sentence := "must match the pattern " + pattern
	if strings.HasPrefix(form, "nodes/") {
		sentence = "must be a name of the form " + form
		if optional {
			sentence += ", or be left out"
		}
	}
	return sentence
}
