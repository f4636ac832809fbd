package codes

import (
	"fmt"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/fault"
)

// CheckField refuses a request whose field holds a code that is not in force. The error names
// the field and the list, never the value.
func CheckField(field string, list List, code string) error {
	if err := Check(list, code); err != nil {
		sentence := fmt.Sprintf("must be a code of the list %s that is in force", list)
		return fault.New(fault.UnknownCode, fmt.Sprintf("Field %s %s.", field, sentence), "field", field, "list", string(list)).
			WithFields(fault.Violation{Field: field, Sentence: sentence})
	}
	return nil
}

// CheckFields is [CheckField] for each value of a repeated field.
func CheckFields(field string, list List, values []string) error {
	for i, code := range values {
		if err := CheckField(fmt.Sprintf("%s[%d]", field, i), list, code); err != nil {
			return err
		}
	}
	return nil
}

// CheckNeeds checks the codes in a statement of needs.
func CheckNeeds(field string, n *custodyv1.Needs) error {
	if err := CheckField(field+".gender", Gender, n.GetGender()); err != nil {
		return err
	}
	if err := CheckFields(field+".languages", Language, n.GetLanguages()); err != nil {
		return err
	}
	if err := CheckFields(field+".services", Service, n.GetServices()); err != nil {
		return err
	}
	if err := CheckFields(field+".special_needs", SpecialNeed, n.GetSpecialNeeds()); err != nil {
		return err
	}
	return CheckFields(field+".excluded_districts", District, n.GetExcludedDistricts())
}

// CheckAgency checks an agency outside the network that is asked: its kind, and that somebody can reach it.
func CheckAgency(field string, a *custodyv1.Agency) error {
	if a.GetPhone() == "" && a.GetAddress() == "" {
		return fault.InvalidField(field+".phone", "must be given, or "+field+".address: somebody has to reach the agency")
	}
	return CheckField(field+".kind", Agency, a.GetKind())
}
