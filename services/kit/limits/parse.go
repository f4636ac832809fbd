package limits

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/codes"
)

var (
	riskColumns  = []string{"risk", "acknowledge", "answer", "seen", "follow_up", "law", "source"}
	legalColumns = []string{"id", "province", "district", "event", "step", "limit", "law", "section", "source"}
	idForm       = regexp.MustCompile(`^[a-z][a-z0-9-]{2,40}$`)
)

// file is a table while it is read.
type file struct {
	name    string
	columns []string
	rows    *csv.Reader
	row     []string
}

func open(name string, content []byte, columns []string) (*file, error) {
	f := &file{name: name, columns: columns, rows: csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))))}
	f.rows.Comment, f.rows.ReuseRecord = '#', false
	if !utf8.Valid(content) {
		return nil, fmt.Errorf("%s: must be UTF-8", name)
	}
	more, err := f.next()
	if err != nil {
		return nil, err
	}
	if !more || !slices.Equal(f.row, columns) {
		return nil, fmt.Errorf("%s:1:1: the first line must be %s", name, strings.Join(columns, ","))
	}
	return f, nil
}

// next reads a row; false at the end.
func (f *file) next() (more bool, err error) {
	f.row, err = f.rows.Read()
	switch broken, ok := errors.AsType[*csv.ParseError](err); {
	case errors.Is(err, io.EOF):
		return false, nil
	case ok && errors.Is(err, csv.ErrFieldCount):
		return false, fmt.Errorf("%s:%d:1: must have %d columns: %s", f.name, broken.Line, len(f.columns), strings.Join(f.columns, ","))
	case ok:
		return false, fmt.Errorf("%s:%d:%d: %w", f.name, broken.Line, broken.Column, broken.Err)
	case err != nil:
		return false, fmt.Errorf("%s: %w", f.name, err)
	}
	return true, nil
}

func (f *file) at(column string) string { return f.row[slices.Index(f.columns, column)] }

// wrong is the error of a column. It does not repeat what stood there.
func (f *file) wrong(column, sentence string) error {
	line, at := f.rows.FieldPos(slices.Index(f.columns, column))
	return fmt.Errorf("%s:%d:%d: %s %s", f.name, line, at, column, sentence)
}

// duration reads a limit such as 90m, 24h or 30d.
func (f *file) duration(column string) (time.Duration, error) {
	text := f.at(column)
	unit := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[text[max(0, len(text)-1):]]
	n, err := strconv.Atoi(text[:max(0, len(text)-1)])
	if unit == 0 || err != nil || n < 1 || n > int(longest/unit) {
		return 0, f.wrong(column, "must be a number with m, h or d, such as 24h, and at most 366d")
	}
	return time.Duration(n) * unit, nil
}

// source reads by what a row holds: without it nobody could say why.
func (f *file) source() (law string, s Source, err error) {
	law, s = f.at("law"), Source(f.at("source"))
	switch {
	case strings.TrimSpace(law) == "" || len(law) > maxField:
		err = f.wrong("law", fmt.Sprintf("must name the law, rule or proposal, in at most %d bytes", maxField))
	case !slices.Contains([]Source{Read, SecondHand, Proposal}, s):
		err = f.wrong("source", "must be S (read in a source), 2 (second-hand) or P (proposal)")
	}
	return law, s, err
}

func parseRisks(name string, content []byte) (all []Risk, err error) {
	f, err := open(name, content, riskColumns)
	if err != nil {
		return nil, err
	}
	for {
		more, err := f.next()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		r, err := f.risk()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(other Risk) bool { return other.Urgency == r.Urgency }) {
			return nil, f.wrong("risk", "stands twice")
		}
		all = append(all, r)
	}
	if len(all) != 3 {
		return nil, fmt.Errorf("%s: must have a row for each of high, medium and low", name)
	}
	slices.SortFunc(all, func(a, b Risk) int { return cmp.Compare(a.Urgency, b.Urgency) })
	return all, nil
}

func (f *file) risk() (r Risk, err error) {
	names := map[string]custodyv1.Urgency{
		"high": custodyv1.Urgency_URGENCY_HIGH, "medium": custodyv1.Urgency_URGENCY_MEDIUM, "low": custodyv1.Urgency_URGENCY_LOW,
	}
	if r.Urgency = names[f.at("risk")]; r.Urgency == 0 {
		return r, f.wrong("risk", "must be high, medium or low")
	}
	for column, to := range map[string]*time.Duration{
		"acknowledge": &r.Acknowledge, "answer": &r.Answer, "seen": &r.Seen, "follow_up": &r.FollowUp,
	} {
		if *to, err = f.duration(column); err != nil {
			return r, err
		}
	}
	r.Law, r.Source, err = f.source()
	return r, err
}

func parseLaws(name string, content []byte) (all []Legal, err error) {
	f, err := open(name, content, legalColumns)
	if err != nil {
		return nil, err
	}
	for {
		more, err := f.next()
		if err != nil || !more {
			return all, err
		}
		l, err := f.legal()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(other Legal) bool { return other.ID == l.ID }) {
			return nil, f.wrong("id", "stands twice")
		}
		if all = append(all, l); len(all) > maxRows {
			return nil, f.wrong("id", fmt.Sprintf("is one row too many: at most %d", maxRows))
		}
	}
}

func (f *file) legal() (l Legal, err error) {
	l = Legal{
		ID: f.at("id"), Province: f.at("province"), District: f.at("district"), Event: f.at("event"),
		Step: f.at("step"), Section: f.at("section"),
	}
	district, known := codes.Find(codes.District, l.District)
	switch {
	case !idForm.MatchString(l.ID):
		return l, f.wrong("id", "must be 3 to 41 small letters, digits and hyphens, such as punjab-court")
	case l.Province != "" && !codes.Valid(codes.Province, l.Province):
		return l, f.wrong("province", "must be an ISO 3166-2 code such as PK-PB, or empty for all")
	case l.District != "" && (!known || district.Province != l.Province):
		return l, f.wrong("district", "must be a district of the province, or empty for all")
	case !slices.Contains(events, l.Event):
		return l, f.wrong("event", "must be one of "+strings.Join(events, ", "))
	case !codes.Valid(codes.Deadline, l.Step):
		return l, f.wrong("step", "must be a code of the list deadline, such as COURT_PRODUCTION")
	case (l.Event == EventStep) && !slices.Contains(riskSteps, l.Step):
		return l, f.wrong("step", "must be one of "+strings.Join(riskSteps, ", ")+" where the event is step")
	case len(l.Section) > maxField:
		return l, f.wrong("section", fmt.Sprintf("must have at most %d bytes", maxField))
	}
	if l.Limit, err = f.duration("limit"); err != nil {
		return l, err
	}
	l.Law, l.Source, err = f.source()
	return l, err
}
