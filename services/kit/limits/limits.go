package limits

import (
	_ "embed"
	"slices"
	"sync"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// Events that limits count from.
const (
	EventIntake       = "intake"                // a person was taken in
	EventArrival      = "arrival"               // a person came from another unit
	EventMissing      = "missing-report"        // a child was reported missing or abducted
	EventSafeHouse    = "safe-house-admission"  // a woman was admitted to a safe house
	EventDarUlAman    = "dar-ul-aman-admission" // a woman was admitted to a Dar-ul-Aman
	EventStep         = "step"                  // the moment the limit by risk counts from
	StepAcknowledge   = "ACKNOWLEDGE"
	StepAnswer        = "ANSWER"
	StepSeen          = "SERVE"
	StepFollowUp      = "FOLLOW_UP"
	longest           = 366 * 24 * time.Hour
	maxRows, maxField = 500, 300
)

// Recorded are the events that a worker records of a case.
var Recorded = []string{EventMissing, EventSafeHouse, EventDarUlAman}

var (
	events    = append([]string{EventIntake, EventArrival, EventStep}, Recorded...)
	riskSteps = []string{StepAcknowledge, StepAnswer, StepSeen, StepFollowUp}
)

// Source says where a limit was read.
type Source string

// The sources.
const (
	Read       Source = "S"
	SecondHand Source = "2"
	Proposal   Source = "P"
)

// Limit is how long things may take at one risk.
type Limit struct {
	// Acknowledge: until somebody must have taken notice of what came.
	Acknowledge time.Duration
	// Answer: until an offer must be accepted or declined.
	Answer time.Duration
	// Seen: until the person must be seen face to face.
	Seen time.Duration
	// FollowUp: between two looks at a person who is cared for.
	FollowUp time.Duration
}

// Risk is a row of the table by risk.
type Risk struct {
	Urgency custodyv1.Urgency
	Limit
	Law    string // who says so
	Source Source
}

// Legal is a row of the table of laws.
type Legal struct {
	ID       string // such as `punjab-court`
	Province string // empty: everywhere
	District string // empty: the whole province
	Event    string
	Step     string
	Limit    time.Duration
	Law      string
	Section  string // may be empty
	Source   Source
}

// Table is both tables.
type Table struct {
	Risks []Risk  // high, medium and low, in this order
	Laws  []Legal // in the order of the file
}

var (
	//go:embed tables/risk.csv
	riskFile []byte
	//go:embed tables/legal.csv
	legalFile []byte
)

// Default is the embedded table. The caller must not change it.
var Default = sync.OnceValue(func() *Table {
	t, err := Parse("risk.csv", riskFile, "legal.csv", legalFile)
	if err != nil {
		panic("limits: the embedded tables do not parse: " + err.Error()) // a test reads them
	}
	return t
})

// Parse reads both tables. The names are those of the files, for errors; nil content is the embedded
// table's.
func Parse(riskName string, risk []byte, legalName string, legal []byte) (*Table, error) {
	if risk == nil {
		riskName, risk = "risk.csv", riskFile
	}
	if legal == nil {
		legalName, legal = "legal.csv", legalFile
	}
	risks, err := parseRisks(riskName, risk)
	if err != nil {
		return nil, err
	}
	laws, err := parseLaws(legalName, legal)
	if err != nil {
		return nil, err
	}
	return &Table{Risks: risks, Laws: laws}, nil
}

// Place is where a limit is asked for.
type Place struct{ Province, District string }

func (l Legal) holdsIn(p Place) bool {
	return (l.Province == "" || l.Province == p.Province) && (l.District == "" || l.District == p.District)
}

// From are the limits that begin to run at a place when an event happens, one for each step: the
// strictest, in the order of the file.
func (t *Table) From(event string, at Place) []Legal {
	var found []Legal
	for _, l := range t.Laws {
		if l.Event != event || !l.holdsIn(at) {
			continue
		}
		i := slices.IndexFunc(found, func(f Legal) bool { return f.Step == l.Step })
		switch {
		case i < 0:
			found = append(found, l)
		case l.Limit < found[i].Limit:
			found[i] = l
		}
	}
	return found
}

// ByRisk are the limits at a risk and a place, laws laid over them. A risk that this version does not
// know is high: nobody waits because of an old program.
func (t *Table) ByRisk(u custodyv1.Urgency, at Place) Limit {
	i := max(0, slices.IndexFunc(t.Risks, func(r Risk) bool { return r.Urgency == u })) // high stands first
	limit := t.Risks[i].Limit
	for _, l := range t.From(EventStep, at) {
		of := map[string]*time.Duration{
			StepAcknowledge: &limit.Acknowledge, StepAnswer: &limit.Answer, StepSeen: &limit.Seen, StepFollowUp: &limit.FollowUp,
		}[l.Step]
		*of = min(*of, l.Limit)
	}
	return limit
}

// Step is one of the steps that have a limit by risk.
type Step struct {
	Code  string // of the list `deadline`
	Limit time.Duration
}

// Steps are the limits with the steps they are for.
func (l Limit) Steps() []Step {
	return []Step{{StepAcknowledge, l.Acknowledge}, {StepAnswer, l.Answer}, {StepSeen, l.Seen}, {StepFollowUp, l.FollowUp}}
}
