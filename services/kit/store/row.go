package store

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"
	"sync"
)

// A stored row is: format (1 byte), checksum (16), schema version (uvarint), row version (uvarint), payload.
// The checksum is the first half of SHA-256 over bucket, key and all of the row but the checksum itself.
const (
	rowFormat = 1
	sumSize   = 16
	rowHead   = 1 + sumSize
)

// digest is a number modulo 2^128. A row's checksum is one, and a bucket's digest is the sum of those of its rows, so it
// says which rows there are whatever the order they were written in.
type digest struct{ hi, lo uint64 }

func (d digest) add(o digest) digest {
	lo, carry := bits.Add64(d.lo, o.lo, 0)
	hi, _ := bits.Add64(d.hi, o.hi, carry)
	return digest{hi, lo}
}

func (d digest) sub(o digest) digest {
	lo, borrow := bits.Sub64(d.lo, o.lo, 0)
	hi, _ := bits.Sub64(d.hi, o.hi, borrow)
	return digest{hi, lo}
}

func digestOf(b []byte) digest {
	return digest{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// row is one stored row, verified.
type row struct {
	raw     []byte // as stored
	schema  uint32
	version uint64
	payload []byte // the part of raw after the head
	sum     digest
}

func sealRow(bucket string, key []byte, schema uint32, version uint64, payload []byte) *row {
	raw := make([]byte, rowHead, rowHead+2*binary.MaxVarintLen32+len(payload))
	raw[0] = rowFormat
	raw = binary.AppendUvarint(raw, uint64(schema))
	raw = binary.AppendUvarint(raw, version)
	head := len(raw)
	raw = append(raw, payload...)
	sum := checksum(bucket, key, raw)
	copy(raw[1:], sum[:])
	return &row{raw: raw, schema: schema, version: version, payload: raw[head:], sum: digestOf(sum[:])}
}

// openRow verifies a stored row. Its error wraps ErrDamaged.
func openRow(bucket string, key, raw []byte) (*row, error) {
	if len(raw) < rowHead+2 || raw[0] != rowFormat {
		return nil, damaged("a row of %s has no proper head", bucket)
	}
	sum := checksum(bucket, key, raw)
	if [sumSize]byte(raw[1:rowHead]) != sum {
		return nil, damaged("a row of %s does not match its checksum", bucket)
	}
	r := &row{raw: raw, sum: digestOf(sum[:])}
	schema, n := binary.Uvarint(raw[rowHead:])
	version, m := binary.Uvarint(raw[rowHead+max(n, 0):])
	if n <= 0 || m <= 0 || schema > 1<<32-1 {
		return nil, damaged("a row of %s has no proper head", bucket)
	}
	r.schema, r.version, r.payload = uint32(schema), version, raw[rowHead+n+m:]
	return r, nil
}

var hashes = sync.Pool{New: func() any { return &hasher{Hash: sha256.New()} }}

type hasher struct {
	hash.Hash
	head []byte
	out  [sha256.Size]byte
}

func checksum(bucket string, key, raw []byte) [sumSize]byte {
	h := hashes.Get().(*hasher)
	defer hashes.Put(h)
	h.Reset()
	h.head = binary.AppendUvarint(h.head[:0], uint64(len(bucket)))
	h.head = append(h.head, bucket...)
	h.head = binary.AppendUvarint(h.head, uint64(len(key)))
	h.head = append(h.head, key...)
	h.head = append(h.head, raw[0])
	h.Write(h.head)
	h.Write(raw[rowHead:])
	return [sumSize]byte(h.Sum(h.out[:0])[:sumSize])
}
