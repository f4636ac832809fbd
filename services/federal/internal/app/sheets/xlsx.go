package sheets

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/xuri/excelize/v2"

	federalv1 "amanat.example/proto/amanat/federal/v1"
)

// About is the sheet that explains.
const About = "about"

// XLSX is a workbook with a sheet for each table, named as the table is, and first one that explains.
func XLSX(p *federalv1.Publication) (file []byte, err error) {
	f := excelize.NewFile()
	defer func() { err = errors.Join(err, f.Close()) }()
	b := &book{File: f}
	b.prepare(p)
	b.about(p)
	labels := labelsOf(p)
	for _, t := range p.GetTables() {
		b.table(t, labels)
	}
	if b.err != nil {
		return nil, fmt.Errorf("write a workbook: %w", b.err)
	}
	var out bytes.Buffer
	err = f.Write(&out)
	return out.Bytes(), err
}

// book is a workbook that is being written; after an error nothing more is.
type book struct {
	*excelize.File
	err                              error
	heading, urdu, number, hide, top int // styles
}

func (b *book) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *book) style(s *excelize.Style) int {
	id, err := b.NewStyle(s)
	b.keep(err)
	return id
}

// prepare makes the styles and says whose file it is. Its times are those of the publication, so that its bytes are always the same.
func (b *book) prepare(p *federalv1.Publication) {
	thousands := "#,##0"
	rightToLeft := &excelize.Alignment{Horizontal: "right", ReadingOrder: 2}
	b.top = b.style(&excelize.Style{Font: &excelize.Font{Bold: true, Size: 14}})
	b.heading = b.style(&excelize.Style{Font: &excelize.Font{Bold: true}, Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"E7EEF3"}}})
	b.urdu = b.style(&excelize.Style{Alignment: rightToLeft})
	b.number = b.style(&excelize.Style{CustomNumFmt: &thousands})
	b.hide = b.style(&excelize.Style{Font: &excelize.Font{Color: "777777", Italic: true}, Alignment: &excelize.Alignment{Horizontal: "right"}})
	at := p.GetPublishTime().AsTime().UTC().Format(time.RFC3339)
	b.keep(b.SetDocProps(&excelize.DocProperties{
		Creator: "Amanat", LastModifiedBy: "Amanat", Title: "Amanat " + p.GetMonth(), Created: at, Modified: at, Version: fmt.Sprint(p.GetEdition()),
	}))
	b.keep(b.SetSheetName("Sheet1", About))
}

// put writes a cell: a number as a number, a text so that it is one.
func (b *book) put(sheet string, column, row int, value any, style int) {
	cell, err := excelize.CoordinatesToCellName(column, row)
	b.keep(err)
	if text, ok := value.(string); ok {
		b.keep(b.SetCellStr(sheet, cell, Safe(text)))
	} else {
		b.keep(b.SetCellValue(sheet, cell, value))
	}
	if style != 0 {
		b.keep(b.SetCellStyle(sheet, cell, cell, style))
	}
}

func (b *book) width(sheet string, column int, wide float64) {
	name, err := excelize.ColumnNumberToName(column)
	b.keep(err)
	b.keep(b.SetColWidth(sheet, name, name, wide))
}

// about is the sheet that explains, English and Urdu side by side.
func (b *book) about(p *federalv1.Publication) {
	b.width(About, 1, 24)
	b.width(About, 2, 90)
	b.width(About, 3, 90)
	b.put(About, 1, 1, "Amanat "+p.GetMonth(), b.top)
	row := 3
	say := func(what string, english, urdu any) {
		b.put(About, 1, row, what, 0)
		b.put(About, 2, row, english, 0)
		b.put(About, 3, row, urdu, b.urdu)
		row++
	}
	k := p.GetSmallestCount()
	say("month", p.GetMonth()+", by the calendar of Asia/Karachi", p.GetMonth()+"، پاکستان کے وقت کے مطابق")
	say("edition", p.GetEdition(), p.GetEdition())
	if reason, ok := reasons[p.GetReason()]; ok {
		say("revision", reason.en, reason.ur)
	}
	say("published", p.GetPublishTime().AsTime().UTC().Format(time.RFC3339), p.GetPublishTime().AsTime().UTC().Format(time.RFC3339))
	say(Hidden, fmt.Sprintf("Not told. A count below %d is never told, nor as many others as are needed so that it cannot be worked out.", k),
		fmt.Sprintf("نہیں بتایا گیا۔ %d سے کم تعداد کبھی نہیں بتائی جاتی، اور نہ وہ تعدادیں جن سے اس کا حساب لگایا جا سکے۔", k))
	say("later editions", fmt.Sprintf("A figure changes only where it is off by %d or more. Totals are the sums of what is published.", k),
		fmt.Sprintf("کوئی تعداد صرف تب بدلتی ہے جب فرق %d یا زیادہ ہو۔ کل تعداد شائع شدہ تعدادوں کا مجموعہ ہے۔", k))
	say("what counts", "Each figure counts what happened in the month, whenever the referral began.", "ہر تعداد وہ بتاتی ہے جو اس مہینے میں ہوا، چاہے ریفرل کبھی بھی شروع ہوا ہو۔")
	row++
	for column, heading := range []string{"sheet", "English", "اردو"} {
		b.put(About, column+1, row, heading, b.heading)
	}
	row++
	for _, t := range p.GetTables() {
		say(t.GetTable(), t.GetTitleEn(), t.GetTitleUr())
	}
}

var reasons = map[federalv1.RevisionReason]label{
	federalv1.RevisionReason_REVISION_REASON_LATE_LETTERS: {"Letters came after the month was published.", "مہینے کی اشاعت کے بعد مزید معلومات موصول ہوئیں۔"},
	federalv1.RevisionReason_REVISION_REASON_CORRECTIONS:  {"Provinces have corrected what they told.", "صوبوں نے اپنی معلومات درست کیں۔"},
}

// table is the sheet of one table: only the columns that it needs.
func (b *book) table(t *federalv1.PublishedTable, labels labels) {
	sheet := t.GetTable()
	_, err := b.NewSheet(sheet)
	b.keep(err)
	used := map[string]bool{}
	for _, c := range t.GetCells() {
		used["destination"] = used["destination"] || c.GetDestination() != ""
		used["code"] = used["code"] || c.GetCode() != ""
	}
	column := 0
	head := func(name string, wide float64) {
		column++
		b.put(sheet, column, 1, name, b.heading)
		b.width(sheet, column, wide)
	}
	for _, name := range []string{"origin", "destination", "code"} {
		if name == "origin" || used[name] {
			head(name, 16)
			head(name+"_en", 32)
			head(name+"_ur", 32)
		}
	}
	head(t.GetUnit(), 14)
	if t.GetUnit() == "beds" {
		head("beds_there_are", 16)
	}
	for i, c := range t.GetCells() {
		b.row(sheet, i+2, t, c, used, labels)
	}
	b.keep(b.SetPanes(sheet, &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}))
}

func (b *book) row(sheet string, row int, t *federalv1.PublishedTable, c *federalv1.PublishedCell, used map[string]bool, labels labels) {
	column := 0
	put := func(value any, style int) {
		column++
		b.put(sheet, column, row, value, style)
	}
	for _, part := range []struct{ name, code string }{{"origin", c.GetOrigin()}, {"destination", c.GetDestination()}, {"code", c.GetCode()}} {
		if part.name == "origin" || used[part.name] {
			l := labels.of(t, part.name, part.code)
			put(part.code, 0)
			put(l.en, 0)
			put(l.ur, b.urdu)
		}
	}
	if c.GetHidden() {
		put(Hidden, b.hide)
	} else {
		put(c.GetValue(), b.number)
	}
	if t.GetUnit() == "beds" {
		put(c.GetBeds(), b.number)
	}
}
