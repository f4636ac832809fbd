package server_test

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// saidLine is one line of a history by hand.
type saidLine struct {
	chainCall
	chainAnswer
}

func said(op, offer int, code string) saidLine {
	return saidLine{chainCall: chainCall{op: op, offer: offer, code: code}}
}

func refusedCall(op, offer int, code, state string) saidLine {
	return saidLine{chainCall{op: op, offer: offer, code: code}, chainAnswer{reason: wrong + state}}
}

func shownCall(op, offer int, code string, sequence uint64, tag string) saidLine {
	return saidLine{chainCall{op: op, offer: offer, code: code}, chainAnswer{sequence: sequence, tag: tag}}
}

func submittedCall(name string, sequence uint64, tag string) saidLine {
	return saidLine{chainCall{op: opSubmit, code: "lahore"}, chainAnswer{name: name, sequence: sequence, tag: tag}}
}

func asking(unit, tag string, sequence uint64, next string) saidLine {
	return saidLine{chainCall{op: opOffer, code: unit, tag: tag}, chainAnswer{sequence: sequence, tag: next}}
}

func reads(chain string) saidLine { return saidLine{chainCall{op: opChain}, chainAnswer{chain: chain}} }

func unanswered(op, offer int, code string) saidLine {
	return saidLine{chainCall{op: op, offer: offer, code: code}, chainAnswer{unknown: true}}
}

// The model would not be worth much if it took every history: each of these breaks one promise.
func TestWrongChainsAreRefused(t *testing.T) {
	submitted := submittedCall("a", 2, "1")
	const begun = "submitted,offered 0,reply_recorded received 0"
	const accepted = begun + ",reply_recorded accepted 0"
	for name, c := range map[string]struct {
		legal   bool
		history []saidLine
	}{
		"the plain way":              {true, []saidLine{submitted, said(opAccept, 0, ""), shownCall(opConfirm, 0, "", 5, "4"), reads(accepted + ",confirmed 0,reply_recorded ready 0")}},
		"a letter takes its time":    {true, []saidLine{submitted, reads("submitted,offered 0"), said(opAccept, 0, ""), reads(begun), reads(accepted)}},
		"asked and answered":         {true, []saidLine{submitted, said(opAsk, 0, "HEALTH"), shownCall(opAnswer, 0, "", 5, "4"), said(opAccept, 0, "")}},
		"the same request":           {true, []saidLine{submitted, submittedCall("a", 2, "1"), submittedCall("a", 3, "2")}},
		"not answered, and made":     {true, []saidLine{unanswered(opSubmit, 0, "lahore"), submittedCall("a", 3, "2"), submittedCall("a", 3, "2")}},
		"not answered, and not made": {true, []saidLine{submitted, unanswered(opAccept, 0, ""), said(opDecline, 0, "NO_CAPACITY")}},
		"late answers change nothing": {true, []saidLine{
			submitted, said(opAccept, 0, ""), shownCall(opWithdraw, 0, "NOT_NEEDED", 4, "3"), reads(begun + ",offer_withdrawn 0"), reads(begun + ",offer_withdrawn 0"),
		}},

		"the same request begins two":          {false, []saidLine{submitted, submittedCall("b", 2, "1")}},
		"an event is gone":                     {false, []saidLine{submitted, reads(begun), reads("submitted,offered 0")}},
		"an answer is gone":                    {false, []saidLine{submitted, said(opAccept, 0, ""), said(opDecline, 0, "NO_CAPACITY")}},
		"an event stands twice":                {false, []saidLine{submitted, reads(begun + ",reply_recorded received 0")}},
		"chosen before it was accepted":        {false, []saidLine{submitted, shownCall(opConfirm, 0, "", 4, "3")}},
		"refused though it is accepted":        {false, []saidLine{submitted, said(opAccept, 0, ""), reads(accepted), refusedCall(opConfirm, 0, "", "")}},
		"chosen after it was taken back":       {false, []saidLine{submitted, said(opAccept, 0, ""), reads(accepted), shownCall(opWithdraw, 0, "NOT_NEEDED", 5, "4"), shownCall(opConfirm, 0, "", 6, "5")}},
		"asked after the end":                  {false, []saidLine{submitted, shownCall(opCancel, 0, "REUNIFIED", 4, "2"), asking("kasur", "2", 5, "3")}},
		"a stale reading is taken":             {false, []saidLine{submitted, reads(begun), asking("kasur", "1", 4, "3")}},
		"cancelled for two reasons":            {false, []saidLine{submitted, shownCall(opCancel, 0, "REUNIFIED", 4, "2"), shownCall(opCancel, 0, "FOUND_LOCALLY", 5, "3")}},
		"two questions at once":                {false, []saidLine{submitted, said(opAsk, 0, "HEALTH"), said(opAsk, 0, "SAFETY")}},
		"a question answered twice":            {false, []saidLine{submitted, said(opAsk, 0, "HEALTH"), shownCall(opAnswer, 0, "", 5, "4"), shownCall(opAnswer, 0, "", 6, "5")}},
		"accepted, and the chain says another": {false, []saidLine{submitted, said(opAccept, 0, ""), reads(begun + ",reply_recorded declined 0")}},
		"not answered, and made twice":         {false, []saidLine{submitted, unanswered(opAccept, 0, ""), reads(accepted + ",reply_recorded accepted 0")}},
		"letters overtake each other":          {false, []saidLine{submitted, said(opAccept, 0, ""), reads("submitted,offered 0,reply_recorded accepted 0")}},
	} {
		var history []porcupine.Operation
		for i, line := range c.history {
			history = append(history, porcupine.Operation{Input: line.chainCall, Output: line.chainAnswer, Call: int64(2 * i), Return: int64(2*i + 1)})
		}
		if got := porcupine.CheckOperations(oneChain, history); got != c.legal {
			t.Errorf("%s: linearizable = %v", name, got)
		}
	}
}
