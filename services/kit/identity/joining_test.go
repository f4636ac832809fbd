package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

var newServices = []string{"referral", "shelter"}

// newcomer makes a node in a folder of its own and answers its request as it is mailed.
func newcomer(t *testing.T, node, province string) (root string, request *identityv1.NodeRequest) {
	t.Helper()
	root = t.TempDir()
	request, err := InitNode(Options{Root: root, Node: node, DisplayName: "New", Province: province, Services: newServices})
	if err != nil {
		t.Fatal(err)
	}
	return root, request
}

func propose(t *testing.T, root string, d Draft) *identityv1.RosterFile {
	t.Helper()
	file, err := Propose(root, "federal", time.Now(), d)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func sign(t *testing.T, root string, file *identityv1.RosterFile, nodes ...string) *Review {
	t.Helper()
	var review *Review
	for _, node := range nodes {
		var err error
		if review, err = Sign(root, node, file, false); err != nil {
			t.Fatal(err)
		}
	}
	return review
}

func install(t *testing.T, root string, file *identityv1.RosterFile, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		if err := InstallRoster(root, node, file.GetLog()); err != nil {
			t.Fatal(err)
		}
	}
}

// says fails unless an error names field and remedy.
func says(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %q", what, err, part)
		}
	}
}

// snapshot is every file under a folder.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all[path] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A province joins by files alone: nothing is shared but what is mailed and what is read by telephone.
func TestProvinceJoinsByFiles(t *testing.T) {
	root := network(t)
	away, request := newcomer(t, "khyber", "PK-KP")
	mailed, err := os.ReadFile(RequestPath(away, "khyber"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := DecodeRequest(bytes.ReplaceAll(mailed, []byte("\n"), []byte("\r\n")))
	if err != nil || RequestFingerprint(opened) != RequestFingerprint(request) {
		t.Fatalf("the request after e-mail: %v", err)
	}
	file := propose(t, root, Draft{Requests: []*identityv1.NodeRequest{opened}})
	mail := func() {
		text, err := EncodeRoster(file)
		if err != nil {
			t.Fatal(err)
		}
		if file, err = DecodeRoster(text); err != nil {
			t.Fatal(err)
		}
	}
	mail()
	review := sign(t, root, file, "sindh")
	if review.Complete() || review.Version != 2 || len(review.Changes) != 1 ||
		!strings.Contains(review.Changes[0], `khyber joins: "New", PK-KP`) || !strings.Contains(review.Changes[0], RequestFingerprint(request)) {
		t.Errorf("one of three has signed: %+v", review)
	}
	says(t, "a minority", InstallRoster(root, "sindh", file.GetLog()), "2 are needed", "have it signed also by one of federal, punjab")
	mail()
	// Signed apart, put together.
	other := proto.CloneOf(file)
	other.GetLog().GetVersions()[1].Signatures = nil
	sign(t, root, other, "punjab")
	if file, err = Merge(file, other, other); err != nil {
		t.Fatal(err)
	}
	if review = sign(t, root, file, "sindh"); !review.Complete() {
		t.Errorf("two of three have signed: %+v", review)
	}
	mail()
	install(t, root, file, "federal", "sindh", "punjab")
	install(t, root, file, "punjab") // again: nothing changes

	log := file.GetLog()
	says(t, "a wrong fingerprint", JoinNetwork(away, "khyber", log, "00000 "+review.Network[6:]), "fingerprint", "do not join")
	if _, err := LoadRoster(away, "khyber"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a roster is there after a wrong fingerprint: %v", err)
	}
	if err := JoinNetwork(away, "khyber", log, strings.ReplaceAll(review.Network, " ", "-")); err != nil {
		t.Fatal(err)
	}
	says(t, "joined twice", JoinNetwork(away, "khyber", log, review.Network), "in a network already")
	khyber, sindh := load(t, away, "khyber", "referral"), load(t, root, "sindh", "referral")
	if err := sindh.Members().Verify("khyber", "referral", "d", []byte("m"), khyber.Sign("d", []byte("m"))); err != nil {
		t.Error(err)
	}
	if khyber.Roster().Fingerprint() != sindh.Roster().Fingerprint() {
		t.Error("two fingerprints for one network")
	}
}

// Suspended, readmitted, retired: what it signs counts, counts not, counts, counts not.
func TestSuspendAndLeave(t *testing.T) {
	root := network(t)
	punjab := load(t, root, "punjab", "referral")
	members := load(t, root, "sindh", "referral").Members()
	step := func(d Draft, counts bool) {
		t.Helper()
		file := propose(t, root, d)
		sign(t, root, file, "federal", "sindh")
		install(t, root, file, "federal", "sindh")
		if members.Active("punjab", "referral") != counts {
			t.Errorf("after %+v it is active: %t", d, !counts)
		}
		err := members.VerifyCurrent("punjab", "referral", "d", []byte("m"), punjab.Sign("d", []byte("m")))
		if (err == nil) != counts {
			t.Errorf("after %+v its signature: %v", d, err)
		}
		if err := members.Verify("punjab", "referral", "d", []byte("m"), punjab.Sign("d", []byte("m"))); err != nil {
			t.Errorf("after %+v what it once signed: %v", d, err)
		}
		if !counts {
			says(t, "installed at the node that is out", InstallRoster(root, "punjab", file.GetLog()), "takes no part", "keep the version installed here")
		}
	}
	refused := func(d Draft, parts ...string) {
		t.Helper()
		_, err := Propose(root, "federal", time.Now(), d)
		says(t, fmt.Sprintf("%+v", d), err, parts...)
	}
	refused(Draft{Readmit: []string{"punjab"}}, "is active")
	refused(Draft{Suspend: []string{"federal"}}, "field state", "stays active")
	refused(Draft{Suspend: []string{"nowhere"}}, "not in the roster")
	refused(Draft{}, "nothing would change")
	step(Draft{Suspend: []string{"punjab"}}, false)
	refused(Draft{Suspend: []string{"punjab"}}, "is suspended")
	waiting := propose(t, root, Draft{Readmit: []string{"punjab"}})
	_, err := Sign(root, "punjab", waiting, false)
	says(t, "signed by the one that is out", err, "install version 2 first")
	step(Draft{Readmit: []string{"punjab"}}, true)
	install(t, root, &identityv1.RosterFile{Log: installed(t, root, "sindh")}, "punjab")
	step(Draft{Retire: []string{"punjab"}}, false)
	refused(Draft{Readmit: []string{"punjab"}}, "is retired", "comes back with a request")
	refused(Draft{Requests: []*identityv1.NodeRequest{readRequest(t, root, "punjab")}, Replace: true}, "nothing to add")
}

// Requests that must not enter a roster.
func TestRequestsThatAreRefused(t *testing.T) {
	root := network(t)
	_, good := newcomer(t, "khyber", "PK-KP")
	_, same := newcomer(t, "punjab", "PK-PB")
	_, federal := newcomer(t, "capital", "")
	change := func(f func(r *identityv1.NodeRequest)) *identityv1.NodeRequest {
		r := proto.CloneOf(good)
		f(r)
		return r
	}
	// A thief asks with another's keys beside a roster key of its own.
	steal := func(f func(mine, theirs *identityv1.RosterNode)) *identityv1.NodeRequest {
		away, request := newcomer(t, "thief", "PK-KP")
		mine, theirs := &identityv1.RosterNode{}, &identityv1.RosterNode{}
		if err := errors.Join(proto.Unmarshal(request.GetNode(), mine), proto.Unmarshal(readRequest(t, root, "punjab").GetNode(), theirs)); err != nil {
			t.Fatal(err)
		}
		f(mine, theirs)
		key, err := readSigningKey(filepath.Join(nodeDir(away, "thief"), rosterKeyFile))
		if err != nil {
			t.Fatal(err)
		}
		ca, err := loadAuthority(away, "thief")
		if err != nil {
			t.Fatal(err)
		}
		provers := []prover{proveCA(ca)}
		for _, s := range newServices {
			id := loadKeys(t, away, "thief", s)
			provers = append(provers, proveSigning(s, id.signing), proveHub(s, id.hub))
		}
		stolen, err := signRequest(mine, key, provers)
		if err != nil {
			t.Fatal(err)
		}
		return stolen
	}
	if _, err := OpenRequest(steal(func(_, _ *identityv1.RosterNode) {})); err != nil {
		t.Fatalf("nothing stolen: %v", err)
	}
	before := snapshot(t, root)
	for name, c := range map[string]struct {
		request *identityv1.NodeRequest
		says    []string
	}{
		"changed":        {change(func(r *identityv1.NodeRequest) { r.Node = bytes.Replace(r.Node, []byte("New"), []byte("Old"), 1) }), []string{"field signature", "ask for"}},
		"unsigned":       {change(func(r *identityv1.NodeRequest) { r.Signature = nil }), []string{"field signature", "ask for it again"}},
		"garbage":        {change(func(r *identityv1.NodeRequest) { r.Node = []byte{0xff} }), []string{"field node", "ask for"}},
		"no proof":       {change(func(r *identityv1.NodeRequest) { r.Proofs = nil }), []string{"field proofs", "made anew"}},
		"one proof less": {change(func(r *identityv1.NodeRequest) { r.Proofs = r.Proofs[1:] }), []string{"holds the key ca"}},
		"proof twice":    {change(func(r *identityv1.NodeRequest) { r.Proofs = append(r.Proofs, r.Proofs[0]) }), []string{"proved twice"}},
		"proof too many": {change(func(r *identityv1.NodeRequest) {
			r.Proofs = append(r.Proofs, &identityv1.KeyProof{Key: "laundry/hub", Signature: r.Proofs[1].Signature})
		}), []string{"does not name"}},
		"proofs exchanged": {change(func(r *identityv1.NodeRequest) {
			r.Proofs[1].Signature, r.Proofs[3].Signature = r.Proofs[3].Signature, r.Proofs[1].Signature
		}), []string{"field proofs"}},
		"name taken":       {same, []string{"field node", "another name", "--replace"}},
		"already there":    {readRequest(t, root, "punjab"), []string{"nothing to add"}},
		"no province":      {federal, []string{"field province", "give the code"}},
		"unknown province": {steal(func(mine, _ *identityv1.RosterNode) { mine.Province = "PK-XX" }), []string{"field province", "use a code"}},
		"stolen signing key": {steal(func(mine, theirs *identityv1.RosterNode) {
			mine.Services[0].SigningKey = theirs.Services[0].SigningKey
		}), []string{"field proofs", "/signing"}},
		"stolen hub key": {steal(func(mine, theirs *identityv1.RosterNode) {
			mine.Services[0].HubNkey = theirs.Services[0].HubNkey
		}), []string{"field proofs", "/hub"}},
		"stolen sealing key": {steal(func(mine, theirs *identityv1.RosterNode) {
			mine.Services[0].HpkeKey = theirs.Services[0].HpkeKey
		}), []string{"field hpke_key", "used twice", "keys of its own"}},
	} {
		_, err := Propose(root, "federal", time.Now(), Draft{Requests: []*identityv1.NodeRequest{c.request}})
		says(t, name, err, c.says...)
	}
	_, err := Propose(root, "federal", time.Now(), Draft{Requests: []*identityv1.NodeRequest{good, good}})
	says(t, "twice", err, "two requests are from node khyber")
	_, err = InitNode(Options{Root: t.TempDir(), Node: "khyber", Province: "PK-XX", Services: allServices})
	says(t, "made with an unknown province", err, "field province")
	if after := snapshot(t, root); len(after) != len(before) {
		t.Error("a refused request left files")
	}
}

// loadKeys reads a service's keys where there is no roster yet.
func loadKeys(t *testing.T, root, node, service string) *Service {
	t.Helper()
	s := &Service{root: root, node: node, name: service}
	if err := s.load(); !errors.Is(err, fs.ErrNotExist) || s.hub == nil {
		t.Fatal(err)
	}
	return s
}

// An old request, shown again after its keys were replaced, does not bring them back.
func TestReplacedKeysStayAway(t *testing.T) {
	root := network(t)
	old := readRequest(t, root, "punjab")
	away, request := newcomer(t, "punjab", "PK-PB")
	file := propose(t, root, Draft{Requests: []*identityv1.NodeRequest{request}, Replace: true})
	review := sign(t, root, file, "federal", "sindh")
	if !strings.Contains(strings.Join(review.Changes, "\n"), "punjab gets new keys") {
		t.Errorf("%+v", review)
	}
	install(t, root, file, "federal", "sindh")
	if err := JoinNetwork(away, "punjab", file.GetLog(), review.Network); err != nil {
		t.Fatal(err)
	}
	_, err := Propose(root, "federal", time.Now(), Draft{Requests: []*identityv1.NodeRequest{old}, Replace: true})
	says(t, "the old request again", err, "was replaced in an earlier version")
	says(t, "the new roster at the old keys", InstallRoster(root, "punjab", file.GetLog()), "own CA")
}

// Roster files that must not be signed, or not be installed; nothing changes.
func TestFilesThatAreRefused(t *testing.T) {
	root, foreign := network(t), network(t)
	_, request := newcomer(t, "khyber", "PK-KP")
	_, second := newcomer(t, "gilgit", "PK-GB")
	draft := Draft{Requests: []*identityv1.NodeRequest{request}}
	file := propose(t, root, draft)
	last := func(f *identityv1.RosterFile) *identityv1.SignedRoster {
		return f.GetLog().GetVersions()[len(f.GetLog().GetVersions())-1]
	}
	change := func(f func(*identityv1.RosterFile)) *identityv1.RosterFile {
		changed := proto.CloneOf(file)
		f(changed)
		return changed
	}
	before := snapshot(t, root)
	for name, c := range map[string]struct {
		file *identityv1.RosterFile
		says []string
	}{
		"of another network":   {propose(t, foreign, draft), []string{"another network", "ask a member"}},
		"changed":              {change(func(f *identityv1.RosterFile) { last(f).Roster[len(last(f).Roster)-1] ^= 1 }), []string{"version 2"}},
		"cut":                  {change(func(f *identityv1.RosterFile) { f.Log.Versions = f.Log.Versions[1:] }), []string{"field version"}},
		"empty":                {&identityv1.RosterFile{}, []string{"field log", "ask for"}},
		"without the request":  {change(func(f *identityv1.RosterFile) { f.Requests = nil }), []string{"field requests", "drafted anew"}},
		"with another request": {change(func(f *identityv1.RosterFile) { f.Requests = []*identityv1.NodeRequest{second} }), []string{"field requests", "not what it asked for"}},
		"signed by a stranger": {change(func(f *identityv1.RosterFile) {
			last(f).Signatures = []*identityv1.RosterSignature{{Node: "stranger", Signature: make([]byte, 64)}}
		}), []string{"field signatures", "not entitled", "sent again"}},
		"signed with nothing": {change(func(f *identityv1.RosterFile) {
			last(f).Signatures = []*identityv1.RosterSignature{{Node: "punjab"}}
		}), []string{"field signatures", "sign again"}},
		"nothing new": {&identityv1.RosterFile{Log: installed(t, root, "sindh")}, []string{"nothing to sign"}},
	} {
		_, err := Sign(root, "sindh", c.file, false)
		says(t, name, err, c.says...)
		if name != "nothing new" {
			says(t, name+", to be installed", InstallRoster(root, "sindh", c.file.GetLog()), "roster of sindh")
		}
	}
	if after := snapshot(t, root); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("a refused file changed something")
	}

	// Two versions of one number: a node signs one of them.
	sign(t, root, file, "sindh")
	sign(t, root, file, "sindh") // the same again is the same
	other := propose(t, root, Draft{Requests: []*identityv1.NodeRequest{second}})
	_, err := Sign(root, "sindh", other, false)
	says(t, "another version 2", err, "signed another version", "--instead")
	if _, err := Sign(root, "sindh", other, true); err != nil {
		t.Errorf("given up and signed instead: %v", err)
	}
	_, err = Merge(file, other)
	says(t, "put together", err, "not copies")

	// Installed, then overtaken, forked, and stale.
	sign(t, root, file, "punjab", "federal")
	install(t, root, file, "punjab", "federal")
	sign(t, root, other, "sindh")
	says(t, "a fork", InstallRoster(root, "punjab", propose2(t, other, root).GetLog()), "version 2 is another", "tell the other members")
	third := propose(t, root, Draft{Suspend: []string{"sindh"}})
	_, err = Sign(root, "sindh", third, false)
	says(t, "signed before version 2 is here", err, "install version 2 first")
	sign(t, root, third, "punjab", "federal")
	_, err = Sign(root, "khyber", third, false)
	says(t, "signed by a node that is elsewhere", err, "khyber")
	sign2 := proto.CloneOf(third)
	sign2.Log.Versions[2].Signatures = sign2.Log.Versions[2].Signatures[:1]
	says(t, "a minority", InstallRoster(root, "punjab", sign2.GetLog()), "3 are needed")
	says(t, "stale", InstallRoster(root, "punjab", installed(t, root, "sindh")), "ends at version 1", "ask for the newest")
}

// propose2 signs a fork with all keys that lie here, as thieves of a majority's keys would.
func propose2(t *testing.T, file *identityv1.RosterFile, root string) *identityv1.RosterFile {
	t.Helper()
	forked := proto.CloneOf(file)
	signAll(t, root, forked.GetLog().GetVersions()[1], "sindh", "punjab", "federal")
	return forked
}

// Two commands at once at one node: of two drafts one is signed, and of two versions the newer stays.
func TestCommandsAtOnce(t *testing.T) {
	root := network(t)
	var drafts []*identityv1.RosterFile
	for _, node := range []string{"sindh", "punjab"} {
		drafts = append(drafts, propose(t, root, Draft{Suspend: []string{node}}))
	}
	both := func(work func(i int) error) (failed int) {
		errs := make(chan error, 2)
		for i := range 2 {
			go func() { errs <- work(i) }()
		}
		for range 2 {
			if <-errs != nil {
				failed++
			}
		}
		return failed
	}
	for range 5 {
		if err := os.Remove(filepath.Join(nodeDir(root, "federal"), signedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if failed := both(func(i int) error { _, err := Sign(root, "federal", proto.CloneOf(drafts[i]), false); return err }); failed != 1 {
			t.Fatalf("%d of two drafts of one number were refused", failed)
		}
	}
	first := installed(t, root, "federal")
	second := extended(first, drafts[0].GetLog().GetVersions()[1])
	signAll(t, root, second.GetVersions()[1], "federal", "sindh", "punjab")
	install(t, root, &identityv1.RosterFile{Log: second}, "punjab")
	again, err := Propose(root, "punjab", time.Now(), Draft{Readmit: []string{"sindh"}})
	if err != nil {
		t.Fatal(err)
	}
	third := again.GetLog()
	signAll(t, root, third.GetVersions()[2], "federal", "punjab")
	path := filepath.Join(nodeDir(root, "federal"), rosterFile)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		both(func(i int) error { return InstallRoster(root, "federal", []*identityv1.RosterLog{second, third}[i]) })
		if now := installed(t, root, "federal"); len(now.GetVersions()) != 3 {
			t.Fatalf("version %d replaced version 3", len(now.GetVersions()))
		}
	}
}
