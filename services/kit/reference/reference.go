// Package reference makes the numbers that people say on the phone, such as BA-26-04173-K:
// province, year, a number of at least five digits, and a check character by ISO 7064 MOD 37,36,
// which finds every single wrong character and nearly every swap of two neighbours.
package reference

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"amanat.example/services/kit/zone"
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// ErrReference says that a text is not a reference.
var ErrReference = errors.New("a reference looks like BA-26-04173-K; read it again, the last character checks the others")

var form = regexp.MustCompile(`^([A-Z]{2})-([0-9]{2})-([0-9]{5,})-([0-9A-Z])$`)

// New makes a reference. province is the ISO 3166-2 code, such as PK-BA; the year is that of
// Asia/Karachi at the given time; number counts from 1.
func New(province string, at time.Time, number uint64) string {
	short := province[strings.LastIndexByte(province, '-')+1:]
	year := at.In(zone.Karachi).Year() % 100
	digits := fmt.Sprintf("%05d", number)
	check := character(short + fmt.Sprintf("%02d", year) + digits)
	return fmt.Sprintf("%s-%02d-%s-%c", short, year, digits, check)
}

// Check says whether a text is a reference with the right check character; small letters and
// spaces around it do not matter.
func Check(text string) error {
	parts := form.FindStringSubmatch(strings.ToUpper(strings.TrimSpace(text)))
	if parts == nil || character(parts[1]+parts[2]+parts[3]) != parts[4][0] {
		return ErrReference
	}
	return nil
}

// character is the check character of ISO 7064 MOD 37,36 (hybrid system) for a text of digits
// and capital letters.
func character(text string) byte {
	product := 36
	for i := range len(text) {
		sum := (product + strings.IndexByte(alphabet, text[i])) % 36
		if sum == 0 {
			sum = 36
		}
		product = sum * 2 % 37
	}
	return alphabet[(37-product)%36]
}
