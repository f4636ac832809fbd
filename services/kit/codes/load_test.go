package codes

import (
	"strings"
	"testing"
)

func TestReadRefusesFaultyFiles(t *testing.T) {
	head := "# version 1, 2026-11-23. For a test.\n" + strings.Join(columns, ",") + "\n"
	for name, test := range map[string]struct{ text, fault string }{
		"good":           {head + "A,a,b,c,2022,2023-01-02,,x\n", ""},
		"no version":     {"code\n", "first line"},
		"other columns":  {"# version 1, x\ncode,label\n", "columns are"},
		"no rows":        {head, "no rows"},
		"a code twice":   {head + "A,a,b,c,,,,x\nA,d,e,f,,,,x\n", "stands twice"},
		"no english":     {head + "A,,b,c,,,,x\n", "must not be empty"},
		"no source":      {head + "A,a,b,c,,,,\n", "must not be empty"},
		"no date":        {head + "A,a,b,c,soon,,,x\n", "valid_from"},
		"no end date":    {head + "A,a,b,c,,13/1/2022,,x\n", "valid_to"},
		"a short row":    {head + "A,a,b\n", "wrong number of fields"},
		"a broken quote": {head + "A,\"a,b,c,,,,x\n", "\""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(strings.NewReader(test.text), columns)
			if test.fault == "" && err != nil || test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)) {
				t.Errorf("got %v, want %q", err, test.fault)
			}
		})
	}
}
