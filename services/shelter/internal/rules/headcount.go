package rules

import (
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
)

// OldestCount is how long after it was made a headcount can be put down: what the stays said then is not kept.
const OldestCount = 12 * time.Hour

// Compare sets what was expected of each count, by group, and says whether something differs.
func Compare(h *shelterv1.Headcount, expected func(group string) (int32, error)) error {
	h.Open = false
	for _, c := range h.GetCounts() {
		want, err := expected(c.GetGroup())
		if err != nil {
			return err
		}
		c.Expected, c.Difference, c.Explanation = want, c.GetPresent()-want, ""
		h.Open = h.Open || c.Difference != 0
	}
	return nil
}

// Explain says why a group's count differs. It reports whether anything changed.
func Explain(h *shelterv1.Headcount, group, explanation string) (changed bool, err error) {
	open, found := false, false
	for _, c := range h.GetCounts() {
		if c.GetGroup() == group {
			found = true
			if c.GetDifference() == 0 {
				return false, fault.New(fault.WrongState, "This group was counted as the stays say; there is nothing to explain.", "group", group)
			}
			changed = c.GetExplanation() != explanation
			c.Explanation = explanation
		}
		open = open || c.GetDifference() != 0 && c.GetExplanation() == ""
	}
	if !found {
		return false, fault.InvalidField("group", "was not counted in this headcount; name one that was")
	}
	h.Open = open
	return changed, nil
}
