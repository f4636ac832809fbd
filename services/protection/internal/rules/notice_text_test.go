package rules_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/limits"
	"amanat.example/services/protection/internal/rules"
)

func notice(step, reference string) *protectionv1.Notice {
	return &protectionv1.Notice{
		Step: step, Reference: reference, Path: "/v1/nodes/punjab/cases/1", Urgency: urgent, DueTime: timestamppb.New(now.Add(-(26*time.Hour + 5*time.Minute))),
	}
}

func TestNoticeText(t *testing.T) {
	subject, text := rules.NoticeText([]*protectionv1.Notice{notice("ANSWER", "BA-26-04173-K")}, "en", "https://gateway.example", now)
	if subject != "Amanat: a deadline was missed: BA-26-04173-K" {
		t.Errorf("subject %q", subject)
	}
	if want := "HIGH RISK – Answer the offer – BA-26-04173-K – late by 1 d 2 h 5 min\nhttps://gateway.example/v1/nodes/punjab/cases/1\n"; !strings.Contains(text, want) {
		t.Errorf("the text does not say %q:\n%s", want, text)
	}
	var many []*protectionv1.Notice
	for i := range 33 {
		many = append(many, notice("FIR", fmt.Sprintf("BA-26-%05d-K", i)))
	}
	subject, text = rules.NoticeText(many, "en", "", now)
	if subject != "Amanat: 33 deadlines were missed" || strings.Count(text, "late by") != 20 || !strings.Contains(text, "13 more") {
		t.Errorf("%q:\n%s", subject, text)
	}
}

// Whatever was missed, a message says it in the worker's language, and no English word is left but the
// link and the reference.
func TestNoticeTextInEveryLanguage(t *testing.T) {
	latin := regexp.MustCompile(`[A-Za-z]{2,}`)
	for _, step := range codes.All(codes.Deadline) {
		english := ""
		for _, lang := range []string{"en", "ur", "sd"} {
			for _, reference := range []string{"", "12-34"} {
				one, text := rules.NoticeText([]*protectionv1.Notice{notice(step.Code, reference)}, lang, "", now)
				several, more := rules.NoticeText(slicesOf(notice(step.Code, reference), 25), lang, "", now)
				all := strings.ReplaceAll(one+text+several+more, "/v1/nodes/punjab/cases/1", "")
				if strings.Contains(all, "%!") || strings.Contains(all, "%d") {
					t.Errorf("%s in %s: %s", step.Code, lang, all)
				}
				if lang != "en" && latin.MatchString(all) {
					t.Errorf("%s in %s has English words: %q", step.Code, lang, latin.FindString(all))
				}
				if english == "" {
					english = text
				} else if lang != "en" && english == text {
					t.Errorf("%s in %s is the English text", step.Code, lang)
				}
			}
		}
	}
}

func slicesOf(n *protectionv1.Notice, times int) (all []*protectionv1.Notice) {
	for range times {
		all = append(all, n)
	}
	return all
}

// Every kind of a referral's deadline has a label: it is a code of the list.
func TestEveryKindOfDeadlineHasALabel(t *testing.T) {
	for number, name := range referralv1.Deadline_Kind_name {
		if step := strings.TrimPrefix(name, "KIND_"); number != 0 && !codes.Valid(codes.Deadline, step) {
			t.Errorf("%s is not in the list %s", step, codes.Deadline)
		}
	}
	if !codes.Valid(codes.Deadline, rules.StepWaitlistReview) {
		t.Errorf("%s is not in the list", rules.StepWaitlistReview)
	}
}

// A law counts from its own event, in its own province, for the case of a unit there.
func TestCaseDeadlines(t *testing.T) {
	lahore, quetta := &protectionv1.Unit{District: "PK617"}, &protectionv1.Unit{District: "PK226"}
	c := &protectionv1.Case{Name: "case", Reference: "PB-26-00001-X", Unit: "unit", Urgency: urgent}
	for name, k := range map[string]struct {
		unit  *protectionv1.Unit
		event string
		want  string
		limit time.Duration
	}{
		"taken in at Lahore":  {lahore, limits.EventIntake, "COURT_PRODUCTION", 24 * time.Hour},
		"arrived at Lahore":   {lahore, limits.EventArrival, "", 0},
		"taken in at Quetta":  {quetta, limits.EventIntake, "MOVE_ON", 72 * time.Hour},
		"arrived at Quetta":   {quetta, limits.EventArrival, "MOVE_ON", 72 * time.Hour},
		"a unit of no place":  {&protectionv1.Unit{}, limits.EventIntake, "", 0},
		"admitted at a house": {lahore, limits.EventDarUlAman, "MEDICAL_AND_PSYCHOSOCIAL", 14 * 24 * time.Hour},
	} {
		got := rules.CaseDeadlines(limits.Default(), c, rules.PlaceOf(k.unit), k.event, now)
		if (k.want == "") != (len(got) == 0) {
			t.Errorf("%s: %v", name, got)
			continue
		}
		for _, d := range got {
			if d.GetStep() != k.want || !d.GetDueTime().AsTime().Equal(now.Add(k.limit)) || d.GetReference() != c.GetReference() || d.GetSubject() != "case" {
				t.Errorf("%s: %v", name, d)
			}
		}
	}
}

// The steps of a missed deadline come sooner at first and then more slowly, each counted from when it fired.
func TestMissCaseDeadline(t *testing.T) {
	d := &protectionv1.CaseDeadline{Urgency: custodyv1.Urgency_URGENCY_MEDIUM, NextTime: timestamppb.New(now)}
	at := now.Add(100 * time.Hour)
	for i, want := range []time.Duration{3 * time.Hour, 3 * time.Hour, 24 * time.Hour, 24 * time.Hour} {
		rules.MissCaseDeadline(d, at, limits.Default(), limits.Place{})
		if d.GetMissed() != int32(i+1) || !d.GetNextTime().AsTime().Equal(at.Add(want)) {
			t.Errorf("step %d: %v", i+1, d)
		}
	}
}
