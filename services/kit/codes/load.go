package codes

import (
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed lists/*.csv
var files embed.FS

// columns stand in every file; districts have two more.
var (
	columns         = []string{"code", "label_en", "label_ur", "label_sd", "valid_from", "valid_to", "successor", "source"}
	districtColumns = append(slices.Clone(columns), "province", "predecessor")
)

// table is one list as loaded.
type table struct {
	version int
	entries []Entry
	rows    map[string]int // code to position in entries
}

// loaded reads every file once, at first use. The files are part of the binary, so a fault in them
// is a fault of the build, which the tests find.
var loaded = sync.OnceValues(func() (map[List]*table, error) {
	tables := make(map[List]*table)
	var faults []error
	for _, list := range Lists() {
		t, err := load(list)
		if err != nil {
			faults = append(faults, fmt.Errorf("code list %q: %w", list, err))
			continue
		}
		tables[list] = t
	}
	return tables, errors.Join(faults...)
})

func tableOf(list List) (*table, error) {
	tables, err := loaded()
	if t, ok := tables[list]; ok {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%q: %w", list, ErrUnknownList)
}

func load(list List) (*table, error) {
	f, err := files.Open("lists/" + string(list) + ".csv")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	want := columns
	if list == District {
		want = districtColumns
	}
	return read(f, want)
}

// read parses one file: a line with its version, a line with its columns, then the rows.
func read(r io.Reader, want []string) (*table, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	t := &table{rows: make(map[string]int)}
	if _, err := fmt.Sscanf(first, "# version %d,", &t.version); err != nil {
		return nil, fmt.Errorf("the first line must begin with %q: %w", "# version 1,", err)
	}
	rows := csv.NewReader(strings.NewReader(rest))
	header, err := rows.Read()
	if err != nil {
		return nil, err
	}
	if !slices.Equal(header, want) {
		return nil, fmt.Errorf("columns are %v, must be %v", header, want)
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		entry, err := parse(row)
		if err != nil {
			return nil, fmt.Errorf("code %q: %w", row[0], err)
		}
		if _, twice := t.rows[entry.Code]; twice {
			return nil, fmt.Errorf("code %q stands twice", entry.Code)
		}
		t.rows[entry.Code] = len(t.entries)
		t.entries = append(t.entries, entry)
	}
	if len(t.entries) == 0 {
		return nil, errors.New("has no rows")
	}
	return t, nil
}

func parse(row []string) (Entry, error) {
	entry := Entry{Code: row[0], Labels: make(map[Lang]string), Successors: strings.Fields(row[6]), Source: row[7]}
	for i, lang := range []Lang{English, Urdu, Sindhi} {
		if label := row[1+i]; label != "" {
			entry.Labels[lang] = label
		}
	}
	if entry.Code == "" || entry.Labels[English] == "" || entry.Source == "" {
		return Entry{}, errors.New("code, label_en and source must not be empty")
	}
	var err error
	if entry.ValidFrom, err = parseDay(row[4]); err != nil {
		return Entry{}, fmt.Errorf("valid_from: %w", err)
	}
	if entry.ValidTo, err = parseDay(row[5]); err != nil {
		return Entry{}, fmt.Errorf("valid_to: %w", err)
	}
	if len(row) == len(districtColumns) {
		entry.Province, entry.Predecessor = row[8], row[9]
	}
	return entry, nil
}

// parseDay reads a day, or the first day of a month or year where no source gives the day.
func parseDay(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01", "2006"} {
		if day, err := time.Parse(layout, text); err == nil {
			return day, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date: write 2022-09-01, 2022-09 or 2022", text)
}
