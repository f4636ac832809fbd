package advert

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/hub"
)

const (
	streamName = "CAPACITY"

	// Service is the one that advertises and reads adverts, at each node.
	Service = "shelter"

	// DefaultHubBytes bounds the stream on disk: some hundred thousand shelters.
	DefaultHubBytes = 1 << 30
	// MaxBytes bounds an advert on its way. One of fifty groups that fills every field has less.
	MaxBytes = 128<<10 + 256

	redeliver = 30 * time.Second
)

func durableName(node string) string { return node + "_" + Service }

// ProvisionHub makes the stream and the durable consumer of each active node's shelter service, or brings them up to
// date. The node that runs the hub calls it at start and after each new version of the roster, as a user that may
// administer the stream. maxBytes bounds the stream on disk; 0 is DefaultHubBytes.
func ProvisionHub(ctx context.Context, js jetstream.JetStream, nodes []*identityv1.RosterNode, maxBytes int64) error {
	if maxBytes == 0 {
		maxBytes = DefaultHubBytes
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              streamName,
		Description:       "The last advert of each shelter",
		Subjects:          []string{subjectRoot + ".>"},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1, // without DiscardNewPerSubject the newer one stays
		MaxBytes:          maxBytes,
		MaxMsgSize:        MaxBytes,
	})
	if err != nil {
		return fmt.Errorf("make the hub's stream %s: %w", streamName, err)
	}
	for _, user := range hub.Users(nodes) {
		if user.Service != Service {
			continue
		}
		_, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable:       durableName(user.Node),
			FilterSubject: subjectRoot + ".*.*",
			DeliverPolicy: jetstream.DeliverAllPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       redeliver,
			MaxDeliver:    -1,
			MaxAckPending: 4 * ahead,
		})
		if err != nil {
			return fmt.Errorf("make the reader of %s: %w", user.Node, err)
		}
	}
	return nil
}

// ClearHub throws away the adverts of nodes that are not active now, of which no reader believes any more. They are made again when
// such a node is back. It is called after ProvisionHub, once the hub has shut out who is not active.
func ClearHub(ctx context.Context, js jetstream.JetStream, nodes []*identityv1.RosterNode) error {
	active := map[string]bool{}
	for _, user := range hub.Users(nodes) {
		active[user.Node] = active[user.Node] || user.Service == Service
	}
	stream, err := js.Stream(ctx, streamName)
	if err != nil {
		return fmt.Errorf("look at the hub's stream %s: %w", streamName, err)
	}
	for _, node := range nodes {
		if active[node.GetNode()] {
			continue
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(fmt.Sprintf("%s.%s.*", subjectRoot, node.GetNode()))); err != nil {
			return fmt.Errorf("throw away the adverts of %s: %w", node.GetNode(), err)
		}
	}
	return nil
}

// Permissions are a hub.Grant: a shelter service may advertise its own node's shelters alone, and read with its own reader
// alone. No other service has a part in it.
func Permissions(node, service string) []string {
	if service != Service {
		return nil
	}
	return slices.Insert(hub.Reading(streamName, durableName(node)), 0, fmt.Sprintf("%s.%s.*", subjectRoot, node))
}
