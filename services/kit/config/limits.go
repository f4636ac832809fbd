package config

import (
	"os"

	"amanat.example/services/kit/limits"
)

// Limits has the settings of the tables of time limits; the struct of a service that counts time embeds it.
type Limits struct {
	RiskLimitsFile  string `koanf:"risk-limits-file" help:"CSV file with the time limits by risk, in the place of the built-in one."`
	LegalLimitsFile string `koanf:"legal-limits-file" help:"CSV file with the time limits of laws and rules, in the place of the built-in one."`
}

// ReadLimits reads the tables. An error names file, line and column.
func (l Limits) ReadLimits() (*limits.Table, error) {
	risk, err := readTable("risk-limits-file", l.RiskLimitsFile)
	if err != nil {
		return nil, err
	}
	legal, err := readTable("legal-limits-file", l.LegalLimitsFile)
	if err != nil {
		return nil, err
	}
	return limits.Parse(l.RiskLimitsFile, risk, l.LegalLimitsFile, legal)
}

// readTable is what a file holds; nil where none is set.
func readTable(setting, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, Problem(setting, "must name a file that can be read: "+err.Error())
	}
	return append([]byte{}, content...), nil
}
