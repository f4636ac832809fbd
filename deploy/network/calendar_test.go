package network_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/network"
)

// A node at work never takes its time from a calendar: where one lies in its folder it does not start, and says why.
func TestNoCalendarAtWork(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	if err := l.MakeCalendar(time.Now().AddDate(-1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	alone, err := l.Only("sindh")
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{network.Protection, network.Referral, network.Shelter} {
		if err := alone.Run(t.Context(), network.Part{Node: "sindh", Name: service}); err == nil || !strings.Contains(err.Error(), "calendar is there") {
			t.Errorf("%s: %v", service, err)
		}
	}
	if _, err := os.Stat(filepath.Join(l.Root, "sindh", network.Protection, "protection.db")); err == nil {
		t.Error("it began to work")
	}
}
