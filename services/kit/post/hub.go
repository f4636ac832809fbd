package post

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/hub"
)

const (
	streamName = "POST"

	// DefaultHubBytes bounds the stream on disk.
	DefaultHubBytes = 8 << 30
	// A sender's mail on one lane of one mailbox: 64 parcels of at most 512 KiB and their
	// repetitions. A full subject refuses its sender alone.
	maxPerSubject = 256
	maxMessage    = 1 << 20
	redeliver     = 30 * time.Second
	// What a service read and died before it told comes again after redeliver. Until then it is given more, up to so much: far more
	// than it reads ahead in some lives.
	maxUntold = 4096
)

func durableName(node, service string, lane postv1.Lane) string {
	return node + "_" + service + "_" + laneNames[lane]
}

// mailbox is what a service's mail on a lane is addressed to, whoever sends it.
func mailbox(node, service string, lane postv1.Lane) string {
	return fmt.Sprintf("%s.%s.%s.%s.>", subjectRoot, node, service, laneNames[lane])
}

// mailboxes are those of every node the roster names, also of those that are not active now. The stream takes nothing else: mail that
// nobody reads would lie there for ever, and one sender could fill it for all.
func mailboxes(nodes []*identityv1.RosterNode) (subjects []string) {
	for _, node := range nodes {
		for _, service := range node.GetServices() {
			for _, lane := range lanes {
				subjects = append(subjects, mailbox(node.GetNode(), service.GetService(), lane))
			}
		}
	}
	return subjects
}

// ProvisionHub makes the stream with a mailbox for each lane of each service of the nodes, and a durable consumer for each that
// is active, or brings them up to date. The node that runs the hub calls it at start and after
// each new version of the roster, as a user that may administer the stream. maxBytes bounds the
// stream on disk; 0 is DefaultHubBytes.
func ProvisionHub(ctx context.Context, js jetstream.JetStream, nodes []*identityv1.RosterNode, maxBytes int64) error {
	if maxBytes == 0 {
		maxBytes = DefaultHubBytes
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:                 streamName,
		Description:          "Sealed parcels and signed receipts between services",
		Subjects:             mailboxes(nodes),
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    maxPerSubject,
		MaxBytes:             maxBytes,
		MaxMsgSize:           maxMessage,
	})
	if err != nil {
		return fmt.Errorf("make the hub's stream %s: %w", streamName, err)
	}
	for _, user := range hub.Users(nodes) {
		for _, lane := range lanes {
			name := durableName(user.Node, user.Service, lane)
			_, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
				Durable:       name,
				FilterSubject: mailbox(user.Node, user.Service, lane),
				AckPolicy:     jetstream.AckExplicitPolicy,
				AckWait:       redeliver,
				MaxDeliver:    -1,
				MaxAckPending: maxUntold,
			})
			if err != nil {
				return fmt.Errorf("make the mailbox %s: %w", name, err)
			}
		}
	}
	return nil
}

// Permissions are a hub.Grant: a service may publish as itself alone, and read its own mailbox alone.
func Permissions(node, service string) []string {
	publish := []string{fmt.Sprintf("%s.*.*.*.%s.%s", subjectRoot, node, service)}
	for _, lane := range lanes {
		publish = append(publish, hub.Reading(streamName, durableName(node, service, lane))...)
	}
	return publish
}
