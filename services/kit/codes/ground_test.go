package codes_test

import (
	"slices"
	"testing"

	"amanat.example/services/kit/codes"
)

func TestGround(t *testing.T) {
	for _, test := range []struct {
		what, district string
		want           []string
	}{
		{"Hub was carved from Lasbela", "PK-BA-HUB", []string{"PK-BA-HUB", "PK217"}},
		{"and Lasbela had Hub in it", "PK217", []string{"PK-BA-HUB", "PK217"}},
		{"Keamari was carved from Karachi West", "PK-SD-KEAMARI", []string{"PK-SD-KEAMARI", "PK729"}},
		{"and Karachi West had it", "PK729", []string{"PK-SD-KEAMARI", "PK729"}},
		{"Chaman was carved from Killa Abdullah", "PK235", []string{"PK214", "PK235"}},
		{"Lehri went into Sibi", "PK218", []string{"PK218", "PK228"}},
		{"and Sibi has it", "PK228", []string{"PK218", "PK228"}},
		{"South Waziristan was divided in two", "PK530", []string{"PK-KP-SWZ-LOWER", "PK-KP-SWZ-UPPER", "PK530"}},
		{"of which one is not the other", "PK-KP-SWZ-LOWER", []string{"PK-KP-SWZ-LOWER", "PK530"}},
		{"Lahore is as it was", "PK617", []string{"PK617"}},
		{"no district", "nowhere", []string{"nowhere"}},
	} {
		if got := codes.Ground(test.district); !slices.Equal(got, test.want) {
			t.Errorf("%s: the ground of %s is %v, want %v", test.what, test.district, got, test.want)
		}
	}
}

// TestGroundIsCommon holds that of two districts each has ground in common with the other.
func TestGroundIsCommon(t *testing.T) {
	for _, d := range codes.All(codes.District) {
		for _, other := range codes.Ground(d.Code) {
			if !slices.Contains(codes.Ground(other), d.Code) {
				t.Errorf("%s has ground in common with %s, and not the other way round", d.Code, other)
			}
		}
	}
}
