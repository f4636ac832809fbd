package post

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	// A sender's mail on one lane of one mailbox: as many parcels as may be under way, the receipts for what comes the other way, and
	// repetitions, 33 MiB in all. A full subject refuses its sender alone, which tries again. So what one member can leave at the hub, in all
	// mailboxes whose services are away, stays far below DefaultHubBytes.
	maxPerSubject = 64
	maxMessage    = MaxParcel + 16<<10 // and its header, seal and signature; a receipt with all the refusals it may hold is smaller
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

// mailboxes are those of the active nodes. The stream takes nothing else: mail that nobody reads would lie there for ever, and one sender could fill
// it for all. What is written to others waits with its sender.
func mailboxes(nodes []*identityv1.RosterNode) (subjects []string) {
	for _, user := range hub.Users(nodes) {
		for _, lane := range lanes {
			subjects = append(subjects, mailbox(user.Node, user.Service, lane))
		}
	}
	return subjects
}

// ProvisionHub makes the stream with a mailbox and a durable consumer for each lane of each service of the nodes that are active, or brings them up
// to date. The nodes are to name no service that reads no letters. The node that runs the hub calls it at start and after
// each new version of the roster, as a user that may administer the stream, before it lets in who is new. maxBytes bounds the
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
	made := map[string]bool{}
	for _, user := range hub.Users(nodes) {
		for _, lane := range lanes {
			name := durableName(user.Node, user.Service, lane)
			made[name] = true
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
	var gone []string
	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		if !made[name] {
			gone = append(gone, name)
		}
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("list the mailboxes: %w", err)
	}
	for _, name := range gone {
		if err := stream.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("remove the mailbox %s: %w", name, err)
		}
	}
	return nil
}

// ClearHub throws away what lies at the hub for or from services that are not active now, which nobody will read or believe. No letter is lost with
// it: its sender keeps it until it has a receipt, and sends it again when both are there. It is called after ProvisionHub, once the hub has shut
// out who is not active.
func ClearHub(ctx context.Context, js jetstream.JetStream, nodes []*identityv1.RosterNode) error {
	active := map[end]bool{}
	for _, user := range hub.Users(nodes) {
		active[end{node: user.Node, service: user.Service}] = true
	}
	stream, err := js.Stream(ctx, streamName)
	if err != nil {
		return fmt.Errorf("look at the hub's stream %s: %w", streamName, err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subjectRoot+".>"))
	if err != nil {
		return fmt.Errorf("look at what lies in %s: %w", streamName, err)
	}
	for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
		to, _, from, ok := parseSubject(subject)
		if ok && active[endOf(to, 0)] && active[endOf(from, 0)] {
			continue
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("throw away what lies under %s: %w", subject, err)
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
