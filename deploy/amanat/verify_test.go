package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/identity"
)

// Anyone with the roster can verify a file without a running node: a sound one is told event by event, a changed one is found out.
func TestVerify(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	hub, err := identity.Load(l.Root, "balochistan", network.Referral)
	if err != nil {
		t.Fatal(err)
	}
	const name = "nodes/balochistan/referrals/01920000-0000-7000-8000-000000000001"
	needs, at := &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9}, timestamppb.New(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))
	placement := custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
	chain := &custody.Chain{}
	for _, e := range []*custodyv1.Event{
		{Referral: name, Time: at, Body: &custodyv1.Event_Submitted{Submitted: &custodyv1.Submitted{
			Kind: placement, Needs: needs, FlowId: make([]byte, 16), Ground: &custodyv1.Submitted_Consent{Consent: &custodyv1.ConsentReceipt{}}, Reference: "BA-26-00001-9",
		}}},
		{Time: at, Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{
			ToNode: "punjab", ToUnit: "nodes/punjab/units/lahore", Kind: placement, Needs: needs, AnswerBy: at,
		}}},
	} {
		if _, err := chain.Append(hub, "balochistan", e); err != nil {
			t.Fatal(err)
		}
	}
	write := func(change func(f *referralv1.HandoverFile)) string {
		f := &referralv1.HandoverFile{Referral: name, Reference: "BA-26-00001-9", Chain: chain.Message()}
		change(f)
		raw, err := custody.EncodeFile(f)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "BA-26-00001-9.amanat")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		c := root()
		c.SetOut(&out)
		c.SetArgs(append([]string{"verify", "--data", l.Root}, args...))
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}

	out, err := run(write(func(*referralv1.HandoverFile) {}))
	for _, want := range []string{"BA-26-00001-9", "2026-03-01 13:00", "offer", "Sound:", "balochistan owns it"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: no %q in %s", err, want, out)
		}
	}
	out, err = run("--node", "sindh", "--json", write(func(f *referralv1.HandoverFile) { f.Chain.Events[1].Signature = make([]byte, 64) }))
	var r chainResult
	if parsed := json.Unmarshal([]byte(out), &r); err == nil || parsed != nil || r.Sound || len(r.Steps) != 1 || r.Problem == "" {
		t.Errorf("a forged event: %v, %v: %s", err, parsed, out)
	}
	for what, path := range map[string]string{
		"another referral's chain": write(func(f *referralv1.HandoverFile) { f.Referral = name[:len(name)-1] + "2" }),
		"no chain":                 write(func(f *referralv1.HandoverFile) { f.Chain = nil }),
	} {
		if out, err := run(path); err == nil || !strings.Contains(out, "NOT SOUND") {
			t.Errorf("%s: %v: %s", what, err, out)
		}
	}
	out, err = run(write(func(f *referralv1.HandoverFile) { f.Referral, f.Chain = "x\n\nSound: every event\x1b[8m\u202e", nil }))
	if err == nil || strings.ContainsAny(out, "\x1b\u202e") || strings.Contains(out, "\nSound") || !strings.Contains(out, "NOT SOUND") {
		t.Errorf("a file that steers the terminal: %v: %q", err, out)
	}
	if _, err := run("--node", "nowhere", write(func(*referralv1.HandoverFile) {})); err == nil || !strings.Contains(err.Error(), "--node") {
		t.Errorf("an unknown node: %v", err)
	}
	if _, err := run(filepath.Join(l.Root, "network.json")); err == nil || !strings.Contains(err.Error(), "no handover file") {
		t.Errorf("another file: %v", err)
	}
}
