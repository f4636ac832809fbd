package story

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/deploy/scenario"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/zone"
)

// planFile says what year a network plays, beside its data.
const planFile = "year.json"

// Plan is the year that a network plays: enough to make it again, and whether it is over.
type Plan struct {
	Seed      uint64    `json:"seed"`
	Referrals int       `json:"referrals"`
	Start     time.Time `json:"start"`
	// Digest of the year (scenario.Year.Digest).
	Digest   string `json:"digest"`
	Finished bool   `json:"finished"`

	path string
}

// LoadPlan is the plan of a network; nil when it has none.
func LoadPlan(l *network.Layout) (*Plan, error) {
	p := &Plan{path: filepath.Join(l.Root, planFile)}
	raw, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, p)
	}
	if err == nil && (p.Referrals < 1 || p.Start.IsZero() || p.Digest == "" && !p.Finished) {
		err = errors.New("it says of no year how it was begun, or this program's forerunner began it")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; %s", p.path, err, beginAnew)
	}
	if !p.Finished && !l.HasRun() { // it may have been broken off before that
		err = l.MakeCalendar(p.Start)
	}
	return p, err
}

// beginAnew is what somebody can do whose year cannot go on.
const beginAnew = "begin a new year: make clean-data, or name another folder with --data"

// NewPlan has a network whose processes do not run yet play the year that ends now.
func NewPlan(l *network.Layout, seed uint64, referrals int) (*Plan, error) {
	p := &Plan{Seed: seed, Referrals: referrals, Start: yearBefore(time.Now()), path: filepath.Join(l.Root, planFile)}
	year, err := p.make()
	if err != nil {
		return nil, err
	}
	if p.Digest, err = year.Digest(); err != nil {
		return nil, err
	}
	if err := p.save(); err != nil { // before the calendar, which without a plan would be one of no year
		return nil, err
	}
	return p, l.MakeCalendar(p.Start)
}

// yearBefore is the first day of the last year that is over at a moment.
func yearBefore(now time.Time) time.Time {
	year, month, day := now.In(zone.Karachi).Date()
	start := time.Date(year-1, month, day, 0, 0, 0, 0, zone.Karachi)
	if start.AddDate(1, 0, 0).After(now) { // on the 29th of February
		start = start.AddDate(0, 0, -1)
	}
	return start
}

// Year makes the year of the plan. It refuses to go on with people of whom another version of this program has begun to tell something else.
func (p *Plan) Year() (*scenario.Year, error) {
	year, err := p.make()
	if err != nil {
		return nil, err
	}
	digest, err := year.Digest()
	if err == nil && digest != p.Digest {
		err = fmt.Errorf("%s: the year was begun by another version of this program, which makes other people; %s", p.path, beginAnew)
	}
	return year, err
}

func (p *Plan) make() (*scenario.Year, error) {
	return scenario.Make(scenario.Options{Seed: p.Seed, Start: p.Start, Referrals: p.Referrals})
}

// Finish notes that the year is over: it is not played again.
func (p *Plan) Finish() error {
	p.Finished = true
	return p.save()
}

func (p *Plan) save() error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return durable.Replace(p.path, append(raw, '\n'))
}
