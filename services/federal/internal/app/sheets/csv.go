// Package sheets writes publications as files that people open: the same bytes for the same publication, and nothing in them that a
// spreadsheet would take for a formula.
package sheets

import (
	"bytes"
	"encoding/csv"
	"strconv"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
)

// Hidden is the mark of a figure that is not told: c, confidential, as statistical offices have it (SDMX, CL_CONF_STATUS).
const Hidden = "c"

// Columns are those of a CSV file, in order.
var Columns = []string{
	"month", "edition", "table", "table_en", "table_ur", "level",
	"origin", "origin_en", "origin_ur", "destination", "destination_en", "destination_ur", "code", "code_en", "code_ur",
	"unit", "value", "mark", "beds",
}

// Levels of a figure: what it is a total of. Figures of one level do not overlap.
const (
	levelCountry  = "country"
	levelProvince = "province"
	levelCorridor = "corridor"
	levelCode     = "code"
)

// CSV is all tables in one file of RFC 4180, UTF-8 without a byte order mark: a row for each figure, so that files of several months put
// together are still one table. The value of a hidden figure is empty, so that the column is of numbers alone, and its mark is [Hidden].
func CSV(p *federalv1.Publication) ([]byte, error) {
	var file bytes.Buffer
	w := csv.NewWriter(&file)
	w.UseCRLF = true
	if err := w.Write(Columns); err != nil {
		return nil, err
	}
	labels := labelsOf(p)
	for _, t := range p.GetTables() {
		for _, c := range t.GetCells() {
			if err := w.Write(record(p, t, c, labels)); err != nil {
				return nil, err
			}
		}
	}
	w.Flush()
	return file.Bytes(), w.Error()
}

func record(p *federalv1.Publication, t *federalv1.PublishedTable, c *federalv1.PublishedCell, labels labels) []string {
	origin, destination, code := labels.of(t, "origin", c.GetOrigin()), labels.of(t, "destination", c.GetDestination()), labels.of(t, "code", c.GetCode())
	value, mark, beds := strconv.Itoa(int(c.GetValue())), "", ""
	if c.GetHidden() {
		value, mark = "", Hidden
	}
	if t.GetUnit() == "beds" {
		beds = strconv.Itoa(int(c.GetBeds()))
	}
	fields := []string{
		p.GetMonth(), strconv.Itoa(int(p.GetEdition())), t.GetTable(), t.GetTitleEn(), t.GetTitleUr(), level(c),
		c.GetOrigin(), origin.en, origin.ur, c.GetDestination(), destination.en, destination.ur, c.GetCode(), code.en, code.ur, t.GetUnit(),
	}
	for i := range fields {
		fields[i] = Safe(fields[i])
	}
	return append(fields, value, mark, beds)
}

func level(c *federalv1.PublishedCell) string {
	switch {
	case c.GetDestination() != "":
		return levelCorridor
	case c.GetOrigin() != rules.Country:
		return levelProvince
	case c.GetCode() != "":
		return levelCode
	}
	return levelCountry
}

// Safe is a text that no spreadsheet takes for a formula: one that begins as formulas do gets an apostrophe in front (OWASP, CSV injection).
func Safe(text string) string {
	if text == "" {
		return text
	}
	switch text[0] {
	case '=', '+', '-', '@', '\t', '\r', '\n':
		return "'" + text
	}
	for _, wide := range []string{"＝", "＋", "－", "＠"} { // full-width forms, which some programs take for the same
		if len(text) >= len(wide) && text[:len(wide)] == wide {
			return "'" + text
		}
	}
	return text
}

type label struct{ en, ur string }

// labels are what codes mean, by table (empty: any), column and code.
type labels map[[3]string]label

func labelsOf(p *federalv1.Publication) labels {
	all := labels{}
	for _, c := range p.GetCodes() {
		all[[3]string{c.GetTable(), c.GetColumn(), c.GetCode()}] = label{c.GetLabelEn(), c.GetLabelUr()}
	}
	return all
}

func (l labels) of(t *federalv1.PublishedTable, column, code string) label {
	if found, ok := l[[3]string{t.GetTable(), column, code}]; ok {
		return found
	}
	return l[[3]string{"", column, code}]
}
