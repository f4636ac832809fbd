// Package rules decides about cases: pure functions over the proto messages, with `now` as an
// argument. No I/O, no clock, no ids.
package rules

import (
	"time"

	"google.golang.org/genproto/googleapis/type/date"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/zone"
)

// CheckIntake holds what the contract's own rules cannot of a case to be taken in.
func CheckIntake(c *protectionv1.Case, now time.Time) error {
	if err := codes.CheckField("case.found_district", codes.District, c.GetFoundDistrict()); err != nil {
		return err
	}
	if err := codes.CheckFields("case.exploitation", codes.Exploitation, c.GetExploitation()); err != nil {
		return err
	}
	if c.GetPerson() == nil {
		return fault.InvalidField("case.person", "must be given")
	}
	return checkPerson(c.GetPerson(), now)
}

func checkPerson(p *protectionv1.Person, now time.Time) error {
	if err := codes.CheckField("case.person.gender", codes.Gender, p.GetGender()); err != nil {
		return err
	}
	if err := codes.CheckFields("case.person.languages", codes.Language, p.GetLanguages()); err != nil {
		return err
	}
	if p.GetAgeTo() < p.GetAgeFrom() {
		return fault.InvalidField("case.person.age_to", "must not be below age_from")
	}
	if p.GetBirthDate() == nil && p.GetAgeTo() == 0 && p.GetAgeAsOf() == nil {
		return fault.InvalidField("case.person.age_to", "must be given where the birth date is not known; for an infant below one year say age_as_of")
	}
	if p.GetBirthDate() != nil && !past(p.GetBirthDate(), now) {
		return fault.InvalidField("case.person.birth_date", "must be a day that has been; month and day may be 0")
	}
	if p.GetAgeAsOf() != nil && (p.GetAgeAsOf().GetDay() == 0 || !past(p.GetAgeAsOf(), now)) {
		return fault.InvalidField("case.person.age_as_of", "must be a whole date that has been")
	}
	return nil
}

// past says whether a date is one of the calendar, of this or the last 130 years, and not ahead.
func past(d *date.Date, now time.Time) bool {
	today := now.In(zone.Karachi)
	year, month, day := int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay())
	if year < today.Year()-130 || month < 0 || day < 0 || (month == 0 && day != 0) {
		return false
	}
	first := time.Date(year, max(month, 1), max(day, 1), 0, 0, 0, 0, zone.Karachi)
	// time.Date moves what is out of range, so a day that is none comes back as another.
	return first.Month() == max(month, 1) && first.Day() == max(day, 1) && !first.After(today)
}
