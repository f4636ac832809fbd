package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"amanat.example/services/kit/fault"
)

func TestReasonThroughWrapping(t *testing.T) {
	cause := errors.New("row 17")
	err := fmt.Errorf("accept: %w", fault.New(fault.WrongState, "The offer has lapsed.", "state", "LAPSED").Wrap(cause))
	if fault.ReasonOf(err) != fault.WrongState || !errors.Is(err, cause) || !errors.Is(err, fault.New(fault.WrongState, "")) {
		t.Errorf("got %v", err)
	}
	if errors.Is(err, fault.StaleEtag()) || fault.ReasonOf(cause) != 0 {
		t.Error("another reason matches")
	}
	if strings.Contains(err.Error(), "row 17") {
		t.Errorf("the sentence holds the cause: %v", err)
	}
}

func TestInvalidFieldsNameTheFirstAndCountTheRest(t *testing.T) {
	e := fault.InvalidFields(fault.Violation{Field: "a", Sentence: "must be set"}, fault.Violation{Field: "b.c", Sentence: "must be set"})
	if e.Sentence() != "Field a: must be set. There is 1 more." || len(e.Fields()) != 2 {
		t.Errorf("got %q", e.Sentence())
	}
}

func TestWrapAndWithFieldsLeaveTheOriginalAlone(t *testing.T) {
	e := fault.NotFound("hold")
	_ = e.Wrap(errors.New("x"))
	_ = e.WithFields(fault.Violation{Field: "name"})
	e.Metadata()["kind"] = "changed"
	if e.Unwrap() != nil || e.Fields() != nil || e.Metadata()["kind"] != "hold" {
		t.Errorf("got %+v", e)
	}
}

func TestPanicSaysWhere(t *testing.T) {
	var err error
	func() {
		defer func() { err = fault.Panic(recover()) }()
		var none []string
		_ = none[len(none)]
	}()
	if !strings.Contains(err.Error(), "index out of range") || !strings.Contains(err.Error(), "fault_test.go") {
		t.Errorf("got %v", err)
	}
}

func TestPanicTellsNobodysData(t *testing.T) {
	for _, value := range []any{"no case of Amina", errors.New("Amina"), struct{ Name string }{"Amina"}} {
		var err error
		func() {
			defer func() { err = fault.Panic(recover()) }()
			panic(value)
		}()
		if strings.Contains(err.Error(), "Amina") || !strings.Contains(err.Error(), fmt.Sprintf("%T", value)) || !strings.Contains(err.Error(), "fault_test.go") {
			t.Errorf("got %v", err)
		}
	}
}

type handedOn struct{ value any }

func (h handedOn) Panicked() (any, []byte) { return h.value, []byte("there.go:7") }

func TestPanicOfAnotherGoroutineSaysWhere(t *testing.T) {
	var err error
	func() {
		defer func() { err = fault.Panic(recover()) }()
		panic(handedOn{"Amina"})
	}()
	if text := err.Error(); strings.Contains(text, "Amina") || !strings.Contains(text, "a string in there.go:7") {
		t.Errorf("got %v", err)
	}
}
