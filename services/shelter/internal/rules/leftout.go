package rules

import (
	"cmp"
	"slices"
	"strings"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
)

// What stands in the way of a shelter that is left out.
const (
	OutExcluded     = "EXCLUDED_DISTRICT"
	OutSecurity     = "SECURITY"
	OutMedical      = "MEDICAL"
	OutPsychosocial = "PSYCHOSOCIAL"
	OutFamily       = "FAMILY_TOO_LARGE"
	OutGender       = "GENDER"
	OutAge          = "AGE"
	OutWithMother   = "WITH_MOTHER"
	OutSteps        = "STEPS"
	OutSpecialNeeds = "SPECIAL_NEEDS"
	OutUnheard      = "NOT_HEARD_OF"
	OutSuspended    = "SUSPENDED"
	OutDeclaredFull = "DECLARED_FULL"
	OutFull         = "FULL"
)

// out is a reason to leave a shelter out: a code, and for a gender that is not taken whom the shelter takes instead, where that
// is worth telling.
type out int

const (
	fits out = iota // none
	outExcluded
	outSecurity
	outMedical
	outPsychosocial
	outFamily
	outGender
	outBoysOnly
	outGirlsOnly
	outMenOnly
	outWomenOnly
	outAge
	outWithMother
	outSteps
	outSpecialNeeds
	outUnheard
	outSuspended
	outDeclaredFull
	outFull
	outKinds
)

// outSays is what is told of each reason: its code, and the sentence for one person and for several.
var outSays = [outKinds]struct {
	code    string
	one     key
	several key
}{
	outExcluded:     {OutExcluded, sayOutExcluded, sayOutExcluded},
	outSecurity:     {OutSecurity, sayOutSecurity, sayOutSecurity},
	outMedical:      {OutMedical, sayOutMedical, sayOutMedical},
	outPsychosocial: {OutPsychosocial, sayOutPsychosocial, sayOutPsychosocial},
	outFamily:       {OutFamily, sayOutFamily, sayOutFamily},
	outGender:       {OutGender, sayOutGender, sayOutGenderAll},
	outBoysOnly:     {OutGender, sayOutBoysOnly, sayOutBoysOnly},
	outGirlsOnly:    {OutGender, sayOutGirlsOnly, sayOutGirlsOnly},
	outMenOnly:      {OutGender, sayOutMenOnly, sayOutMenOnly},
	outWomenOnly:    {OutGender, sayOutWomenOnly, sayOutWomenOnly},
	outAge:          {OutAge, sayOutAge, sayOutAgeAll},
	outWithMother:   {OutWithMother, sayOutWithMother, sayOutWithMother},
	outSteps:        {OutSteps, sayOutSteps, sayOutSteps},
	outSpecialNeeds: {OutSpecialNeeds, sayOutSpecialNeeds, sayOutSpecialNeeds},
	outUnheard:      {OutUnheard, sayOutUnheard, sayOutUnheard},
	outSuspended:    {OutSuspended, sayOutSuspended, sayOutSuspended},
	outDeclaredFull: {OutDeclaredFull, sayOutDeclaredFull, sayOutDeclaredFull},
	outFull:         {OutFull, sayOutFull, sayOutFullAll},
}

// outs counts shelters that are left out: all, and those in the district asked for.
type outs struct{ all, near int32 }

func (o outs) everywhere() int32 { return o.all }
func (o outs) nearby() int32     { return o.near }

// takesOnly is the reason for a gender that a shelter does not take; it names whom it takes, if that is one gender alone.
func takesOnly(groups []*shelterv1.Group) out {
	gender, oldest := "", int32(0)
	for _, g := range groups {
		for _, taken := range g.GetGenders() {
			if gender != "" && taken != gender {
				return outGender
			}
			gender = taken
		}
		oldest = max(oldest, g.GetAgeTo())
	}
	switch {
	case gender == codes.GenderMasculine && oldest <= 18:
		return outBoysOnly
	case gender == codes.GenderMasculine:
		return outMenOnly
	case gender == codes.GenderFeminine && oldest <= 18:
		return outGirlsOnly
	case gender == codes.GenderFeminine:
		return outWomenOnly
	}
	return outGender
}

// leftOut is why shelters are left out, the commonest first, then in order of code.
func (f *finder) leftOut(of func(outs) int32) []out {
	sorted := make([]out, 0, outKinds)
	for why := fits + 1; why < outKinds; why++ {
		if of(f.out[why]) > 0 {
			sorted = append(sorted, why)
		}
	}
	slices.SortFunc(sorted, func(a, b out) int {
		return cmp.Or(cmp.Compare(of(f.out[b]), of(f.out[a])), strings.Compare(outSays[a].code, outSays[b].code), cmp.Compare(a, b))
	})
	return sorted
}

// sayOut says of n shelters why they are left out, such as "2 shelters take boys only".
func (f *finder) sayOut(why out, n int32) string {
	said := outSays[why].one
	if len(f.people) > 1 {
		said = outSays[why].several
	}
	return f.say.say(said, args{n: n})
}

// whyNot lists why shelters are left out.
func (f *finder) whyNot(of func(outs) int32) string {
	var all []string
	for _, why := range f.leftOut(of) {
		all = append(all, f.sayOut(why, of(f.out[why])))
	}
	return f.say.listed(all)
}
