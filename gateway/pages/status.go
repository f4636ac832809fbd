package pages

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"amanat.example/gateway/rest"
	"amanat.example/services/kit/release"
)

// Section is a part of the status page: it is asked anew whenever somebody looks, and must answer within a second or two.
type Section func(ctx context.Context) Table

// Table is what a section shows. Anybody may look: it must hold nothing of persons.
type Table struct {
	// Title stands above it; may be empty.
	Title string
	// State says in a sentence how it is; Bad, that somebody is needed.
	State string
	Bad   bool
	// Head names the columns. Of each row the first cell names the row.
	Head []string
	Rows [][]Cell
}

// Cell is one of a table. Mark is `up`, `down` or empty.
type Cell struct{ Text, Mark string }

// Services is the section that says which of the node's services take calls; health asks them.
func Services(health func(context.Context) []rest.Health) Section {
	return func(ctx context.Context) Table {
		table := Table{State: "All services take calls.", Head: []string{"Service", "State", "What it does"}}
		for _, one := range health(ctx) {
			state := "up"
			if !one.Serving {
				state = "down"
				table.Bad, table.State = true, "A service does not take calls. If it stays so, the node’s operator is needed."
			}
			table.Rows = append(table.Rows, []Cell{{Text: one.Name}, {state, state}, {Text: work[one.Name]}})
		}
		if len(table.Rows) == 0 {
			return Table{Bad: true, State: "No service is set up at this gateway."}
		}
		return table
	}
}

func (s *Site) serveStatus(w http.ResponseWriter, r *http.Request) {
	view := struct {
		Node, Version, Asked string
		Sections             []Table
	}{Node: s.node, Version: release.Version(), Asked: time.Now().UTC().Format("2006-01-02 15:04:05 UTC")}
	for _, section := range s.sections {
		view.Sections = append(view.Sections, section(r.Context()))
	}
	var page bytes.Buffer
	if err := s.status.Execute(&page, view); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", s.policy)
	w.Header().Set("Content-Type", htmlType)
	_, _ = w.Write(page.Bytes()) // The asker has gone; nothing to do.
}

// work is what each service does, in a few words.
var work = map[string]string{
	"protection": "Persons, cases and consent",
	"referral":   "Referrals, offers and who owns them",
	"shelter":    "Beds, holds and stays",
	"federal":    "Counts of flows between provinces, without persons",
}
