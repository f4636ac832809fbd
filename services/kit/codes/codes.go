package codes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// List names a code list, as the comments in the protos do.
type List string

// The lists.
const (
	Absence             List = "absence"
	Agency              List = "agency" // outside the network
	Cancellation        List = "cancellation"
	ConsentBasis        List = "consent_basis"
	ConsentPurpose      List = "consent_purpose"
	ConsentScope        List = "consent_scope"
	Deadline            List = "deadline" // what must happen by a deadline
	Decline             List = "decline"
	Discharge           List = "discharge"
	District            List = "district" // OCHA P-codes, and ours such as PK-BA-HUB
	Document            List = "document"
	DossierClosing      List = "dossier_closing"
	Exploitation        List = "exploitation" // HTCDS TypeOfExploitation, ours beside them
	Gender              List = "gender"       // HTCDS Gender
	HeadcountDifference List = "headcount_difference"
	Identification      List = "identification"
	Language            List = "language" // ISO 639-2, else 639-3
	LegalBasis          List = "legal_basis"
	Means               List = "means" // how something was said
	Outage              List = "outage"
	Outcome             List = "outcome"
	Province            List = "province" // ISO 3166-2
	Question            List = "question"
	ReferralReason      List = "referral_reason"
	ReleaseRefusal      List = "release_refusal"
	Return              List = "return"
	Role                List = "role"
	Safety              List = "safety"
	Service             List = "service"
	SpecialNeed         List = "special_need"
	Suspension          List = "suspension"
	WaitlistClose       List = "waitlist_close"
	Withdrawal          List = "withdrawal"
)

// Lists answers all lists, in order of name.
func Lists() []List {
	return []List{
		Absence, Agency, Cancellation, ConsentBasis, ConsentPurpose, ConsentScope, Deadline, Decline, Discharge, District, Document, DossierClosing, Exploitation, Gender, HeadcountDifference, Identification, Language, LegalBasis, Means, Outage, Outcome, Province, Question, ReferralReason, ReleaseRefusal, Return, Role, Safety, Service, SpecialNeed, Suspension, WaitlistClose, Withdrawal,
	}
}

// Lang is a language that labels are written in, as a BCP 47 tag.
type Lang string

// The languages of labels.
const (
	English Lang = "en"
	Urdu    Lang = "ur"
	Sindhi  Lang = "sd"
)

// LangOf is the language of a tag; English for none. Not ok for a language that nothing is written in.
func LangOf(tag string) (lang Lang, ok bool) {
	switch Lang(tag) {
	case "":
		return English, true
	case English, Urdu, Sindhi:
		return Lang(tag), true
	}
	return "", false
}

// Entry is one code of a list.
type Entry struct {
	Code   string
	Labels map[Lang]string // English is always there
	// ValidFrom is the first day the code holds, ValidTo the first day it no longer does, both in
	// UTC; zero for no bound. Where the source names only a year or month they are its first day.
	ValidFrom, ValidTo time.Time
	Successors         []string // what came in its place; several after a division
	Source             string   // who defines the code: a standard, a law, or Amanat
	Province           string   // districts only: the code of their province
	Predecessor        string   // districts only: the district they were carved from, which may live on
}

// ErrUnknownList is wrapped by the error for a list that does not exist.
var ErrUnknownList = errors.New("no such code list")

// Check answers nil when the code is in the list, retired or not: what was written under an older
// list stays readable. The error names the list and what to do. It never repeats the code given,
// because what stands in the wrong field may be a person's name.
func Check(list List, code string) error {
	t, err := tableOf(list)
	if err != nil {
		return err
	}
	if _, ok := t.rows[code]; ok {
		return nil
	}
	for _, entry := range t.entries {
		if strings.EqualFold(entry.Code, strings.TrimSpace(code)) {
			return fmt.Errorf("the code is not in the list %q: write it as %s", list, entry.Code)
		}
	}
	return fmt.Errorf("the code given (%d characters) is not in the list %q: use a code of that list, such as %s",
		utf8.RuneCountInString(code), list, t.entries[0].Code)
}

// CheckOn is Check for a code that is newly written at a time: it must also hold then. The error
// names the codes that came after a retired one.
func CheckOn(list List, code string, at time.Time) error {
	if err := Check(list, code); err != nil {
		return err
	}
	entry, _ := Find(list, code)
	switch {
	case !entry.ValidTo.IsZero() && !at.Before(entry.ValidTo):
		remedy := "use a code that holds today"
		if len(entry.Successors) > 0 {
			remedy = "use " + strings.Join(entry.Successors, " or ")
		}
		return fmt.Errorf("the code %s of the list %q ended on %s: %s",
			entry.Code, list, entry.ValidTo.Format(time.DateOnly), remedy)
	case at.Before(entry.ValidFrom):
		return fmt.Errorf("the code %s of the list %q begins on %s: use the code that held before",
			entry.Code, list, entry.ValidFrom.Format(time.DateOnly))
	}
	return nil
}

// Valid says whether the code is in the list, retired or not.
func Valid(list List, code string) bool { return Check(list, code) == nil }

// Label answers the code's label in a language, else in English. A code that is not in the list,
// for instance one a newer node sent, is its own label.
func Label(list List, code string, lang Lang) string {
	entry, ok := Find(list, code)
	if !ok {
		return code
	}
	if label := entry.Labels[lang]; label != "" {
		return label
	}
	return entry.Labels[English]
}

// Find answers one entry. The caller must not change what it holds.
func Find(list List, code string) (Entry, bool) {
	t, err := tableOf(list)
	if err != nil {
		return Entry{}, false
	}
	i, ok := t.rows[code]
	if !ok {
		return Entry{}, false
	}
	return t.entries[i], true
}

// All answers the list's entries in the order people choose from, retired ones included; none for
// a list that does not exist. The caller must not change what the entries hold.
func All(list List) []Entry {
	t, err := tableOf(list)
	if err != nil {
		return nil
	}
	return slices.Clone(t.entries)
}

// Current answers the codes that may stand in place of this one at a time: itself while it holds,
// else its successors and theirs. None for a code that is not in the list.
func Current(list List, code string, at time.Time) []string {
	entry, ok := Find(list, code)
	if !ok {
		return nil
	}
	if entry.ValidTo.IsZero() || at.Before(entry.ValidTo) {
		return []string{code}
	}
	var current []string
	for _, next := range entry.Successors {
		current = append(current, Current(list, next, at)...)
	}
	return current
}

// Version answers the version of a list's file; 0 for a list that does not exist.
func Version(list List) int {
	t, err := tableOf(list)
	if err != nil {
		return 0
	}
	return t.version
}
