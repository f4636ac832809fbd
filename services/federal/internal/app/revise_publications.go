package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
)

// RevisePublications publishes all months anew, as one set: those that were published in their next edition, those that have settled since, and
// are waited for, in their first. Who asked for it, and why, stands in the audit log.
func (a *App) RevisePublications(ctx context.Context, request *federalv1.RevisePublicationsRequest, person string) (*federalv1.RevisePublicationsResponse, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(body)
	var response *federalv1.RevisePublicationsResponse
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		response = &federalv1.RevisePublicationsResponse{}
		key := kitstore.K(request.GetRequestId())
		before, err := store.Revisions.Get(tx, key)
		switch {
		case err == nil && !bytes.Equal(before.GetDigest(), digest[:]):
			return fault.New(fault.IdempotencyMismatch, "This request_id was used for another revision. Use a new one.")
		case err == nil:
			for _, name := range before.GetNames() {
				p, err := getPublication(tx, name)
				if err != nil {
					return err
				}
				response.Publications = append(response.Publications, listed(p))
			}
			return nil
		case !errors.Is(err, kitstore.ErrNotFound):
			return err
		}
		publishing, err := store.ReadPublishing(tx)
		if err != nil {
			return err
		}
		if publishing.GetWithheld() {
			return fault.New(fault.Recovering, "This service was restored from an older copy, and what was published since is not known here. Compare the publications it lists with "+
				"those that were issued, and say with ResumePublications (POST /v1/publications:resume) which are missing here, or that none is.")
		}
		now, record := a.Now(), &federalv1.RevisionRecord{Digest: digest[:]}
		months, err := editable(tx)
		if err != nil {
			return err
		}
		for _, month := range months {
			p, err := a.revise(tx, month, request.GetReason(), now)
			if err != nil {
				return err
			}
			if p != nil {
				record.Names, response.Publications = append(record.Names, p.GetName()), append(response.Publications, listed(p))
			}
		}
		if err := store.Revisions.Insert(tx, key, record); err != nil {
			return err
		}
		return store.Audit.Append(tx, &privacyv1.AuditRow{
			Time: timestamppb.New(now), Method: federalv1.PublicationService_RevisePublications_FullMethodName,
			Resource: "publications", Person: person, Purpose: "revision " + request.GetReason().String(), Caller: "gateway",
		})
	})
	return response, err
}

// revise publishes one month; nil where it has not settled yet.
func (a *App) revise(tx *kitstore.Tx, month string, reason federalv1.RevisionReason, now time.Time) (*federalv1.Publication, error) {
	at, err := settled(month)
	if err != nil || at.After(now) {
		return nil, err
	}
	leaves, err := a.leaves(tx, month)
	if err != nil {
		return nil, err
	}
	frozen, err := store.Frozen.Get(tx, kitstore.K(month))
	if errors.Is(err, kitstore.ErrNotFound) {
		return a.firstEdition(tx, month, leaves, now)
	}
	if err != nil {
		return nil, err
	}
	rules.Published.NextEdition(frozen, leaves)
	return publish(tx, month, frozen, reason, now)
}
