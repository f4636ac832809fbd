package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"amanat.example/deploy/network"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/identity"
)

// follower reads a stream of server-sent events at a node's gateway, and opens it again whenever it ends, as a browser does.
type follower struct {
	client *http.Client
	url    string
	token  string

	mu     sync.Mutex
	ids    []string // of the events that had one, in order
	anew   int      // how often it was told to read all anew
	opened int
}

func (p *people) follow(t *testing.T, node, path string) *follower {
	t.Helper()
	ca, err := os.ReadFile(identity.CACertificatePath(p.layout.Root, node))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS13}}
	f := &follower{client: &http.Client{Transport: transport}, url: "https://" + p.layout.Address(node, network.Gateway) + path, token: p.tokens[node]}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			f.once(ctx)
			select { // not at once, while a process starts
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		transport.CloseIdleConnections()
	})
	return f
}

// once reads a stream to its end. What went wrong is no matter: it is opened again.
func (f *follower) once(ctx context.Context) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return
	}
	request.Header.Set("Authorization", "Bearer "+f.token)
	if last := f.last(); last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := f.client.Do(request)
	if err != nil {
		return
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return
	}
	f.mu.Lock()
	f.opened++
	f.mu.Unlock()
	id, data := "", ""
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "id: "):
			id = strings.TrimPrefix(line, "id: ")
		case strings.HasPrefix(line, "data: "):
			data = line
		case line == "" && id != "": // An event counts once it is whole.
			f.take(id, strings.Contains(strings.ReplaceAll(data, " ", ""), `"read_anew":true`))
			id, data = "", ""
		}
	}
}

func (f *follower) take(id string, anew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids = append(f.ids, id)
	if anew {
		f.anew++
	}
}

func (f *follower) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ids) == 0 {
		return ""
	}
	return f.ids[len(f.ids)-1]
}

// Whoever watches referrals hears of each thing that happens, once and in order, though the service and the gateway are killed
// meanwhile, again and again.
func TestWhoWatchesMissesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a network of processes")
	}
	t.Parallel()
	c := newCountry(t)
	p := newPeople(t, c.layout)
	c.runWithout(t)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	watching := p.follow(t, home, "/v1/nodes/"+home+"/referrals:watch")
	eventually(t, "the stream to be open", func() bool { return watching.last() != "" })
	const referrals = 12
	c.play(ctx, t, referrals, func(number int) {
		if number%3 == 2 {
			c.supervisor.Kill(network.Part{Node: home, Name: []string{network.Referral, network.Gateway}[number/3%2]})
		}
	})
	var want []string
	for {
		page, err := p.callAt(ctx, home, network.Referral, network.Gateway, methodOf(t, &eventsv1.ListEventsRequest{}), &eventsv1.ListEventsRequest{After: uint64(len(want))})
		must(t, err)
		events := page.(*eventsv1.ListEventsResponse).GetEvents()
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			want = append(want, e.GetId())
		}
	}
	eventually(t, "the last event to be told", func() bool { return watching.last() == want[len(want)-1] })
	watching.mu.Lock()
	defer watching.mu.Unlock()
	first, told := watching.ids[0], watching.ids[1:]
	if position := fmt.Sprintf("-%d", len(want)-len(told)); !strings.HasSuffix(first, position) || watching.anew != 1 {
		t.Errorf("it began at %s and was told %d events of %d, and %d times to read anew", first, len(told), len(want), watching.anew)
	}
	if !slices.Equal(told, want[len(want)-len(told):]) {
		t.Errorf("told: %v\nwant: %v", told, want)
	}
	if watching.opened < 3 || len(told) < 5*referrals {
		t.Errorf("%d events in %d streams: too few to say anything", len(told), watching.opened)
	}
	t.Logf("%d events in %d streams", len(told), watching.opened)
}
