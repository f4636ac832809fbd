package identity

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/durable"
)

func readRequest(t *testing.T, root, node string) *identityv1.NodeRequest {
	t.Helper()
	data, err := os.ReadFile(RequestPath(root, node))
	if err != nil {
		t.Fatal(err)
	}
	request := &identityv1.NodeRequest{}
	if err := proto.Unmarshal(data, request); err != nil {
		t.Fatal(err)
	}
	return request
}

func installed(t *testing.T, root, node string) *identityv1.RosterLog {
	t.Helper()
	r, err := LoadRoster(root, node)
	if err != nil {
		t.Fatal(err)
	}
	return r.Log()
}

func extended(log *identityv1.RosterLog, next *identityv1.SignedRoster) *identityv1.RosterLog {
	log = proto.CloneOf(log)
	log.Versions = append(log.Versions, proto.CloneOf(next))
	return log
}

func signAll(t *testing.T, root string, next *identityv1.SignedRoster, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		if err := SignRoster(root, node, next); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNodeJoinsByMajority(t *testing.T) {
	root := network(t)
	if _, err := InitNode(Options{Root: root, Node: "balochistan", Province: "PK-BA", Services: allServices}); err != nil {
		t.Fatal(err)
	}
	log := installed(t, root, "sindh")
	next, err := NextRoster(log, time.Now(), []*identityv1.NodeRequest{readRequest(t, root, "balochistan")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// One of three, the same one twice, and the newcomer: no majority of the version before.
	signAll(t, root, next, "sindh", "balochistan")
	next.Signatures = append(next.Signatures, next.Signatures[0])
	if _, err := VerifyLog(extended(log, next)); !errors.Is(err, ErrBadRoster) {
		t.Fatalf("believed without a majority: %v", err)
	}
	signAll(t, root, next, "punjab")
	log2 := extended(log, next)

	running := load(t, root, "punjab", "referral")
	members := running.Members()
	if members.Active("balochistan", "referral") {
		t.Error("active before it joined")
	}
	for _, node := range []string{"federal", "sindh", "punjab", "balochistan"} {
		if err := InstallRoster(root, node, log2); err != nil {
			t.Fatal(err)
		}
	}
	if got := running.Roster().Version(); got != 2 {
		t.Errorf("a running service sees version %d", got)
	}
	b := load(t, root, "balochistan", "referral")
	if err := members.Verify("balochistan", "referral", "d", []byte("m"), b.Sign("d", []byte("m"))); err != nil {
		t.Error(err)
	}
	if !members.Active("balochistan", "referral") || members.Active("balochistan", "laundry") {
		t.Error("a member's services are not known")
	}
	sealed, err := members.Seal("balochistan", "referral", "i", nil, []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := b.Open("i", nil, sealed); err != nil || string(opened) != "m" {
		t.Errorf("sealed to a member that joined: %q, %v", opened, err)
	}
	// What is installed is only ever extended.
	if err := InstallRoster(root, "sindh", log); !errors.Is(err, ErrBadRoster) {
		t.Errorf("rolled back: %v", err)
	}
	fork, err := NextRoster(log, time.Now(), nil, []string{"punjab"})
	if err != nil {
		t.Fatal(err)
	}
	signAll(t, root, fork, "sindh", "federal")
	if err := InstallRoster(root, "sindh", extended(log, fork)); !errors.Is(err, ErrBadRoster) {
		t.Errorf("forked: %v", err)
	}
}

func TestFirstVersionNeedsEveryNode(t *testing.T) {
	root := network(t)
	log := installed(t, root, "sindh")
	log.Versions[0].Signatures = log.Versions[0].Signatures[1:]
	if _, err := VerifyLog(log); !errors.Is(err, ErrBadRoster) {
		t.Errorf("believed: %v", err)
	}
	if _, err := VerifyLog(&identityv1.RosterLog{}); !errors.Is(err, ErrBadRoster) {
		t.Errorf("an empty log: %v", err)
	}
}

// TestOldKeysStillVerify lets Punjab come back with new keys after a total loss, and later leave.
func TestOldKeysStillVerify(t *testing.T) {
	root := network(t)
	old := load(t, root, "punjab", "referral")
	message := []byte("event of the old time")
	signature := old.Sign("custody", message)
	token, err := old.IssueToken(&identityv1.PersonToken{Person: "p", Roles: []string{"r"}, Purpose: "casework", Audience: []string{"referral"}})
	if err != nil {
		t.Fatal(err)
	}

	for range 2 { // the second time it is known
		if _, err := old.VerifyToken(token, time.Now(), []string{"referral"}); err != nil {
			t.Fatal(err)
		}
	}

	if err := os.Rename(filepath.Join(root, "punjab"), filepath.Join(root, "lost")); err != nil {
		t.Fatal(err)
	}
	if _, err := InitNode(Options{Root: root, Node: "punjab", Province: "PK-PB", Services: allServices}); err != nil {
		t.Fatal(err)
	}
	log := installed(t, root, "sindh")
	if err := InstallRoster(root, "punjab", log); !errors.Is(err, ErrBadRoster) {
		t.Errorf("a roster with another CA for this node was installed: %v", err)
	}
	next, err := NextRoster(log, time.Now(), []*identityv1.NodeRequest{readRequest(t, root, "punjab")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signAll(t, root, next, "sindh", "federal")
	log = extended(log, next)
	for _, node := range []string{"sindh", "punjab"} {
		if err := InstallRoster(root, node, log); err != nil {
			t.Fatal(err)
		}
	}
	r := load(t, root, "sindh", "referral").Roster()
	renewed := load(t, root, "punjab", "referral")
	for _, sig := range [][]byte{signature, renewed.Sign("custody", message)} {
		if err := r.Verify("punjab", "referral", "custody", message, sig); err != nil {
			t.Error(err)
		}
	}
	if err := r.VerifyCurrent("punjab", "referral", "custody", message, signature); !errors.Is(err, ErrBadSignature) {
		t.Errorf("the old key still speaks for the service: %v", err)
	}
	if err := r.VerifyCurrent("punjab", "referral", "custody", message, renewed.Sign("custody", message)); err != nil {
		t.Error(err)
	}
	if _, err := renewed.VerifyToken(token, time.Now(), []string{"referral"}); !errors.Is(err, ErrTokenSignature) {
		t.Errorf("a token by the old key: %v", err)
	}
	if _, err := old.VerifyToken(token, time.Now(), []string{"referral"}); !errors.Is(err, ErrTokenSignature) {
		t.Errorf("a token by the old key, which was known under the roster before: %v", err)
	}

	retired, err := NextRoster(log, time.Now(), nil, []string{"punjab"})
	if err != nil {
		t.Fatal(err)
	}
	signAll(t, root, retired, "sindh", "federal")
	if r, err = VerifyLog(extended(log, retired)); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify("punjab", "referral", "custody", message, signature); err != nil {
		t.Error(err)
	}
	if err := r.VerifyCurrent("punjab", "referral", "custody", message, renewed.Sign("custody", message)); !errors.Is(err, ErrBadSignature) {
		t.Errorf("a node that left still speaks: %v", err)
	}
	if _, err := r.Seal("punjab", "referral", "x", nil, nil); !errors.Is(err, ErrUnknownService) {
		t.Errorf("sealed to a node that left: %v", err)
	}
}

// TestTamperedLogs changes one thing each and signs again where that could hide it.
func TestTamperedLogs(t *testing.T) {
	root := network(t)
	all := []string{"federal", "sindh", "punjab"}
	base := installed(t, root, "sindh")
	second, err := NextRoster(base, time.Now(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	signAll(t, root, second, all...)
	base = extended(base, second)
	if _, err := VerifyLog(base); err != nil {
		t.Fatal(err)
	}
	rewrite := func(i int, resign bool, change func(*identityv1.Roster)) func(*identityv1.RosterLog) {
		return func(log *identityv1.RosterLog) {
			r := &identityv1.Roster{}
			if err := proto.Unmarshal(log.Versions[i].Roster, r); err != nil {
				t.Fatal(err)
			}
			change(r)
			data, err := proto.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			log.Versions[i].Roster = data
			if resign {
				signAll(t, root, log.Versions[i], all...)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*identityv1.RosterLog)
		why    string
	}{
		"first version changed":    {rewrite(0, true, func(r *identityv1.Roster) { r.Nodes[0].DisplayName = "x" }), "previous hash"},
		"changed, not signed anew": {rewrite(1, false, func(r *identityv1.Roster) { r.Nodes[0].DisplayName = "x" }), "entitled to sign"},
		"version skipped":          {rewrite(1, true, func(r *identityv1.Roster) { r.Version = 3 }), "calls itself"},
		"node dropped":             {rewrite(1, true, func(r *identityv1.Roster) { r.Nodes = r.Nodes[:2] }), "is gone"},
		"node twice":               {rewrite(1, true, func(r *identityv1.Roster) { r.Nodes = append(r.Nodes, r.Nodes[2]) }), "ordered"},
		"CA of another node":       {rewrite(1, true, func(r *identityv1.Roster) { r.Nodes[1].CaCertificate = r.Nodes[2].CaCertificate }), "ca_certificate"},
		"hub key of another": {rewrite(1, true, func(r *identityv1.Roster) {
			r.Nodes[1].Services[0].HubNkey = r.Nodes[2].Services[0].HubNkey
		}), "used twice"},
		"short signing key": {rewrite(1, true, func(r *identityv1.Roster) { r.Nodes[1].Services[0].SigningKey = []byte{1} }), "signing_key"},
		"bad HPKE key":      {rewrite(1, true, func(r *identityv1.Roster) { r.Nodes[1].Services[0].HpkeKey = []byte{1} }), "hpke_key"},
		"no state":          {rewrite(1, true, func(r *identityv1.Roster) { r.Nodes[1].State = 0 }), "state"},
		"versions swapped":  {func(log *identityv1.RosterLog) { slices.Reverse(log.Versions) }, "calls itself"},
		"garbage":           {func(log *identityv1.RosterLog) { log.Versions[1].Roster = []byte{0xff} }, "cannot be read"},
	} {
		log := proto.CloneOf(base)
		c.change(log)
		if _, err := VerifyLog(log); !errors.Is(err, ErrBadRoster) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", name, err, c.why)
		}
	}
}

func TestRequestProvesItsKey(t *testing.T) {
	root := network(t)
	request := readRequest(t, root, "punjab")
	if _, err := OpenRequest(request); err != nil {
		t.Fatal(err)
	}
	request.Signature = readRequest(t, root, "sindh").GetSignature()
	if _, err := NewRoster(time.Now(), request); err == nil {
		t.Error("a request signed by another was taken")
	}
}

func TestForeignKeyFilesAreNotLoaded(t *testing.T) {
	root := network(t)
	from, to := serviceDir(root, "sindh", "shelter"), serviceDir(root, "sindh", "referral")
	for _, name := range []string{signingKeyFile, hpkeKeyFile, hubKeyFile, tlsFile} {
		own, err := os.ReadFile(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := durable.Replace(filepath.Join(to, name), other); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(root, "sindh", "referral"); err == nil {
			t.Errorf("loaded with another service's %s", name)
		}
		if err := durable.Replace(filepath.Join(to, name), own); err != nil {
			t.Fatal(err)
		}
	}
	load(t, root, "sindh", "referral")
}
