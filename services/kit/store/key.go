package store

import (
	"encoding/binary"
	"fmt"
	"time"
)

// MaxKeySize is the longest key in bytes that a table or an index entry may have (bbolt's limit).
const MaxKeySize = 32768

// Key is an encoded key. Keys order by their bytes, and K makes that the order of the parts.
type Key []byte

// K encodes parts as one key. The order of keys is the order of their parts, first part first, and each part ends itself:
// K("a") is a prefix of K("a", 1) and never of K("ab"). Parts may be string, []byte, uint64, uint32, int64 and time.Time
// (to the nanosecond, whatever its location). Any other type is a mistake of the program, and K panics.
func K(parts ...any) Key {
	k := make(Key, 0, 32)
	for _, part := range parts {
		switch v := part.(type) {
		case string:
			k = appendText(k, v)
		case []byte:
			k = appendText(k, v)
		case uint64:
			k = binary.BigEndian.AppendUint64(k, v)
		case uint32:
			k = binary.BigEndian.AppendUint32(k, v)
		case int64:
			k = appendInt(k, v)
		case time.Time:
			k = binary.BigEndian.AppendUint32(appendInt(k, v.Unix()), uint32(v.Nanosecond()))
		default:
			panic(fmt.Sprintf("store.K: a key cannot have a part of type %T", part))
		}
	}
	return k
}

// appendText writes the bytes with 0x00 as 0x00 0xff and ends them with 0x00 0x01, which sorts before any longer text.
func appendText[T string | []byte](k Key, text T) Key {
	for i := range len(text) {
		k = append(k, text[i])
		if text[i] == 0 {
			k = append(k, 0xff)
		}
	}
	return append(k, 0, 1)
}

func appendInt(k Key, v int64) Key {
	return binary.BigEndian.AppendUint64(k, uint64(v)^1<<63)
}

// successor is the first key after all keys that begin with prefix; nil when there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			next := append([]byte(nil), prefix[:i+1]...)
			next[i]++
			return next
		}
	}
	return nil
}
