package app_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
)

// restored is a bench whose store begins a new life now.
func (b *bench) restored() {
	b.t.Helper()
	if err := b.DB.RaiseIncarnation(b.t.Context(), b.DB.Incarnation()); err != nil {
		b.t.Fatal(err)
	}
	b.begins(true)
}

// begins opens the service again.
func (b *bench) begins(withheld bool) {
	b.t.Helper()
	if got, err := b.BeginLife(b.t.Context()); err != nil || got != withheld {
		b.t.Fatalf("months stand still: %v, %v", got, err)
	}
}

func (b *bench) resume(lost ...string) ([]string, error) {
	response, err := b.ResumePublications(b.t.Context(), &federalv1.ResumePublicationsRequest{Lost: lost}, "nodes/federal/workers/w")
	return response.GetClosedMonths(), err
}

// violates says whether an error names a field and says so of it.
func violates(err error, field, words string) bool {
	var f *fault.Error
	return errors.As(err, &f) && len(f.Fields()) == 1 && f.Fields()[0].Field == field && strings.Contains(f.Fields()[0].Sentence, words)
}

// auditRows counts what the log has of publishing.
func (b *bench) auditRows() (n int) {
	b.t.Helper()
	err := b.DB.View(b.t.Context(), func(r kitstore.Reader) error {
		rows, err := store.Audit.Page(r, 0, 100)
		for _, row := range rows {
			if row.GetPerson() != "nodes/federal/workers/w" {
				b.t.Error("nobody stands behind it:", row)
			}
		}
		n = len(rows)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// The copy that was put back has no edition of March, which everybody else has: its first edition is not made again, with letters that came since.
func TestARestoredStorePublishesNoMonthAgain(t *testing.T) {
	b := newBench(t)
	b.begins(false)
	b.begins(false)
	b.many(40, "sindh>punjab", 1, facts.Referred)
	b.many(40, "sindh>punjab", 32, facts.Referred) // April
	b.now = settledTime.Add(5 * day)
	b.restored()
	b.begins(true)
	b.many(3, "sindh>punjab", 1, facts.Referred)
	if b.publish(settledTime.Add(50 * day)); b.published(nil) != nil {
		b.publish(b.now.Add(2 * day))
	}
	b.publish(b.now.Add(2 * day))
	if got := b.published(nil); !slices.Equal(got, []string{"publications/2026-04-e1"}) {
		t.Fatalf("it publishes %v; April was not over when it was restored, March was", got)
	}
	_, err := b.RevisePublications(t.Context(), revision("revision-1"), "")
	if reason := fault.ReasonOf(err); reason != fault.Recovering {
		t.Fatalf("a revision would make editions that are there already: %v", err)
	}

	for name, want := range map[string]string{
		"publications/2026-04-e2": "over ten days before",
		"publications/2026-13-e1": "over ten days before",
		"publications/2027-03-e1": "over ten days before",
	} {
		if _, err := b.resume("publications/2026-03-e1", name); !violates(err, "lost[1]", want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.begins(true)
	for range 2 {
		if closed, err := b.resume("publications/2026-03-e1"); err != nil || !slices.Equal(closed, []string{"2026-03"}) {
			t.Fatal(closed, err)
		}
	}
	b.begins(false)
	b.publish(b.now.Add(2 * day))
	b.publish(b.now.Add(2 * day))
	for _, p := range b.revise("revision-2") {
		if p.GetMonth() == "2026-03" {
			t.Errorf("%s is published, whose figures everybody has otherwise", p.GetName())
		}
	}
	if got := b.published(nil); !slices.Equal(got, []string{"publications/2026-04-e2", "publications/2026-04-e1"}) {
		t.Errorf("it publishes %v", got)
	}
	if rows := b.auditRows(); rows != 2 { // resumed once, revised once
		t.Errorf("%d rows of audit", rows)
	}

	// A second restore: all that was over stands still again, and what is lost stays lost.
	b.restored()
	if closed, err := b.resume("publications/2026-04-e3"); err != nil || !slices.Equal(closed, []string{"2026-03", "2026-04"}) {
		t.Fatal(closed, err)
	}
	if got := b.revise("revision-3"); len(got) != 0 {
		t.Errorf("April has an edition 3 outside, and another is made: %v", got)
	}
}

// Where nothing is lost, all goes on.
func TestARestoredStoreThatHasLostNothing(t *testing.T) {
	b := newBench(t)
	b.begins(false)
	if _, err := b.resume("publications/2026-03-e1"); !violates(err, "lost[0]", "never restored") {
		t.Error("a month could be closed by a slip:", err)
	}
	b.many(40, "sindh>punjab", 1, facts.Referred)
	b.publish(settledTime)
	b.publish(settledTime.Add(day))
	b.restored()
	if _, err := b.resume("publications/2026-03-e1"); !violates(err, "lost[0]", "leave it out") {
		t.Error(err)
	}
	if closed, err := b.resume(); err != nil || closed != nil {
		t.Fatal(closed, err)
	}
	b.begins(false)
	if got := b.revise("revision-1"); len(got) != 1 || got[0].GetName() != "publications/2026-03-e2" {
		t.Errorf("it publishes %v", got)
	}
}

// A file of before this row was kept tells by its incarnation whether it was ever restored.
func TestARestoredStoreWithoutTheRow(t *testing.T) {
	b := newBench(t)
	b.restored()
	b.now = b.now.Add(time.Hour)
	if err := b.DB.Update(t.Context(), func(tx *kitstore.Tx) error { return store.Publishing.Delete(tx, store.PublishingKey) }); err != nil {
		t.Fatal(err)
	}
	b.begins(true)
}

// Who was put back and does not know it hears so from its peers: nothing is published in the first hour.
func TestNothingIsPublishedInTheFirstHour(t *testing.T) {
	b := newBench(t)
	b.many(40, "sindh>punjab", 1, facts.Referred)
	b.publish(settledTime)
	b.Opened = settledTime.Add(day - time.Minute)
	if next := b.publish(settledTime.Add(day)); b.published(nil) != nil || !next.Equal(b.Opened.Add(time.Hour)) {
		t.Errorf("published, or it looks again at %v", next)
	}
	if b.publish(b.Opened.Add(time.Hour)); len(b.published(nil)) != 1 {
		t.Error("not published after it")
	}
}

// A referral that nobody held after a restore is asked for again in the same flow: with what both lives told, in any order, the person is
// referred once, and what came of it counts for that one.
func TestWhatIsAskedForAgainIsReferredOnce(t *testing.T) {
	referred := func(minutes int) *federalv1.Fact {
		f := fact(2, facts.Referred, "punjab", minutes)
		f.Code, f.CaseFlowId = "PLACEMENT", flowID(1)
		return f
	}
	all := []*federalv1.Fact{fact(1, facts.Identified, "", 0), referred(60), referred(300), fact(2, facts.Accepted, "punjab", 360), fact(2, facts.Dispatched, "punjab", 400)}
	for i := range all {
		b := newBench(t)
		b.tell(slices.Concat(all[i:], all[:i])...)
		f := b.figures("all")
		if total := f.GetTotal(); total.GetIdentified() != 1 || total.GetReferred() != 1 || total.GetAccepted() != 1 {
			t.Errorf("from %d on: %v", i, total)
		}
		if rows := f.GetCorridors(); len(rows) != 1 || rows[0].GetReferred() != 1 || rows[0].GetDispatched() != 1 {
			t.Errorf("from %d on: %v", i, rows)
		}
		if rows := f.GetStanding(); len(rows) != 1 || rows[0].GetFlows() != 1 || rows[0].GetStage() != federalv1.Stage_STAGE_DISPATCHED {
			t.Errorf("from %d on: %v", i, rows)
		}
	}
}
