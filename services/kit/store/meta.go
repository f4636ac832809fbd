package store

import (
	"encoding/binary"
	"sort"
)

// metaBucket holds what the store knows of itself: the file row, and one row of count and digest per bucket. It has none
// for itself: Open demands every row of it by name.
const metaBucket = "_store"

var fileKey = []byte("file")

func statKey(bucket string) []byte { return []byte("bucket/" + bucket) }

const statPrefix = "bucket/"

// fileMeta is the file row.
type fileMeta struct {
	id          [16]byte
	incarnation uint64
	created     int64 // unix nanoseconds
	schema      uint32
	name        string
}

func (m fileMeta) encode() []byte {
	b := append([]byte{}, m.id[:]...)
	b = binary.BigEndian.AppendUint64(b, m.incarnation)
	b = binary.BigEndian.AppendUint64(b, uint64(m.created))
	b = binary.BigEndian.AppendUint32(b, m.schema)
	return append(b, m.name...)
}

func decodeFileMeta(b []byte) (fileMeta, error) {
	if len(b) < 36 {
		return fileMeta{}, damaged("the file row is too short")
	}
	return fileMeta{
		id:          [16]byte(b[:16]),
		incarnation: binary.BigEndian.Uint64(b[16:]),
		created:     int64(binary.BigEndian.Uint64(b[24:])),
		schema:      binary.BigEndian.Uint32(b[32:]),
		name:        string(b[36:]),
	}, nil
}

// stat is the number of rows of a bucket and the sum of their checksums.
type stat struct {
	kind  bucketKind
	count uint64
	sum   digest
}

func (s stat) plus(old, new *row) stat {
	if old != nil {
		s.count--
		s.sum = s.sum.sub(old.sum)
	}
	if new != nil {
		s.count++
		s.sum = s.sum.add(new.sum)
	}
	return s
}

func (s stat) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{byte(s.kind)}, s.count)
	b = binary.BigEndian.AppendUint64(b, s.sum.hi)
	return binary.BigEndian.AppendUint64(b, s.sum.lo)
}

func decodeStat(bucket string, b []byte) (stat, error) {
	if len(b) != 25 || b[0] < byte(tableBucket) || b[0] > byte(indexBucket) {
		return stat{}, damaged("the count row of %s is malformed", bucket)
	}
	return stat{kind: bucketKind(b[0]), count: binary.BigEndian.Uint64(b[1:]), sum: digestOf(b[9:])}, nil
}

// readMeta reads the meta bucket whole. found is false for a store that was never written.
func readMeta(tx EngineTx) (meta fileMeta, stats map[string]stat, found bool, err error) {
	stats = make(map[string]stat)
	it := tx.Iterate(metaBucket, nil, nil, false)
	for {
		key, raw, err := it.Next()
		if err != nil || key == nil {
			return meta, stats, found, err
		}
		r, err := openRow(metaBucket, key, raw)
		if err != nil {
			return meta, nil, false, err
		}
		switch name := string(key); {
		case name == string(fileKey):
			found = true
			meta, err = decodeFileMeta(r.payload)
		case len(name) > len(statPrefix) && name[:len(statPrefix)] == statPrefix:
			name = name[len(statPrefix):]
			stats[name], err = decodeStat(name, r.payload)
		default:
			err = damaged("the store's own bucket has a row it cannot have")
		}
		if err != nil {
			return meta, nil, false, err
		}
	}
}

func putMeta(tx EngineTx, m fileMeta) error {
	return tx.Put(metaBucket, fileKey, sealRow(metaBucket, fileKey, m.schema, 1, m.encode()).raw)
}

func putStat(tx EngineTx, schema uint32, bucket string, s stat) error {
	key := statKey(bucket)
	return tx.Put(metaBucket, key, sealRow(metaBucket, key, schema, 1, s.encode()).raw)
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
