package events

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	eventsv1 "amanat.example/proto/amanat/events/v1"
)

// ContentType of what is published (CloudEvents 1.0, structured mode).
const ContentType = "application/cloudevents+json"

// cloudEvent has the attributes of CloudEvents 1.0 (section "Context Attributes").
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            string          `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

// marshal writes an event of a node's service as it is published.
func marshal(node, service string, event *eventsv1.Event) ([]byte, error) {
	data, err := event.GetData().UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("data of event %s: %w", event.GetId(), err)
	}
	content, err := protojson.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("data of event %s: %w", event.GetId(), err)
	}
	return json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: event.GetId(), Source: "/nodes/" + node + "/services/" + service,
		Type: event.GetType(), Subject: event.GetSubject(), Time: event.GetTime().AsTime().Format(time.RFC3339Nano),
		DataContentType: "application/json", Data: content,
	})
}

// subjectOf is where an event is published: `amanat.<node>.<type>`, the type beginning with its
// service.
func subjectOf(node, typ string) string { return "amanat." + node + "." + typ }

// subjectsOf are all subjects of a service.
func subjectsOf(node, service string) string { return "amanat." + node + "." + service + ".>" }
