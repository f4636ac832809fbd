package rpc

import (
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"amanat.example/services/kit/fault"
)

// ResourceRules judge a resource as it would be stored. The request that updates one carries a part
// of it, so the request's own rules cannot say whether the whole is right.
type ResourceRules struct{ rules *rules }

// NewResourceRules compiles the rules of the resources' protos; an error is a fault of the protos.
func NewResourceRules(resources ...proto.Message) (*ResourceRules, error) {
	var messages []protoreflect.MessageDescriptor
	for _, m := range resources {
		messages = append(messages, m.ProtoReflect().Descriptor())
	}
	r, err := rulesOf(messages)
	if err != nil {
		return nil, err
	}
	return &ResourceRules{rules: r}, nil
}

// Check refuses a resource that breaks a rule of its proto. field is where it stands in the request, such as `shelter`; except are
// its fields that are kept elsewhere.
func (r *ResourceRules) Check(field string, resource proto.Message, except ...string) error {
	err := r.rules.check(resource)
	refused, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	violations := slices.DeleteFunc(slices.Clone(refused.Fields()), func(v fault.Violation) bool {
		return slices.ContainsFunc(except, func(name string) bool {
			return v.Field == name || strings.HasPrefix(v.Field, name+".") || strings.HasPrefix(v.Field, name+"[")
		})
	})
	if len(violations) == 0 {
		return nil
	}
	for i := range violations {
		violations[i].Field = strings.TrimSuffix(field+"."+violations[i].Field, ".(request)")
	}
	return fault.InvalidFields(violations...)
}
