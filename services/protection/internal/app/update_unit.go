package app

import (
	"context"
	"errors"
	"regexp"
	"strconv"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fieldmask"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

var (
	unitPattern   = regexp.MustCompile(`^nodes/[a-z][a-z0-9-]{1,30}/units/[a-z][a-z0-9-]{1,60}$`)
	workerPattern = regexp.MustCompile(`^nodes/[a-z][a-z0-9-]{1,30}/workers/[a-z][a-z0-9-]{1,60}$`)
)

// named refuses an update that does not say of what. given is whether the resource is there at all.
func (a *App) named(field string, given bool, name string, pattern *regexp.Regexp, form string) error {
	switch {
	case !given:
		return fault.InvalidField(field, "must be given")
	case !pattern.MatchString(name):
		return fault.InvalidField(field+".name", "must look like "+form)
	}
	return a.checkNode(field+".name", name)
}

// compare refuses a change of what changed since. An empty etag is not compared.
func compare(given string, version uint64) error {
	if given != "" && given != strconv.FormatUint(version, 10) {
		return fault.StaleEtag()
	}
	return nil
}

// UpdateUnit changes what a unit is called, who supervises it and who is on duty when.
func (a *App) UpdateUnit(ctx context.Context, request *protectionv1.UpdateUnitRequest) (changed *protectionv1.Unit, err error) {
	name := request.GetUnit().GetName()
	if err := a.named("unit", request.GetUnit() != nil, name, unitPattern, "nodes/*/units/*"); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		row, err := store.Units.Row(tx, kitstore.K(name))
		if errors.Is(err, kitstore.ErrNotFound) {
			return fault.NotFound("unit")
		}
		if err != nil {
			return err
		}
		if err := compare(request.GetEtag(), row.Version); err != nil {
			return err
		}
		u := row.Value
		if err := fieldmask.Merge(u, request.GetUnit(), request.GetUpdateMask()); err != nil {
			return err
		}
		if err := a.Rules.Check("unit", u); err != nil {
			return err
		}
		if err := codes.CheckField("unit.district", codes.District, u.GetDistrict()); err != nil {
			return err
		}
		people := a.people(tx)
		if err := errors.Join(rules.CheckUnit(u, people.worker), people.err); err != nil {
			return err
		}
		if err := store.Units.Put(tx, row.Key, u); err != nil {
			return err
		}
		changed, err = getUnit(tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// people finds workers within a transaction. One whose data was erased is not there any more. What could
// not be read is in err, to be looked at when the finding is over.
type people struct {
	a   *App
	r   kitstore.Reader
	err error
}

func (a *App) people(r kitstore.Reader) *people { return &people{a: a, r: r} }

func (p *people) worker(name string) *protectionv1.Worker {
	if name == "" {
		return nil
	}
	row, err := store.Workers.Row(p.r, p.a.Keys, kitstore.K(name))
	if errors.Is(err, privacy.ErrUnreadable) { // the key file is an older one: the worker is there all the same
		row.Value, err = store.Workers.GetPublic(p.r, kitstore.K(name))
	}
	switch {
	case errors.Is(err, kitstore.ErrNotFound) || err == nil && row.Erased:
		return nil
	case err != nil:
		p.err = errors.Join(p.err, err)
		return nil
	}
	return row.Value
}
