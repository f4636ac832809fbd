package server_test

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// told is one line of a history by hand: what was asked, and answered.
type told struct {
	step
	answer
}

func placed(hold, first, second int, fence uint64) told {
	return told{step{op: opPlace, hold: hold, quantity: [2]int{first, second}}, answer{name: string(rune('a' + hold)), fence: fence}}
}

func did(op, hold int) told { return told{step: step{op: op, hold: hold}} }

func refusal(op, hold int, reason string) told {
	return told{step{op: op, hold: hold}, answer{reason: reason}}
}

func showed(held, stayed int) told {
	return told{step{op: opLook}, answer{held: [2]int{held}, stayed: [2]int{stayed}}}
}

// The model would not be worth much if it took every history: each of these breaks one promise.
func TestWrongHistoriesAreRefused(t *testing.T) {
	wait, gone := did(opWait, 0), "REASON_HOLD_ENDED EXPIRED"
	full := told{step{op: opPlace, hold: 1, quantity: [2]int{1}}, answer{reason: "REASON_NO_CAPACITY "}}
	admitted := func(stay string) told { return told{step{op: opAdmit}, answer{name: stay}} }
	for name, c := range map[string]struct {
		legal   bool
		history []told
	}{
		"hold, promise, admit, leave": {true, []told{placed(0, 3, 0, 1), full, did(opConfirm, 0), admitted("x"), full, admitted("x"), showed(0, 3), did(opDischarge, 0), placed(1, 1, 0, 2), showed(1, 0)}},
		"expiry":                      {true, []told{placed(0, 3, 0, 1), wait, did(opRenew, 0), wait, wait, full, wait, refusal(opConfirm, 0, gone), placed(1, 1, 0, 2)}},
		"suspension":                  {true, []told{placed(0, 1, 0, 1), did(opSuspend, 0), refusal(opRelease, 0, "REASON_HOLD_ENDED RELEASED"), refusal(opPlace, 1, closed+" SUSPENDED"), did(opReopen, 0), showed(0, 0)}},
		"the same key":                {true, []told{placed(0, 1, 0, 1), did(opRelease, 0), placed(0, 1, 0, 1), showed(0, 0)}},

		"two win the last bed":                    {false, []told{placed(0, 3, 0, 1), placed(1, 1, 0, 2)}},
		"held in one group, no room in the other": {false, []told{placed(0, 0, 3, 1), placed(1, 1, 1, 2)}},
		"refused though a bed is free":            {false, []told{placed(0, 2, 0, 1), full}},
		"placed where it is suspended":            {false, []told{did(opSuspend, 0), placed(0, 1, 0, 1)}},
		"a promise outlives suspension":           {false, []told{placed(0, 1, 0, 1), did(opConfirm, 0), did(opSuspend, 0), admitted("x")}},
		"confirmed after expiry":                  {false, []told{placed(0, 1, 0, 1), wait, wait, wait, did(opConfirm, 0)}},
		"expired before its time":                 {false, []told{placed(0, 1, 0, 1), wait, wait, refusal(opConfirm, 0, gone)}},
		"a promise expired":                       {false, []told{placed(0, 1, 0, 1), did(opConfirm, 0), wait, wait, wait, refusal(opRelease, 0, gone)}},
		"renewed twice":                           {false, []told{placed(0, 1, 0, 1), wait, did(opRenew, 0), wait, did(opRenew, 0)}},
		"released twice":                          {false, []told{placed(0, 1, 0, 1), did(opRelease, 0), did(opRelease, 0)}},
		"admitted without a promise":              {false, []told{placed(0, 1, 0, 1), admitted("x")}},
		"admitted twice":                          {false, []told{placed(0, 1, 0, 1), did(opConfirm, 0), admitted("x"), admitted("y")}},
		"a fence goes back":                       {false, []told{placed(0, 1, 0, 2), placed(1, 1, 0, 1)}},
		"the same key holds twice":                {false, []told{placed(0, 1, 0, 1), {step{op: opPlace, quantity: [2]int{1}}, answer{name: "z", fence: 2}}}},
		"a hold is lost":                          {false, []told{placed(0, 2, 0, 1), showed(0, 0)}},
		"a bed is not given back":                 {false, []told{placed(0, 2, 0, 1), did(opRelease, 0), showed(2, 0)}},
	} {
		var history []porcupine.Operation
		for i, line := range c.history {
			history = append(history, porcupine.Operation{Input: line.step, Output: line.answer, Call: int64(2 * i), Return: int64(2*i + 1)})
		}
		if got := porcupine.CheckOperations(oneShelter, history); got != c.legal {
			t.Errorf("%s: linearizable = %v", name, got)
		}
	}
	// The winners of one bed are two also when they called at the same time.
	one, other := placed(0, 3, 0, 1), placed(1, 3, 0, 2)
	if porcupine.CheckOperations(oneShelter, []porcupine.Operation{
		{ClientId: 1, Input: one.step, Output: one.answer, Call: 0, Return: 9}, {ClientId: 2, Input: other.step, Output: other.answer, Call: 1, Return: 8},
	}) {
		t.Error("two callers at once won the same beds")
	}
}
