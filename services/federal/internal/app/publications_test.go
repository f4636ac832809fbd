package app_test

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/app/sheets"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/flow"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/kit/zone"
)

// many tells of so many flows on a way such as sindh>punjab that each stage was reached, an hour apart, the first some days after the beginning. The
// flows are new.
func (b *bench) many(n int, way string, days int, stages ...string) {
	b.t.Helper()
	from, to, _ := strings.Cut(way, ">")
	var all []*federalv1.Fact
	for range n {
		b.flows++
		id := binary.BigEndian.AppendUint64(make([]byte, 8), uint64(b.flows))
		for i, stage := range stages {
			at := begin.AddDate(0, 0, days).Add(time.Duration(i)*time.Hour + time.Duration(b.flows%50)*time.Minute)
			all = append(all, &federalv1.Fact{FlowId: id, Kind: stage, FromNode: from, ToNode: to, EventTime: timestamppb.New(at)})
		}
	}
	if err := b.deliver(from, "referral", flow.FactsKind, marshal(b.t, &federalv1.Facts{Facts: all})); err != nil {
		b.t.Fatal(err)
	}
}

// publish has the months published that are to be at a time.
func (b *bench) publish(at time.Time) (next time.Time) {
	b.t.Helper()
	b.now = at
	next, err := b.PublishMonths(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return next
}

func (b *bench) revise(id string) []*federalv1.Publication {
	b.t.Helper()
	response, err := b.RevisePublications(b.t.Context(), revision(id), "nodes/federal/workers/w")
	if err != nil {
		b.t.Fatal(err)
	}
	return response.GetPublications()
}

func revision(id string) *federalv1.RevisePublicationsRequest {
	return &federalv1.RevisePublicationsRequest{RequestId: id, Reason: federalv1.RevisionReason_REVISION_REASON_LATE_LETTERS}
}

func (b *bench) publication(name string) *federalv1.Publication {
	b.t.Helper()
	p, err := b.GetPublication(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// published are the names of a list, read in pages of two.
func (b *bench) published(filter *federalv1.ListPublicationsRequest_Filter) (names []string) {
	b.t.Helper()
	for request := (&federalv1.ListPublicationsRequest{Filter: filter, PageSize: 2}); ; {
		page, err := b.ListPublications(b.t.Context(), request)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, p := range page.GetPublications() {
			if len(p.GetTables())+len(p.GetCodes()) > 0 {
				b.t.Error("a list has the tables")
			}
			names = append(names, p.GetName())
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return names
		}
	}
}

// figure is a figure as it is published: a number, or c.
func figure(t *testing.T, p *federalv1.Publication, table, origin, destination, code string) string {
	t.Helper()
	file, err := sheets.CSV(p)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := func(row []string, column string) string { return row[slices.Index(sheets.Columns, column)] }
	for _, row := range rows {
		if at(row, "table") == table && at(row, "origin") == origin && at(row, "destination") == destination && at(row, "code") == code {
			return at(row, "value") + at(row, "mark")
		}
	}
	t.Fatalf("there is no %s %s %s %s", table, origin, destination, code)
	return ""
}

// settledTime is when March may be published.
var settledTime = time.Date(2026, 4, 11, 0, 0, 0, 0, zone.Karachi)

const day = 24 * time.Hour

// A month is published ten days after its end, in Asia/Karachi, when nothing has come to it for a day.
func TestAMonthIsPublishedWhenItHasSettled(t *testing.T) {
	b := newBench(t)
	if next := b.publish(begin); !next.Equal(begin.Add(time.Hour)) || b.published(nil) != nil {
		t.Errorf("nothing was told, and it looks again at %v", next)
	}
	b.many(40, "sindh>punjab", 1, facts.Referred)
	if b.publish(settledTime.Add(-time.Minute)); b.published(nil) != nil {
		t.Error("it is published before its time")
	}
	if next := b.publish(settledTime.Add(-10 * time.Minute)); !next.Equal(settledTime) {
		t.Errorf("it looks again at %v", next)
	}
	b.publish(settledTime)
	b.publish(settledTime.Add(day - time.Second))
	b.many(1, "sindh>punjab", 2, facts.Referred) // a day has not passed without a letter
	b.publish(settledTime.Add(day))
	if next := b.publish(settledTime.Add(2*day - time.Minute)); b.published(nil) != nil || !next.Equal(settledTime.Add(2*day)) {
		t.Errorf("it is published, or looks again at %v", next)
	}
	b.publish(settledTime.Add(2 * day))
	if got := b.published(nil); !slices.Equal(got, []string{"publications/2026-03-e1"}) {
		t.Fatalf("published: %v", got)
	}
	if got := figure(t, b.publication("publications/2026-03-e1"), "referred", "PK", "", ""); got != "41" {
		t.Errorf("referred: %s", got)
	}
	if b.publish(settledTime.Add(9 * day)); len(b.published(nil)) != 1 {
		t.Error("it is published twice")
	}
}

// Where something comes every day, it is not waited for longer than twenty days.
func TestAMonthIsNotWaitedForForever(t *testing.T) {
	b := newBench(t)
	days := 0
	for ; b.published(nil) == nil && days < 50; days++ {
		b.many(1, "sindh>punjab", 1, facts.Referred)
		b.publish(settledTime.Add(time.Duration(days) * day))
	}
	if days != 21 {
		t.Errorf("it was waited for %d days", days)
	}
}

// A province with a node of which nothing is told is in the tables: that it has nothing is not told either.
func TestAProvinceOfWhichNothingIsTold(t *testing.T) {
	b := newBench(t)
	b.many(40, "sindh>punjab", 1, facts.Referred)
	b.now = settledTime
	b.revise("revision-1")
	if got := figure(t, b.publication("publications/2026-03-e1"), "referred", "PK-BA", "", ""); got != "c" {
		t.Errorf("referred from Balochistan: %q", got)
	}
}

// An edition never changes. A revision publishes all months anew, takes in what is much, and leaves what is little.
func TestARevisionPublishesTheWholeSet(t *testing.T) {
	b := newBench(t)
	b.many(40, "sindh>punjab", 1, facts.Referred, facts.Accepted)
	b.many(30, "sindh>balochistan", 1, facts.Referred)
	for _, way := range []string{"sindh>sindh", "sindh>", "punjab>sindh", "balochistan>sindh"} { // beside which nothing need be hidden
		b.many(20, way, 1, facts.Referred)
	}
	b.many(20, "sindh>punjab", 33, facts.Referred) // April
	b.now = settledTime.AddDate(0, 1, 5)
	b.many(20, "sindh>punjab", 80, facts.Referred) // May has not settled
	if got := b.revise("revision-0"); len(got) != 2 || got[0].GetName() != "publications/2026-03-e1" || got[0].GetReason() != 0 {
		t.Fatalf("first editions: %v", got)
	}
	before := []*federalv1.Publication{b.publication("publications/2026-03-e1"), b.publication("publications/2026-04-e1")}
	b.many(10, "sindh>punjab", 2, facts.Referred)
	b.many(11, "sindh>balochistan", 2, facts.Referred)
	if got := figure(t, before[0], "referred", "PK", "", ""); got != "150" {
		t.Errorf("first edition: %s", got)
	}
	got := b.revise("revision-1")
	if len(got) != 2 || got[0].GetName() != "publications/2026-03-e2" || got[1].GetName() != "publications/2026-04-e2" || got[0].GetReason() != federalv1.RevisionReason_REVISION_REASON_LATE_LETTERS {
		t.Fatalf("revised: %v", got)
	}
	second := b.publication("publications/2026-03-e2")
	for _, c := range []struct{ destination, want string }{{"PK-PB", "40"}, {"PK-BA", "41"}, {"", "121"}} {
		if got := figure(t, second, "referred", "PK-SD", c.destination, ""); got != c.want {
			t.Errorf("to %q: %s, want %s", c.destination, got, c.want)
		}
	}
	b.many(1, "sindh>punjab", 2, facts.Referred) // now eleven are missing
	b.revise("revision-2")
	if got := figure(t, b.publication("publications/2026-03-e3"), "referred", "PK-SD", "PK-PB", ""); got != "51" {
		t.Errorf("to Punjab: %s", got)
	}
	for _, old := range before {
		if !proto.Equal(old, b.publication(old.GetName())) {
			t.Errorf("%s has changed", old.GetName())
		}
	}
	for _, c := range []struct {
		filter *federalv1.ListPublicationsRequest_Filter
		want   []string
	}{
		{nil, []string{"2026-04-e3", "2026-04-e2", "2026-04-e1", "2026-03-e3", "2026-03-e2", "2026-03-e1"}},
		{&federalv1.ListPublicationsRequest_Filter{Month: "2026-03"}, []string{"2026-03-e3", "2026-03-e2", "2026-03-e1"}},
		{&federalv1.ListPublicationsRequest_Filter{Newest: true}, []string{"2026-04-e3", "2026-03-e3"}},
		{&federalv1.ListPublicationsRequest_Filter{Newest: true, Month: "2026-03"}, []string{"2026-03-e3"}},
		{&federalv1.ListPublicationsRequest_Filter{Month: "2025-03"}, nil},
	} {
		var names []string
		for _, name := range b.published(c.filter) {
			names = append(names, strings.TrimPrefix(name, "publications/"))
		}
		if !slices.Equal(names, c.want) {
			t.Errorf("%v: %v, want %v", c.filter, names, c.want)
		}
	}
}

// A request that is repeated makes nothing; its id with another body is refused. Who asked stands in the audit log, once.
func TestARevisionIsMadeOnce(t *testing.T) {
	b := newBench(t)
	b.many(40, "sindh>punjab", 1, facts.Referred)
	b.now = settledTime
	first := b.revise("revision-1")
	b.now = settledTime.Add(day)
	if again := b.revise("revision-1"); len(first) != 1 || len(again) != 1 || !proto.Equal(first[0], again[0]) || len(b.published(nil)) != 1 {
		t.Errorf("%v, then %v", first, again)
	}
	other := revision("revision-1")
	other.Reason = federalv1.RevisionReason_REVISION_REASON_CORRECTIONS
	if _, err := b.RevisePublications(t.Context(), other, "nodes/federal/workers/w"); fault.ReasonOf(err) != fault.IdempotencyMismatch {
		t.Errorf("another body: %v", err)
	}
	err := b.DB.View(t.Context(), func(r kitstore.Reader) error {
		rows, err := store.Audit.Page(r, 0, 10)
		if len(rows) != 1 || rows[0].GetPerson() != "nodes/federal/workers/w" || !strings.HasSuffix(rows[0].GetPurpose(), "LATE_LETTERS") {
			t.Errorf("audit: %v", rows)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.GetPublication(t.Context(), "publications/2026-03-e2"); !errors.Is(err, fault.NotFound("publication")) {
		t.Errorf("an edition that is none: %v", err)
	}
}

// Every figure is where it belongs, and of small ones nothing is told.
func TestWhatAMonthTells(t *testing.T) {
	b := newBench(t)
	b.many(120, "sindh>punjab", 1, facts.Referred, facts.Accepted, facts.Dispatched, facts.Arrived)
	b.many(13, "sindh>sindh", 1, facts.Referred)
	b.many(12, "sindh>", 1, facts.Referred) // an agency outside
	b.many(6, "sindh>balochistan", 1, facts.Referred)
	b.many(50, "sindh>", 2, facts.Identified)
	var coded []*federalv1.Fact
	code := func(n int, kind, code string) {
		for range n {
			b.flows++
			coded = append(coded, &federalv1.Fact{
				FlowId: binary.BigEndian.AppendUint64(make([]byte, 8), uint64(b.flows)), Kind: kind, FromNode: "sindh", ToNode: "punjab",
				EventTime: timestamppb.New(begin.AddDate(0, 0, 5)), Code: code,
			})
		}
	}
	code(20, facts.Declined, "NO_CAPACITY")
	code(15, facts.Declined, "TOMORROWS_CODE")
	code(14, facts.Unanswered, "")
	code(30, facts.Completed, "REUNIFIED")
	code(40, facts.Service, "PSYCHOSOCIAL")
	if err := b.deliver("sindh", "referral", flow.FactsKind, marshal(t, &federalv1.Facts{Facts: coded})); err != nil {
		t.Fatal(err)
	}
	err := b.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
		for i, d := range []*federalv1.ShelterDay{
			{Day: "2026-02-28", Total: 900, Occupied: 800},
			{Day: "2026-03-15", Total: 100, Occupied: 20},
			{Day: "2026-03-31", Total: 100, Occupied: 60},
			{Day: "2026-04-01", Total: 100, Occupied: 70},
		} {
			if err := store.Shelters.Put(tx, kitstore.K("sindh", d.GetDay()), &federalv1.ShelterRecord{Node: "sindh", Day: d}); err != nil {
				return err
			}
			if i == 2 {
				d = &federalv1.ShelterDay{Day: d.GetDay(), Total: 80, Occupied: 44}
				for _, node := range []string{"punjab", "balochistan"} {
					if err := store.Shelters.Put(tx, kitstore.K(node, d.GetDay()), &federalv1.ShelterRecord{Node: node, Day: d}); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.now = settledTime
	b.revise("revision-1")
	p := b.publication("publications/2026-03-e1")
	for _, c := range []struct{ table, origin, destination, code, want string }{
		{"identified", "PK", "", "", "50"},
		{"identified", "PK-SD", "", "", "c"}, // the others have none, so it could be worked out that they have none
		{"referred", "PK", "", "", "151"},
		{"referred", "PK-SD", "", "", "c"},
		{"declines", "PK", "", "", "49"},
		{"declines", "PK", "", "NO_CAPACITY", "20"},
		{"declines", "PK", "", "UNANSWERED", "c"}, // next to the codes of which there are none
		{"declines", "PK", "", "OTHER", "15"},
		{"outcomes", "PK", "", "", "30"},
		{"outcomes", "PK", "", "REUNIFIED", "c"},
		{"services", "PK", "", "", "40"},
		{"occupied_beds", "PK-SD", "", "", "60"},
		{"occupied_beds", "PK", "", "", "148"},
		{"time_to_accept", "PK-SD", "", "P50", "c"}, // since its count is hidden
	} {
		if got := figure(t, p, c.table, c.origin, c.destination, c.code); got != c.want {
			t.Errorf("%s %s>%s %s: %s, want %s", c.table, c.origin, c.destination, c.code, got, c.want)
		}
	}
}

// What was told of beds in another month says nothing of this one.
func TestBedsOfAnotherMonth(t *testing.T) {
	b := newBench(t)
	b.many(40, "sindh>punjab", 1, facts.Referred)
	err := b.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
		for _, day := range []string{"2026-02-28", "2026-04-01"} {
			record := &federalv1.ShelterRecord{Node: "sindh", Day: &federalv1.ShelterDay{Day: day, Total: 100, Occupied: 50}}
			if err := store.Shelters.Put(tx, kitstore.K("sindh", day), record); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.now = settledTime
	b.revise("revision-1")
	for _, table := range b.publication("publications/2026-03-e1").GetTables() {
		for _, c := range table.GetCells() {
			if table.GetTable() == "occupied_beds" && (c.GetBeds() != 0 || !c.GetHidden()) {
				t.Errorf("%v", c)
			}
		}
	}
}

// No figure is of a node, a unit or a district, no field can name a person, and every code is of a list.
func TestWhatIsPublishedIsOfProvincesAlone(t *testing.T) {
	b := newBench(t)
	b.many(120, "sindh>punjab", 1, facts.Referred, facts.Accepted, facts.Dispatched, facts.Arrived)
	b.now = settledTime
	b.revise("revision-1")
	p := b.publication("publications/2026-03-e1")
	for _, table := range p.GetTables() {
		for _, c := range table.GetCells() {
			origin := c.GetOrigin() == rules.Country || codes.Valid(codes.Province, c.GetOrigin())
			destination := c.GetDestination() == "" || c.GetDestination() == rules.Outside || codes.Valid(codes.Province, c.GetDestination())
			if !origin || !destination {
				t.Errorf("%s: %v", table.GetTable(), c)
			}
		}
	}
	var walk func(m protoreflect.Message)
	walk = func(m protoreflect.Message) {
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.IsList() && f.Message() != nil:
				for i := range v.List().Len() {
					walk(v.List().Get(i).Message())
				}
			case f.Kind() == protoreflect.StringKind:
				for _, node := range []string{"sindh", "punjab", "balochistan"} {
					if v.String() == node {
						t.Errorf("%s says %q", f.FullName(), v)
					}
				}
				if codes.Valid(codes.District, v.String()) {
					t.Errorf("%s says the district %q", f.FullName(), v)
				}
			}
			return true
		})
	}
	walk(p.ProtoReflect())
}

// A file is what the publication says, as what it says it is, and the same bytes each time.
func TestFilesOfAPublication(t *testing.T) {
	b := newBench(t)
	b.many(120, "sindh>punjab", 1, facts.Referred, facts.Accepted)
	b.now = settledTime
	b.revise("revision-1")
	const name = "publications/2026-03-e1"
	p := b.publication(name)
	export := func(format federalv1.PublicationFormat) (string, []byte) {
		file, err := b.ExportPublication(t.Context(), &federalv1.ExportPublicationRequest{Name: name, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.ExportPublication(t.Context(), &federalv1.ExportPublicationRequest{Name: name, Format: format})
		if err != nil || !bytes.Equal(file.GetData(), again.GetData()) {
			t.Errorf("%v: the bytes differ: %v", format, err)
		}
		return file.GetContentType(), file.GetData()
	}
	text, err := sheets.CSV(p)
	if err != nil {
		t.Fatal(err)
	}
	if kind, file := export(0); kind != "text/csv; charset=utf-8; header=present" || !bytes.Equal(file, text) {
		t.Errorf("CSV: %s", kind)
	}
	kind, file := export(federalv1.PublicationFormat_PUBLICATION_FORMAT_JSON)
	read := &federalv1.Publication{}
	if err := protojson.Unmarshal(file, read); err != nil || kind != "application/json" || !proto.Equal(read, p) {
		t.Errorf("JSON: %s, %v", kind, err)
	}
	var plain struct {
		Tables []struct {
			Table string
			Cells []struct{ Value float64 } // a number, not a text
		}
	}
	if err := json.Unmarshal(file, &plain); err != nil || plain.Tables[1].Cells[0].Value != 120 {
		t.Errorf("JSON: %v %v", err, plain.Tables)
	}
	book, err := sheets.XLSX(p)
	if err != nil {
		t.Fatal(err)
	}
	if kind, file := export(federalv1.PublicationFormat_PUBLICATION_FORMAT_XLSX); !strings.Contains(kind, "spreadsheetml") || !bytes.Equal(file, book) {
		t.Errorf("XLSX: %s", kind)
	}
	if _, err := b.ExportPublication(t.Context(), &federalv1.ExportPublicationRequest{Name: "publications/2026-02-e1"}); !errors.Is(err, fault.NotFound("publication")) {
		t.Errorf("a month that is none: %v", err)
	}
}
