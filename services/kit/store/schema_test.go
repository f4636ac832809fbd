package store_test

import (
	"amanat.example/services/kit/store"

	"google.golang.org/protobuf/types/known/typepb"
)

// The tests keep beds: a typepb.Field stands in for a message of a service, with fields of text and number.
var (
	beds        = store.NewSchema("beds", 1)
	bed         = store.NewTable[*typepb.Field](beds, "bed")
	bedByHouse  = store.NewIndex(bed, "bed_by_house", houseKeys)
	bedByNumber = store.NewIndex(bed, "bed_by_number", numberKeys, store.Unique)
	note        = store.NewTable[*typepb.Option](beds, "note")
)

// A bed with houses "a,b" is listed under both.
func houseKeys(f *typepb.Field) []store.Key {
	var keys []store.Key
	for _, o := range f.GetOptions() {
		keys = append(keys, store.K(o.GetName()))
	}
	return keys
}

func numberKeys(f *typepb.Field) []store.Key {
	if f.GetNumber() == 0 {
		return nil
	}
	return []store.Key{store.K(uint32(f.GetNumber()))}
}

func newBed(number int32, name string, houses ...string) *typepb.Field {
	f := &typepb.Field{Number: number, Name: name}
	for _, h := range houses {
		f.Options = append(f.Options, &typepb.Option{Name: h})
	}
	return f
}
