package codes_test

import (
	"testing"

	"amanat.example/services/kit/codes"
)

func TestEveryDistrictHasACentre(t *testing.T) {
	for _, d := range codes.All(codes.District) {
		if km, known := codes.Distance(d.Code, d.Code); !known || km != 0 {
			t.Errorf("%s to itself: %d km, known %v", d.Code, km, known)
		}
	}
	if _, known := codes.Distance("PK617", "nowhere"); known {
		t.Error("the distance to nowhere is known")
	}
}

func TestDistances(t *testing.T) {
	for _, test := range []struct {
		what, from, to string
		least, most    int32
	}{
		{"Lahore to Multan, about 310 km by air", "PK617", "PK622", 270, 350},
		{"Quetta to Lahore, about 710 km by air", "PK226", "PK617", 650, 760},
		{"Hub stands where Lasbela is", "PK-BA-HUB", "PK217", 0, 0},
		{"Islamabad to Rawalpindi, neighbours", "PK401", "PK630", 5, 60},
	} {
		there, known := codes.Distance(test.from, test.to)
		back, _ := codes.Distance(test.to, test.from)
		if !known || there < test.least || there > test.most || there != back {
			t.Errorf("%s: %d km, back %d km, known %v", test.what, there, back, known)
		}
	}
}
