package custody

import "regexp"

var (
	referralName = regexp.MustCompile(`^nodes/([a-z][a-z0-9-]{1,30})/referrals/[0-9a-f-]{36}$`)
	unitName     = regexp.MustCompile(`^nodes/([a-z][a-z0-9-]{1,30})/units/[a-z][a-z0-9-]{1,60}$`)
)

// CreatedAt is the node at which a referral began, as its name says (DESIGN section 8a); empty where that is no referral's name. Names
// are keys in every node's file, so that one of another form, or given by somebody else, could stand for another referral.
func CreatedAt(referral string) string { return nodeOf(referralName, referral) }

func nodeOf(form *regexp.Regexp, name string) string {
	if parts := form.FindStringSubmatch(name); parts != nil {
		return parts[1]
	}
	return ""
}
