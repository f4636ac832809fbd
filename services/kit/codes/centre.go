package codes

import (
	_ "embed"
	"encoding/csv"
	"math"
	"strconv"
	"strings"
	"sync"
)

// centreFile has the centre of each district with a P-code (OCHA, administrative boundaries valid on 2022-09-09).
//
//go:embed centres/district.csv
var centreFile string

// earthRadius is the mean radius, kilometres.
const earthRadius = 6371.0088

// distances between all districts, kilometres, each computed once: a search asks for hundreds.
type distances struct {
	rows map[string]int
	km   [][]int32
}

var measured = sync.OnceValue(func() distances {
	type centre struct{ lat, lon float64 }
	centres := map[string]centre{}
	// A fault in the file is a fault of the build, which the tests find: every district has a centre.
	rows, _ := csv.NewReader(strings.NewReader(centreFile)).ReadAll()
	for _, row := range rows {
		lat, latErr := strconv.ParseFloat(row[1], 64)
		lon, lonErr := strconv.ParseFloat(row[2], 64)
		if latErr == nil && lonErr == nil {
			centres[row[0]] = centre{lat * math.Pi / 180, lon * math.Pi / 180}
		}
	}
	d := distances{rows: map[string]int{}}
	var at []centre
	for _, entry := range All(District) {
		c, ok := centres[entry.Code]
		if !ok { // a district of ours takes the centre of the one it was carved from
			c, ok = centres[entry.Predecessor]
		}
		if ok {
			d.rows[entry.Code] = len(at)
			at = append(at, c)
		}
	}
	for _, from := range at {
		row := make([]int32, len(at))
		for i, to := range at {
			// The haversine formula.
			lat, lon := math.Sin((to.lat-from.lat)/2), math.Sin((to.lon-from.lon)/2)
			h := lat*lat + math.Cos(from.lat)*math.Cos(to.lat)*lon*lon
			row[i] = int32(math.Round(2 * earthRadius * math.Asin(math.Sqrt(min(1, h)))))
		}
		d.km = append(d.km, row)
	}
	return d
})

// Distance is how far the centres of two districts are apart, whole kilometres, as the crow flies. A district of ours
// without a P-code has the centre of its predecessor. Not known for a code that is no district.
func Distance(from, to string) (km int32, known bool) {
	d := measured()
	i, ok := d.rows[from]
	j, also := d.rows[to]
	if !ok || !also {
		return 0, false
	}
	return d.km[i][j], true
}
