package gateway

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// A trace begins at the gateway, where one is asked for, and goes on to the service; what a client
// says of traces is not taken over.
func TestTraceBeginsHere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil { // No collector there: calls do not mind.
		t.Fatal(err)
	}
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	for endpoint, want := range map[string]int{"": 0, "http://" + listener.Addr().String(): 1} {
		var came []string
		d := openDoor(t, &shelter{get: func(ctx context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
			came = metadata.ValueFromIncomingContext(ctx, "traceparent")
			return aHold(ctx, r)
		}}, func(c *Config) { c.OTLPEndpoint = endpoint })
		got := d.ask("GET", "/v1/"+holdName, "", "traceparent: 00-"+theirs+"-b7ad6b7169203331-01")
		if got.status != 200 || len(came) != want || want == 1 && (len(came[0]) != 55 || strings.Contains(came[0], theirs)) {
			t.Errorf("endpoint %q: %d, traceparent %q", endpoint, got.status, came)
		}
	}
}
