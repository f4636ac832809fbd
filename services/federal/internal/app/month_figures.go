package app

import (
	"errors"
	"maps"
	"slices"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/codes"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/kit/zone"
)

// monthForm is how a month is written.
const monthForm = "2006-01"

// figuredMonths are those of which something is counted that is published, in order.
func figuredMonths(r kitstore.Reader) ([]string, error) {
	months := map[string]bool{}
	for _, figure := range rules.PublishedFigures {
		for span := (kitstore.Range{Prefix: kitstore.K(figure)}); ; {
			rows, _, err := store.Counts.Page(r, span, 1)
			if err != nil {
				return nil, err
			}
			if len(rows) == 0 {
				break
			}
			month := rows[0].Value.GetMonth()
			months[month] = true
			span.After = kitstore.K(figure, month+"\x00") // behind all that begins with the month
		}
	}
	return slices.Sorted(maps.Keys(months)), nil
}

// firstMonth is the first that there can be figures of. What a clock that stood at its beginning dated before it is not published.
const firstMonth = "2020-01"

var errMonth = errors.New("no month of ours")

// settled is when a month has ended so long ago that it may be published.
func settled(month string) (time.Time, error) {
	begin, err := time.ParseInLocation(monthForm, month, zone.Karachi)
	if month < firstMonth {
		err = errMonth
	}
	return begin.AddDate(0, 1, 0).Add(settle), err
}

// leaves is what a month counts in the published tables, by province.
func (a *App) leaves(r kitstore.Reader, month string) (leaves []rules.Leaf, err error) {
	for _, figure := range rules.PublishedFigures {
		err := store.Counts.Scan(r, kitstore.Range{Prefix: kitstore.K(figure, month)}, func(_ kitstore.Key, c *federalv1.Count) error {
			if leaf, ok := rules.LeafOf(c, a.Province); ok {
				leaves = append(leaves, leaf)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for span := (kitstore.Range{}); ; {
		rows, _, err := store.Shelters.Page(r, span, 1)
		if err != nil || len(rows) == 0 {
			return leaves, err
		}
		node := rows[0].Value.GetNode()
		if leaves, err = a.addBeds(r, node, month, leaves); err != nil {
			return nil, err
		}
		span.After = kitstore.K(node + "\x00") // behind all of the node's
	}
}

// addBeds adds what the shelters of a node had at the end of a month: what was told last of the month stands for it.
func (a *App) addBeds(r kitstore.Reader, node, month string, leaves []rules.Leaf) ([]rules.Leaf, error) {
	rows, _, err := store.Shelters.Page(r, kitstore.Range{
		Prefix: kitstore.K(node), After: kitstore.K(node, month+"-99"), Before: kitstore.K(node, month), Reverse: true,
	}, 1)
	if err != nil || len(rows) == 0 {
		return leaves, err
	}
	had := rows[0].Value.GetDay()
	return append(leaves, rules.Leaf{Table: rules.TableBeds, Path: []string{a.Province(node)}, Value: had.GetOccupied(), Beds: had.GetTotal()}), nil
}

// joined are the provinces that have a node, or had one when what is counted happened, in order of the list.
func (a *App) joined(leaves []rules.Leaf) (all []string) {
	found := map[string]bool{}
	for _, teller := range a.Tellers() {
		found[a.Province(teller.GetNode())] = true
	}
	for _, l := range leaves {
		found[l.Path[0]] = true
	}
	for _, entry := range codes.All(codes.Province) {
		if found[entry.Code] {
			all = append(all, entry.Code)
		}
	}
	return all
}
