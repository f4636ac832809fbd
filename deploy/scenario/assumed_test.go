package scenario_test

import (
	"slices"
	"strings"
	"testing"

	"amanat.example/deploy/scenario"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/codes"
)

// What is assumed, and compared with no figure, is so.
func TestWhatIsAssumed(t *testing.T) {
	y := make5000(t)
	districts := map[string]string{}
	for _, u := range y.Units {
		districts[u.Unit.GetName()] = u.Unit.GetDistrict()
	}
	of, so := map[string]float64{}, map[string]float64{}
	count := func(what string, is bool) {
		of[what]++
		if is {
			so[what]++
		}
	}
	far := func(c *scenario.Case) float64 {
		km, _ := codes.Distance(districts[c.Case.GetUnit()], districts[c.Referral.Request.GetToUnit()])
		return float64(km)
	}
	var safety, others, safe, other float64
	for i := range y.Cases {
		c := &y.Cases[i]
		p := c.Case.GetPerson()
		if c.Referral == nil {
			count("of those not referred who refuse", c.Consent != nil)
			count("of those not referred who are found at home", slices.ContainsFunc([]codes.Lang{codes.English, codes.Urdu, codes.Sindhi}, func(l codes.Lang) bool {
				return codes.Label(codes.District, c.Case.GetFoundDistrict(), l) == p.GetHomePlace()
			}))
			continue
		}
		request, to := c.Referral.Request, strings.Split(c.Referral.Request.GetToUnit(), "/")[1]
		if c.Node == "balochistan" {
			count("of Balochistan who leave it", to != c.Node)
		}
		if p.GetAgeFrom() >= 18 {
			count("of women who are pregnant", slices.Contains(request.GetNeeds().GetSpecialNeeds(), "PREGNANCY"))
		}
		reason, placed := request.GetReasons()[0], request.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
		if placed && to == "balochistan" && c.Node != to && (reason == "NO_LOCAL_BED" || reason == "SAFETY_RELOCATION") {
			t.Errorf("case %d: to Balochistan for %s", c.Number, reason)
		}
		switch {
		case !placed || to != "punjab" || c.Node != to:
		case reason == "SAFETY_RELOCATION":
			safety, safe = safety+far(c), safe+1
		case reason == "NO_LOCAL_BED":
			others, other = others+far(c), other+1
		}
		for _, a := range c.Referral.Answers {
			if a.Decline != "" && placed {
				count("of answers to families that they are too large", a.Decline == "FAMILY_TOO_LARGE" && c.Family != 0)
				if a.Decline == "FAMILY_TOO_LARGE" && c.Family == 0 {
					t.Errorf("case %d: who is alone is too large a family", c.Number)
				}
			}
			if !a.Silent {
				count("of answers that come after a question", a.Question != "")
			}
		}
	}
	for what, within := range map[string][2]float64{
		"of those not referred who refuse": {0.05, 0.09}, "of those not referred who are found at home": {0.65, 0.80}, "of Balochistan who leave it": {0.5, 0.85},
		"of women who are pregnant": {0.02, 0.06}, "of answers to families that they are too large": {0.02, 0.3}, "of answers that come after a question": {0.09, 0.15},
	} {
		if share := so[what] / of[what]; !(share >= within[0] && share <= within[1]) {
			t.Errorf("%.3f %s, want %v", share, what, within)
		}
	}
	if safety/safe < 1.3*(others/other) {
		t.Errorf("those who must be safe go %.0f km, others %.0f", safety/safe, others/other)
	}
}
