package scenario_test

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/scenario"
)

var five = sync.OnceValues(func() (*scenario.Year, error) { return scenario.Make(scenario.Options{Seed: 7, Referrals: 5000}) })

func make5000(t *testing.T) *scenario.Year {
	t.Helper()
	y, err := five()
	if err != nil {
		t.Fatal(err)
	}
	return y
}

func TestTheSameOptionsMakeTheSameYear(t *testing.T) {
	again, err := scenario.Make(scenario.Options{Seed: 7, Referrals: 5000})
	if err != nil {
		t.Fatal(err)
	}
	if digest(t, make5000(t)) != digest(t, again) {
		t.Error("two years of the same options differ")
	}
	other, err := scenario.Make(scenario.Options{Seed: 8, Referrals: 5000})
	if err != nil {
		t.Fatal(err)
	}
	if digest(t, other) == digest(t, again) {
		t.Error("another seed makes the same year")
	}
}

// digest is of everything in a year, the messages by their bytes.
func digest(t *testing.T, y *scenario.Year) string {
	t.Helper()
	sum := sha256.New()
	write := func(value any, messages ...proto.Message) {
		fmt.Fprintf(sum, "%+v\n", value)
		for _, m := range messages {
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(sum, "%d %x\n", len(raw), raw)
		}
	}
	write(y.Options)
	write(y.Cuts)
	for _, u := range y.Units {
		message := u.Unit
		u.Unit = nil
		write(u, message)
	}
	for _, s := range y.Shelters {
		message := s.Shelter
		s.Shelter = nil
		write(s, message)
	}
	for _, c := range y.Cases {
		messages := []proto.Message{c.Case, c.Consent}
		if c.Referral != nil {
			r := *c.Referral
			messages, r.Request = append(messages, r.Request), nil
			write(r)
		}
		c.Case, c.Consent, c.Referral = nil, nil, nil
		write(c, messages...)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
