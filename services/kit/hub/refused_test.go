package hub

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"amanat.example/services/kit/logging"
)

// A node that is suspended for days does not fill its disk with the hub's refusals, and other errors are all told.
func TestRefusalsAreToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log, err := logging.New(logging.Options{Node: "khyber", Service: "referral", Output: &out})
		if err != nil {
			t.Fatal(err)
		}
		complain := Config{Log: log}.complain()
		for range 600 { // five minutes, twice a second
			complain(nil, nil, nats.ErrAuthorization)
			time.Sleep(500 * time.Millisecond)
		}
		complain(nil, nil, errors.New("another"))
		complain(nil, nil, errors.New("another"))
		refused, others := strings.Count(out.String(), "refuses this service"), strings.Count(out.String(), "another")
		if refused != 5 || others != 2 {
			t.Errorf("told %d refusals and %d others", refused, others)
		}
	})
}
