package app

import (
	"bytes"
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// CreateCase takes a person in. The same key with the same body answers with the case it made, for
// ever, in whatever state that is by now.
func (a *App) CreateCase(ctx context.Context, request *protectionv1.CreateCaseRequest) (created *protectionv1.Case, err error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	// An intake that was right once is right for ever, so that it may be judged before it is known
	// again; of one that is refused no key is left.
	if err := rules.CheckIntake(request.GetCase(), a.Now()); err != nil {
		return nil, err
	}
	if err := a.haveUnit(ctx, "case.unit", request.GetCase().GetUnit()); err != nil {
		return nil, err
	}
	digest, err := a.digest("create-case", request)
	if err != nil {
		return nil, err
	}
	name, err := a.newName("cases")
	if err != nil {
		return nil, err
	}
	flow, err := a.digest("flow", request) // the same call after a restore is the same flow, which is counted once
	if err != nil {
		return nil, err
	}
	if err := a.Keys.Prepare(ctx, store.KeyName(name)); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		if created, err = a.created(tx, request.GetRequestId(), digest); created != nil || err != nil {
			return err
		}
		err := store.Requests.Insert(tx, kitstore.K(request.GetRequestId()), &protectionv1.CaseRequest{Digest: digest, Case: name})
		if err != nil {
			return err
		}
		created, err = a.takeIn(tx, request.GetCase(), name, flow[:16])
		return err
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// created is the case that this key made before; nil when it is new.
func (a *App) created(tx *kitstore.Tx, id string, digest []byte) (*protectionv1.Case, error) {
	made, err := store.Requests.Get(tx, kitstore.K(id))
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(made.GetDigest(), digest) {
		return nil, fault.New(fault.IdempotencyMismatch, "This request_id made another case. Use a new one for a new case.", "case", made.GetCase())
	}
	row, err := a.getCase(tx, made.GetCase())
	if err != nil {
		return nil, err
	}
	return show(row), nil
}

func (a *App) takeIn(tx *kitstore.Tx, asked *protectionv1.Case, name string, flowID []byte) (*protectionv1.Case, error) {
	now := a.Now()
	c, err := a.newCase(tx, name, protectionv1.Case_SOURCE_INTAKE, now)
	if err != nil {
		return nil, err
	}
	c.Unit, c.Person, c.Urgency, c.Exploitation = asked.GetUnit(), asked.GetPerson(), asked.GetUrgency(), asked.GetExploitation()
	c.FoundDistrict, c.Narrative = asked.GetFoundDistrict(), asked.GetNarrative()
	err = a.Flows().Tell(tx, &federalv1.Fact{FlowId: flowID, Kind: facts.Identified, FromNode: a.Node, EventTime: timestamppb.New(now)})
	if err != nil {
		return nil, err
	}
	return a.putCase(tx, &protectionv1.CaseRecord{Case: c, FlowId: flowID}, "created", now)
}

// newCase begins a case: all that this service gives it.
func (a *App) newCase(tx *kitstore.Tx, name string, source protectionv1.Case_Source, now time.Time) (*protectionv1.Case, error) {
	number, err := a.nextReference(tx, now)
	if err != nil {
		return nil, err
	}
	return &protectionv1.Case{
		Name: name, Reference: number, State: protectionv1.Case_STATE_ACTIVE, Source: source,
		CreateTime: timestamppb.New(now), UpdateTime: timestamppb.New(now),
	}, nil
}
