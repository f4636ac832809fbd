package sheets_test

import (
	"bytes"
	"encoding/csv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/app/sheets"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/kit/rpc"
)

// sample is a publication with all there can be in one.
func sample(t *testing.T) *federalv1.Publication {
	t.Helper()
	c := newCountry(rand.New(rand.NewPCG(7, 5)), allProvinces)
	for _, table := range []string{rules.TableTimeToAccept, rules.TableTimeToArrive} {
		for hours := range 120 {
			d := time.Duration(hours) * time.Hour
			c.leaves = append(c.leaves, rules.Leaf{Table: table, Path: []string{"PK-PB", rules.Bucket(d)}, Value: 1})
		}
	}
	for _, table := range []string{rules.TableAccepted, rules.TableArrived} {
		c.leaves = append(c.leaves, rules.Leaf{Table: table, Path: []string{"PK-PB", "PK-SD"}, Value: 120})
	}
	for i, code := range []string{"NO_CAPACITY", "TOO_FAR", "OTHER", "A_CODE_OF_TOMORROW"} {
		c.leaves = append(c.leaves, rules.Leaf{Table: rules.TableDeclines, Path: []string{code}, Value: int64(20 + i)})
	}
	p := &federalv1.Publication{
		Name: "publications/2026-11-e2", Month: "2026-11", PublishTime: timestamppb.New(time.Unix(1_797_000_000, 0)),
		Reason: federalv1.RevisionReason_REVISION_REASON_LATE_LETTERS,
	}
	m := rules.Published.FirstEdition(c.provinces, c.leaves)
	m.Edition = 2
	rules.Published.Tell(m, p)
	return p
}

// open reads both files of a publication: the rows of the CSV, and the workbook.
func open(t *testing.T, p *federalv1.Publication) ([][]string, *excelize.File) {
	t.Helper()
	text, err := sheets.CSV(p)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	file, err := sheets.XLSX(p)
	if err != nil {
		t.Fatal(err)
	}
	book, err := excelize.OpenReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = book.Close() })
	return rows, book
}

// The files say what the message says, a number as a number, a figure that is not told by its mark, and each code with what it means.
func TestFilesSayWhatTheMessageSays(t *testing.T) {
	p := sample(t)
	rows, book := open(t, p)
	if !slices.Equal(rows[0], sheets.Columns) {
		t.Errorf("the columns are %v", rows[0])
	}
	at, hidden := 0, 0
	for _, table := range p.GetTables() {
		heading, err := book.Rows(table.GetTable())
		if err != nil || !heading.Next() {
			t.Fatalf("%s has no sheet: %v", table.GetTable(), err)
		}
		columns, err := heading.Columns()
		if err != nil {
			t.Fatal(err)
		}
		value := slices.Index(columns, table.GetUnit()) + 1
		for i, c := range table.GetCells() {
			at++
			row := map[string]string{}
			for j, field := range rows[at] {
				row[sheets.Columns[j]] = field
			}
			want, mark := strconv.Itoa(int(c.GetValue())), ""
			if c.GetHidden() {
				want, mark = "", sheets.Hidden
				hidden++
			}
			if row["table"] != table.GetTable() || row["origin"] != c.GetOrigin() || row["destination"] != c.GetDestination() || row["code"] != c.GetCode() || row["value"] != want || row["mark"] != mark || row["month"] != "2026-11" || row["edition"] != "2" {
				t.Fatalf("row %d is %v, want %v", at, row, c)
			}
			for _, column := range []string{"origin", "destination", "code"} {
				if row[column] != "" && (row[column+"_en"] == "" || row[column+"_ur"] == "" || row[column+"_ur"] == row[column+"_en"]) {
					t.Errorf("%s: what %s %q means is not said: %v", table.GetTable(), column, row[column], row)
				}
			}
			cell, err := excelize.CoordinatesToCellName(value, i+2)
			if err != nil {
				t.Fatal(err)
			}
			got, err := book.GetCellValue(table.GetTable(), cell, excelize.Options{RawCellValue: true})
			kind, failed := book.GetCellType(table.GetTable(), cell)
			if err != nil || failed != nil {
				t.Fatal(err, failed)
			}
			number := kind == excelize.CellTypeUnset || kind == excelize.CellTypeNumber
			if got != want+mark || number == c.GetHidden() {
				t.Errorf("%s!%s is %q (%v), want %q%s", table.GetTable(), cell, got, kind, want, mark)
			}
		}
	}
	if at != len(rows)-1 || hidden == 0 || hidden == at {
		t.Errorf("%d rows, %d cells, %d hidden", len(rows)-1, at, hidden)
	}
	about, err := book.GetRows(sheets.About)
	if err != nil {
		t.Fatal(err)
	}
	explained := func(name string) bool {
		return slices.ContainsFunc(about, func(row []string) bool { return len(row) == 3 && row[0] == name && row[1] != "" && row[2] != "" })
	}
	for _, name := range append(book.GetSheetList()[1:], sheets.Hidden, "revision", "later editions") {
		if !explained(name) {
			t.Errorf("%q is not explained", name)
		}
	}
	if len(book.GetSheetList()) != len(p.GetTables())+1 {
		t.Errorf("the sheets are %v", book.GetSheetList())
	}
}

// What begins as a formula is a text in both files, wherever it comes from.
func TestNothingIsAFormula(t *testing.T) {
	p := sample(t)
	evil := []string{"=HYPERLINK(\"x\")", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＠a"}
	for i, text := range evil {
		p.Codes[i].LabelEn, p.Codes[i].LabelUr = text, text
		p.Tables[0].Cells = append(p.Tables[0].Cells, &federalv1.PublishedCell{Origin: p.Codes[i].GetCode(), Code: text, Value: 20})
	}
	p.Tables[0].TitleEn = "=1"
	rows, book := open(t, p)
	found := 0
	for _, row := range rows {
		for i, field := range row {
			if strings.ContainsAny(sheets.Columns[i], "_") || sheets.Columns[i] == "code" || sheets.Columns[i] == "origin" {
				if field != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(field)[0]) {
					t.Errorf("%s: %q", sheets.Columns[i], field)
				}
				if strings.HasPrefix(field, "'") {
					found++
				}
			}
		}
	}
	for _, sheet := range book.GetSheetList() {
		cells, err := book.GetRows(sheet)
		if err != nil {
			t.Fatal(err)
		}
		for y, row := range cells {
			for x, field := range row {
				name, err := excelize.CoordinatesToCellName(x+1, y+1)
				if err != nil {
					t.Fatal(err)
				}
				formula, err := book.GetCellFormula(sheet, name)
				if err != nil {
					t.Fatal(err)
				}
				if formula != "" || field != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(field)[0]) {
					t.Errorf("%s!%s: %q, formula %q", sheet, name, field, formula)
				}
			}
		}
	}
	if found < len(evil) {
		t.Errorf("only %d were found", found)
	}
}

// The same publication is the same bytes, and few enough for one answer with all provinces in it. RFC 4180 wants its lines to end in CRLF.
func TestFilesAreReproducible(t *testing.T) {
	for name, write := range map[string]func(*federalv1.Publication) ([]byte, error){"csv": sheets.CSV, "xlsx": sheets.XLSX} {
		first, err := write(sample(t))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			again, err := write(sample(t))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first, again) {
				t.Fatalf("%s: the bytes differ", name)
			}
		}
		t.Logf("%s: %d bytes", name, len(first))
		if len(first) > rpc.MaxMessageBytes/4 {
			t.Errorf("%s: %d bytes", name, len(first))
		}
		if name == "csv" && bytes.Count(first, []byte("\n")) != bytes.Count(first, []byte("\r\n")) {
			t.Error("a line does not end in CRLF")
		}
	}
}
