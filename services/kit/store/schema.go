package store

import (
	"context"
	"fmt"
	"regexp"

	"google.golang.org/protobuf/proto"
)

// Schema says which tables and indexes a store has, and how older files become this version. Each service has one, at
// package level in its schema.go; declaring a name twice or out of order is a mistake of the program and panics at start.
// A schema is complete before the first Open and never changes afterwards.
type Schema struct {
	name    string
	version uint32
	tables  []*tableDef // in order of declaration
	buckets map[string]bool
	steps   map[uint32]migration
}

type tableDef struct {
	name    string
	schema  *Schema
	indexes []*indexDef
	decode  func(payload []byte) (proto.Message, error)
}

type indexDef struct {
	name   string
	table  *tableDef
	unique bool
	keys   func(proto.Message) []Key
}

type migration struct {
	why string
	run func(ctx context.Context, tx *Tx) error
}

var bucketName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// NewSchema begins a schema. The name is that of the service and is kept in the file, so that no service opens another's.
// The version starts at 1 and grows by one with every change that an older program could not live with.
func NewSchema(name string, version uint32) *Schema {
	if !bucketName.MatchString(name) || version == 0 {
		panic(fmt.Sprintf("store.NewSchema(%q, %d): the name must match %s and versions start at 1", name, version, bucketName))
	}
	return &Schema{name: name, version: version, buckets: make(map[string]bool), steps: make(map[uint32]migration)}
}

// Version is the one this program writes.
func (s *Schema) Version() uint32 { return s.version }

// Migrate registers the step from one version to the next. At Open every missing step runs, each in a commit of its own
// that also moves the file's version. Within a step, indexes the file does not have yet are left alone: they are built after
// the last step. Indexes no longer declared are dropped then; a table no longer declared must be empty. An index whose key
// function has changed needs a new name.
func (s *Schema) Migrate(from uint32, why string, step func(ctx context.Context, tx *Tx) error) {
	if _, twice := s.steps[from]; twice || from == 0 || from >= s.version {
		panic(fmt.Sprintf("store: schema %s: Migrate(%d) is registered twice or is not below version %d", s.name, from, s.version))
	}
	s.steps[from] = migration{why: why, run: step}
}

func (s *Schema) claim(bucket string) {
	if !bucketName.MatchString(bucket) || s.buckets[bucket] {
		panic(fmt.Sprintf("store: schema %s: the name %q is taken or does not match %s", s.name, bucket, bucketName))
	}
	s.buckets[bucket] = true
}

// bucketKind is what a bucket holds, kept in the file beside its count and digest.
type bucketKind byte

const (
	tableBucket bucketKind = 1
	indexBucket bucketKind = 2
)

// declared lists every bucket of the schema.
func (s *Schema) declared() map[string]bucketKind {
	all := make(map[string]bucketKind, len(s.buckets))
	for _, t := range s.tables {
		all[t.name] = tableBucket
		for _, x := range t.indexes {
			all[x.name] = indexBucket
		}
	}
	return all
}
