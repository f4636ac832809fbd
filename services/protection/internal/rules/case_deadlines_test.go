package rules_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/limits"
	"amanat.example/services/protection/internal/rules"
)

// When a person is back, what the law counts from taking a person in counts from the return unless it was met, once however often the
// person left, and what a worker recorded goes on where it ended.
func TestResume(t *testing.T) {
	const (
		open  = protectionv1.CaseDeadline_STATE_OPEN
		met   = protectionv1.CaseDeadline_STATE_MET
		ended = protectionv1.CaseDeadline_STATE_ENDED
	)
	deadline := func(event, step string, begun time.Duration, state protectionv1.CaseDeadline_State) *protectionv1.CaseDeadline {
		at := now.Add(begun)
		d := &protectionv1.CaseDeadline{
			Name: fmt.Sprint(step, begun), Step: step, State: state, Missed: 2, Limit: &protectionv1.Limit{Event: event, Limit: durationpb.New(24 * time.Hour)},
			EventTime: timestamppb.New(at), DueTime: timestamppb.New(at.Add(24 * time.Hour)), NextTime: timestamppb.New(at.Add(30 * time.Hour)),
		}
		if state != open {
			d.EndTime = timestamppb.New(at.Add(time.Hour))
		}
		return d
	}
	court := func(begun time.Duration, state protectionv1.CaseDeadline_State) *protectionv1.CaseDeadline {
		return deadline(limits.EventIntake, "COURT_PRODUCTION", begun, state)
	}
	fir := func(begun time.Duration, state protectionv1.CaseDeadline_State) *protectionv1.CaseDeadline {
		return deadline(limits.EventMissing, "FIR", begun, state)
	}
	day := -24 * time.Hour
	for name, k := range map[string]struct {
		all             []*protectionv1.CaseDeadline
		begun, reopened []string
	}{
		"nothing was owed":                 {nil, nil, nil},
		"it was open":                      {[]*protectionv1.CaseDeadline{court(3*day, ended)}, []string{"COURT_PRODUCTION"}, nil},
		"it was met":                       {[]*protectionv1.CaseDeadline{court(3*day, met)}, nil, nil},
		"it was met after the first leave": {[]*protectionv1.CaseDeadline{court(9*day, ended), court(3*day, met)}, nil, nil},
		"who left twice":                   {[]*protectionv1.CaseDeadline{court(9*day, ended), court(3*day, ended)}, []string{"COURT_PRODUCTION"}, nil},
		"who came back at once":            {[]*protectionv1.CaseDeadline{court(9*day, ended), court(0, ended)}, nil, []string{"COURT_PRODUCTION0s"}},
		"it began anew on arrival":         {[]*protectionv1.CaseDeadline{court(9*day, ended), court(0, open)}, nil, nil},
		"events of workers":                {[]*protectionv1.CaseDeadline{fir(2*day, ended), fir(day, ended)}, nil, []string{"FIR-24h0m0s", "FIR-48h0m0s"}},
		"one of them was met":              {[]*protectionv1.CaseDeadline{fir(2*day, met), fir(day, ended)}, nil, []string{"FIR-24h0m0s"}},
		"both": {
			[]*protectionv1.CaseDeadline{court(3*day, ended), fir(2*day, ended)}, []string{"COURT_PRODUCTION"}, []string{"FIR-48h0m0s"},
		},
	} {
		begun, reopened := rules.Resume(k.all, now)
		var steps, names []string
		for _, d := range begun {
			steps = append(steps, d.GetStep())
			due := now.Add(24 * time.Hour)
			if d.GetName() != "" || d.GetState() != open || d.GetEndTime() != nil || d.GetMissed() != 0 || !d.GetEventTime().AsTime().Equal(now) ||
				!d.GetDueTime().AsTime().Equal(due) || !d.GetNextTime().AsTime().Equal(due) {
				t.Errorf("%s: begun: %v", name, d)
			}
		}
		for _, d := range reopened {
			names = append(names, d.GetName())
			if d.GetState() != open || d.GetEndTime() != nil || d.GetMissed() != 2 || d.GetNextTime().AsTime().Sub(d.GetEventTime().AsTime()) != 30*time.Hour {
				t.Errorf("%s: reopened: %v", name, d)
			}
		}
		if slices.Sort(names); !slices.Equal(steps, k.begun) || !slices.Equal(names, k.reopened) {
			t.Errorf("%s: begun %v, reopened %v", name, steps, names)
		}
	}
}
