package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
)

// ResumePublications ends the standing still after a restore: a person says what was published in the life that is lost. The months of it have no
// further edition. Who said so stands in the audit log. What is lost may also be named later; the same said twice is a no-op.
func (a *App) ResumePublications(ctx context.Context, request *federalv1.ResumePublicationsRequest, person string) (*federalv1.ResumePublicationsResponse, error) {
	var response *federalv1.ResumePublicationsResponse
	err := a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		response = &federalv1.ResumePublicationsResponse{}
		publishing, err := store.ReadPublishing(tx)
		if err != nil {
			return err
		}
		changed := publishing.GetWithheld()
		for i, name := range request.GetLost() {
			if err := mayBeLost(tx, publishing, name); err != nil {
				return fault.InvalidField(fmt.Sprintf("lost[%d]", i), err.Error())
			}
			if !slices.Contains(publishing.GetLost(), name) {
				publishing.Lost, changed = append(publishing.Lost, name), true
			}
		}
		for _, name := range publishing.GetLost() {
			month, _, err := editionOf(name)
			if err != nil {
				return err
			}
			response.ClosedMonths = append(response.ClosedMonths, month)
		}
		slices.Sort(response.ClosedMonths)
		response.ClosedMonths = slices.Compact(response.ClosedMonths)
		if !changed {
			return nil
		}
		publishing.Withheld = false
		if err := store.Publishing.Put(tx, store.PublishingKey, publishing); err != nil {
			return err
		}
		return store.Audit.Append(tx, &privacyv1.AuditRow{
			Time: timestamppb.New(a.Now()), Method: federalv1.PublicationService_ResumePublications_FullMethodName,
			Resource: "publications", Person: person, Purpose: fmt.Sprintf("publishing again, %d lost", len(request.GetLost())), Caller: "gateway",
		})
	})
	return response, err
}

// mayBeLost says why no publication of this name can have been issued in a life that is lost: naming it would close its month for ever.
func mayBeLost(r kitstore.Reader, publishing *federalv1.PublishingRecord, name string) error {
	month, edition, err := editionOf(name)
	if err != nil {
		return err
	}
	if publishing.GetBeginTime() == nil {
		return errors.New("must not be given: this service was never restored, and lists all that it has published")
	}
	at, err := settled(month)
	if err != nil || at.After(publishing.GetBeginTime().AsTime()) {
		return errors.New("must be of a month that was over ten days before this service was restored")
	}
	there, err := store.Publications.Has(r, store.PublicationKey(month, edition))
	if err == nil && there {
		err = errors.New("must be a publication that is not listed here; this one is, so leave it out")
	}
	return err
}
