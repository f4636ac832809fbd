// Package audit keeps who read what and why: an append-only, hash-chained log in a service's own
// store. A row is durable before the reply it speaks of leaves (DESIGN section 6).
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

// Log is a service's audit log. Rows lie under their position as the very bytes that are hashed.
type Log struct {
	rows *store.Table[*wrapperspb.BytesValue]
}

// Declare adds the log's table (`audit_rows`) to a service's schema.
func Declare(schema *store.Schema) *Log {
	return &Log{rows: store.NewTable[*wrapperspb.BytesValue](schema, "audit_rows")}
}

// Append adds a row; position and previous hash are set here.
func (l *Log) Append(tx *store.Tx, row *privacyv1.AuditRow) error {
	last, err := l.last(tx)
	if err != nil {
		return err
	}
	row.Position, row.PreviousHash = 1, nil
	if last != nil {
		previous := &privacyv1.AuditRow{}
		if err := proto.Unmarshal(last, previous); err != nil {
			return fmt.Errorf("the last audit row: %w", err)
		}
		hash := sha256.Sum256(last)
		row.Position, row.PreviousHash = previous.GetPosition()+1, hash[:]
	}
	raw, err := proto.Marshal(row)
	if err != nil {
		return fmt.Errorf("marshal the audit row: %w", err)
	}
	return l.rows.Insert(tx, store.K(row.GetPosition()), wrapperspb.Bytes(raw))
}

func (l *Log) last(r store.Reader) (raw []byte, err error) {
	err = l.rows.Scan(r, store.Range{Reverse: true}, func(_ store.Key, v *wrapperspb.BytesValue) error {
		raw = v.GetValue()
		return store.Stop
	})
	return raw, err
}

// Page lists rows in order of position, after a position.
func (l *Log) Page(r store.Reader, after uint64, limit int) (rows []*privacyv1.AuditRow, err error) {
	found, _, err := l.rows.Page(r, store.Range{After: store.K(after)}, limit)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		row := &privacyv1.AuditRow{}
		if err := proto.Unmarshal(f.Value.GetValue(), row); err != nil {
			return nil, fmt.Errorf("an audit row: %w", err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// ErrBroken says that the log was changed after it was written.
var ErrBroken = errors.New("the audit log is broken: rows were changed, removed or inserted")

// Verify walks the whole chain and returns the number of rows.
func (l *Log) Verify(r store.Reader) (rows uint64, err error) {
	var previous []byte
	err = l.rows.Scan(r, store.Range{}, func(_ store.Key, v *wrapperspb.BytesValue) error {
		row := &privacyv1.AuditRow{}
		if err := proto.Unmarshal(v.GetValue(), row); err != nil {
			return errors.Join(ErrBroken, err)
		}
		rows++
		if row.GetPosition() != rows || !bytes.Equal(row.GetPreviousHash(), previous) {
			return fmt.Errorf("at row %d: %w", rows, ErrBroken)
		}
		hash := sha256.Sum256(v.GetValue())
		previous = hash[:]
		return nil
	})
	return rows, err
}

// Reading is the server's hook: one row for each resource of a reply with marked fields, durable
// before it returns.
func (l *Log) Reading(db *store.DB, now func() time.Time) rpc.AuditFunc {
	return func(ctx context.Context, reading rpc.Reading) error {
		return db.Update(ctx, func(tx *store.Tx) error {
			for _, resource := range reading.Resources {
				err := l.Append(tx, &privacyv1.AuditRow{
					Time: timestamppb.New(now()), Method: reading.Method, Resource: resource,
					Person: reading.Person.GetPerson(), Purpose: reading.Person.GetPurpose(),
					Caller: reading.Caller, RequestId: reading.RequestID,
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}
