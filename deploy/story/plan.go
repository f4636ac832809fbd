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
	"amanat.example/services/kit/facts"
)

// planFile says what year a network plays, beside its data.
const planFile = "year.json"

// Plan is the year that a network plays: enough to make it again, and whether it is over.
type Plan struct {
	Seed      uint64    `json:"seed"`
	Referrals int       `json:"referrals"`
	Start     time.Time `json:"start"`
	Finished  bool      `json:"finished"`

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
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.path, err)
	}
	return p, nil
}

// NewPlan has a network whose processes do not run yet play the year that ends now.
func NewPlan(l *network.Layout, seed uint64, referrals int) (*Plan, error) {
	year, month, day := time.Now().In(facts.Zone).Date()
	p := &Plan{
		Seed: seed, Referrals: referrals, Start: time.Date(year-1, month, day, 0, 0, 0, 0, facts.Zone), path: filepath.Join(l.Root, planFile),
	}
	if err := l.MakeCalendar(p.Start); err != nil {
		return nil, err
	}
	return p, p.save()
}

// Year makes the year of the plan.
func (p *Plan) Year() (*scenario.Year, error) {
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
