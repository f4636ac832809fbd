package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/privacy/privacytest"
)

func lines(t *testing.T, level string) (*Logger, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	l, err := New(Options{Node: "sindh", Service: "referral", Level: level, Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	return l, &out
}

// textConstructors are those a caller can give a text made while the program runs.
var textConstructors = map[string]func(string) Field{
	"Node": Node, "Service": Service, "Referral": Referral, "Case": Case, "RPC": RPC, "Subject": Subject,
	"Resource":     func(s string) Field { return Resource("hold", s) },
	"ID":           func(s string) Field { return ID("error_id", s) },
	"Peer":         func(s string) Field { return Peer(s, "referral") },
	"Peer, second": func(s string) Field { return Peer("sindh", s) },
}

// TestOnlyListedConstructorsTakeText reads the package's source: whatever is exported and takes a
// string is in textConstructors, and nothing takes any value at all.
func TestOnlyListedConstructorsTakeText(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	checked := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(f.Name.Name, "Marshal") {
				continue
			}
			checked++
			for _, param := range f.Type.Params.List {
				switch kind := types.ExprString(param.Type); kind {
				case "string":
					if textConstructors[f.Name.Name] == nil {
						t.Errorf("%s takes a string and is not tested", f.Name.Name)
					}
				case "sentence", "key", "...Field", "Options", "N", "bool", "error", "codes.Code", "time.Time",
					"time.Duration", "net.Addr", "proto.Message", "protoreflect.Enum":
				default:
					t.Errorf("%s takes a %s, of which nobody has shown that it holds no personal data", f.Name.Name, kind)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d functions were found", checked)
	}
}

// TestCanaryReachesNoLine passes a canary in every marked field of every message, and bare, to
// every constructor that takes more than a number.
func TestCanaryReachesNoLine(t *testing.T) {
	l, out := lines(t, "debug")
	check := func(what string) {
		t.Helper()
		if out.Len() == 0 {
			t.Errorf("%s: nothing was written", what)
		}
		if privacytest.Holds(out.Bytes()) {
			t.Errorf("%s: a line holds the canary: %s", what, out)
		}
		out.Reset()
	}
	for _, kind := range privacytest.Types() {
		for pick := range 12 {
			m := kind.New().Interface()
			privacytest.Fill(m, pick)
			l.Info("seen", Message("it", m))
			check(string(kind.Descriptor().FullName()))
			l.With(Message("it", m)).Warn("seen", Err(fmt.Errorf("refused: %v", m)))
			check(string(kind.Descriptor().FullName()) + " in an error")
		}
	}
	for name, field := range textConstructors {
		for _, form := range []string{"%s", "nodes/sindh/cases/%s", "/%s", "amanat %s", "%s/x y", "1918273645 %s", "+92%s"} {
			l.Error("seen", field(fmt.Sprintf(form, privacytest.Canary)))
			check(name)
		}
	}
	_, parseErr := strconv.Atoi(privacytest.Canary)
	bad, err := status.New(codes.InvalidArgument, "bad name "+privacytest.Canary).WithDetails(
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "person.given_name", Description: privacytest.Canary},
			{Field: privacytest.Canary},
		}},
		&errdetails.ErrorInfo{Reason: privacytest.Canary, Metadata: map[string]string{"name": privacytest.Canary}},
		&errdetails.LocalizedMessage{Message: privacytest.Canary},
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"quoted by the library": parseErr,
		"quoted by %q":          fmt.Errorf("no worker %q here", privacytest.Canary),
		"quote left open":       errors.New(`cut off at "` + privacytest.Canary),
		"quote in a quote":      fmt.Errorf("no %q", `a"`+privacytest.Canary),
		"single quotes":         errors.New("no '" + privacytest.Canary + "'"),
		"telephone":             errors.New("no answer at 1918273645"),
		"CNIC":                  errors.New("19182-7364500-1 and 1918273645-1"),
		"status":                bad.Err(),
		"wrapped status":        fmt.Errorf("call: %w", bad.Err()),
		"joined status":         errors.Join(fs.ErrNotExist, bad.Err()),
		"two statuses":          errors.Join(status.Error(codes.Internal, "x"), bad.Err()),
		"message of a status":   fmt.Errorf("%w: bad name %s", bad.Err(), privacytest.Canary),
	} {
		l.Error("seen", Err(err))
		check(name)
	}
}

func TestLinesSayWhatTheyMay(t *testing.T) {
	l, out := lines(t, "")
	l.Debug("not written")
	refused, err := status.New(codes.FailedPrecondition, "the bed is taken").WithDetails(
		&errdetails.ErrorInfo{Reason: "NO_CAPACITY", Domain: "shelter.amanat"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "group"}}})
	if err != nil {
		t.Fatal(err)
	}
	id := "0192a1b2-0000-7000-8000-000000000001"
	l.Info("Offer accepted.",
		Referral("nodes/sindh/referrals/"+id),
		Resource("group", "nodes/sindh/shelters/panah/groups/girls"),
		RPC("/amanat.referral.v1.ReferralService/AcceptOffer"),
		Subject("amanat.sindh.referral.offer.accepted.v1"),
		Peer("punjab", "shelter"), ID("error_id", id), Code(codes.Aborted),
		Enum("state", identityv1.RosterNode_STATE_ACTIVE), Enum("odd", identityv1.RosterNode_State(9)),
		Count("letters", uint64(3)), Flag("urgent", true), Took(1500*time.Millisecond),
		Time("due", time.Date(2026, 5, 1, 12, 0, 0, 0, time.FixedZone("PKT", 5*3600))),
		Address(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9101}),
		Err(fmt.Errorf("place the hold: %w", refused.Err())),
		Message("roster", &identityv1.RosterNode{Node: "sindh", RosterKey: make([]byte, 32), Services: []*identityv1.RosterService{{Service: "referral"}}}),
		Message("nothing", nil), Message("none", (*identityv1.Roster)(nil)),
	)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("not one line of JSON: %v: %s", err, out)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "info", "message": "Offer accepted.", "node": "sindh", "service": "referral",
		"referral": "nodes/sindh/referrals/" + id,
		"group":    "nodes/sindh/shelters/panah/groups/girls",
		"rpc":      "/amanat.referral.v1.ReferralService/AcceptOffer",
		"subject":  "amanat.sindh.referral.offer.accepted.v1",
		"peer":     "punjab/shelter", "error_id": id, "code": "Aborted", "state": "STATE_ACTIVE", "odd": 9.0,
		"letters": 3.0, "urgent": true, "took": "1.5s", "due": "2026-05-01T07:00:00Z", "address": "127.0.0.1:9101",
		"error": map[string]any{"code": "FailedPrecondition", "reason": "NO_CAPACITY", "fields": "group", "text": "place the hold: …"},
		"roster": map[string]any{
			"@type": "amanat.identity.v1.RosterNode", "node": "sindh", "roster_key": "32 bytes",
			"services": []any{map[string]any{"@type": "amanat.identity.v1.RosterService", "service": "referral"}},
		},
	}
	gotJSON, _ := json.Marshal(got)
	wantJSON, _ := json.Marshal(want)
	if !bytes.Equal(gotJSON, wantJSON) {
		t.Errorf("wrote\n%s, want\n%s", gotJSON, wantJSON)
	}
}

func TestLongThingsAreCut(t *testing.T) {
	l, out := lines(t, "")
	node := &identityv1.RosterNode{DisplayName: strings.Repeat("پ", 4000)}
	for range maxElements + 5 {
		node.Services = append(node.Services, &identityv1.RosterService{Service: "referral"})
	}
	l.Info("seen", Message("node_entry", node), Err(errors.New(strings.Repeat("x ", 4000))))
	if out.Len() > 6000 || !strings.Contains(out.String(), "and 5 more") || !json.Valid(out.Bytes()) {
		t.Errorf("wrote %d bytes: %s", out.Len(), out)
	}
	if proto.Size(node) < 8000 {
		t.Error("the message was changed")
	}
}

func TestLevels(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "info": 3, "warn": 2, "error": 1} {
		l, out := lines(t, level)
		l.Debug("one")
		l.Info("two")
		l.Warn("three")
		l.Error("four", Err(nil))
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("%s: %d lines", level, got)
		}
	}
	for _, level := range []string{"loud", "fatal", "panic"} {
		if _, err := New(Options{Level: level}); err == nil {
			t.Errorf("level %s was taken", level)
		}
	}
	Discard().Error("nowhere")
}
