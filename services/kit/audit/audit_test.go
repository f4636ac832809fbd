package audit_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

func open(t *testing.T) (*store.DB, *audit.Log) {
	t.Helper()
	schema := store.NewSchema("audit_test", 1)
	log := audit.Declare(schema)
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "a.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if report, err := db.Check(context.WithoutCancel(t.Context())); err != nil || report.Err() != nil {
			t.Errorf("the store is damaged: %v, %v", err, report.Err())
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, log
}

func TestReadingsAreChained(t *testing.T) {
	db, log := open(t)
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	reading := log.Reading(db, func() time.Time { return now })
	for _, resources := range [][]string{{"nodes/punjab/cases/1"}, {"nodes/punjab/cases/2", "nodes/punjab/cases/3"}} {
		err := reading(t.Context(), rpc.Reading{
			Method: "/amanat.protection.v1.ProtectionService/GetCase", Caller: "gateway", RequestID: "r1",
			Person:    &identityv1.PersonToken{Person: "nodes/punjab/workers/w", Purpose: "casework"},
			Resources: resources,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := db.View(t.Context(), func(r store.Reader) error {
		rows, err := log.Page(r, 1, 10)
		if err != nil {
			return err
		}
		if len(rows) != 2 || rows[0].GetResource() != "nodes/punjab/cases/2" || rows[1].GetPosition() != 3 ||
			rows[0].GetPerson() != "nodes/punjab/workers/w" || rows[0].GetPurpose() != "casework" || rows[0].GetCaller() != "gateway" {
			t.Errorf("rows after the first: %v", rows)
		}
		n, err := log.Verify(r)
		if n != 3 {
			t.Errorf("%d rows verified", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFindsTampering(t *testing.T) {
	for name, tamper := range map[string]func(tx *store.Tx, rows *store.Table[*wrapperspb.BytesValue]) error{
		"removed": func(tx *store.Tx, rows *store.Table[*wrapperspb.BytesValue]) error {
			return rows.Delete(tx, store.K(uint64(2)))
		},
		"changed": func(tx *store.Tx, rows *store.Table[*wrapperspb.BytesValue]) error {
			v, err := rows.Get(tx, store.K(uint64(2)))
			if err != nil {
				return err
			}
			v.Value[len(v.Value)-1] ^= 1
			return rows.Put(tx, store.K(uint64(2)), v)
		},
	} {
		t.Run(name, func(t *testing.T) {
			schema := store.NewSchema("audit_test", 1)
			log := audit.Declare(schema)
			path := filepath.Join(t.TempDir(), "a.db")
			db, err := store.Open(t.Context(), store.Options{Path: path, Schema: schema})
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(t.Context(), func(tx *store.Tx) error {
				for range 3 {
					if err := log.Append(tx, &privacyv1.AuditRow{Resource: "nodes/punjab/cases/1"}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			insider := store.NewSchema("audit_test", 1)
			rows := store.NewTable[*wrapperspb.BytesValue](insider, "audit_rows")
			if db, err = store.Open(t.Context(), store.Options{Path: path, Schema: insider}); err != nil {
				t.Fatal(err)
			}
			if err := db.Update(t.Context(), func(tx *store.Tx) error { return tamper(tx, rows) }); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = store.Open(t.Context(), store.Options{Path: path, Schema: schema}); err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			err = db.View(t.Context(), func(r store.Reader) error {
				_, err := log.Verify(r)
				return err
			})
			if !errors.Is(err, audit.ErrBroken) {
				t.Fatalf("tampering was not found: %v", err)
			}
		})
	}
}
