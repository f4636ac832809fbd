package rpc

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	"amanat.example/services/kit/privacy"
)

// Reading is one reply with marked fields that is about to leave: who gets to read what.
type Reading struct {
	// Method is the call's full name.
	Method string
	// Caller is the service that asked.
	Caller string
	// Person acts through it; nil when the caller acts for itself.
	Person *identityv1.PersonToken
	// RequestID ties the reading to the logs.
	RequestID string
	// Resources are the names the reply is about: from the `name` fields of the reply and of
	// its rows, and from the request's `name` or `parent` when the reply has none.
	Resources []string
}

// AuditFunc records a reading durably. The reply is sent only after it has returned nil.
type AuditFunc func(ctx context.Context, reading Reading) error

// auditReply records a reply that carries marked fields; one whose type could, and does not, tells nothing of anybody.
func (s *Server) auditReply(ctx context.Context, m *method, request, reply proto.Message) error {
	if !privacy.Carries(reply) {
		return nil
	}
	c := callOf(ctx)
	reading := Reading{Method: m.name, Caller: c.caller, Person: c.person, RequestID: c.requestID}
	reading.Resources = names(reply)
	if len(reading.Resources) == 0 && request != nil {
		reading.Resources = append(textField(request.ProtoReflect(), "name"), textField(request.ProtoReflect(), "parent")...)
	}
	if err := s.audit(ctx, reading); err != nil {
		return fmt.Errorf("the audit row of %s could not be written: %w", m.name, err)
	}
	return nil
}

// names are the resource names of a reply and of the messages it lists.
func names(reply proto.Message) []string {
	message := reply.ProtoReflect()
	found := textField(message, "name")
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range value.List().Len() {
				found = append(found, textField(value.List().Get(i).Message(), "name")...)
			}
		default:
			found = append(found, textField(value.Message(), "name")...)
		}
		return true
	})
	return found
}

func textField(message protoreflect.Message, name protoreflect.Name) []string {
	field := message.Descriptor().Fields().ByName(name)
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() || privacy.Kind(field) != privacyv1.PersonalData_PERSONAL_DATA_UNSPECIFIED {
		return nil
	}
	if value := message.Get(field).String(); value != "" {
		return []string{value}
	}
	return nil
}
