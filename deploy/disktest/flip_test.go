package disktest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/typepb"

	"amanat.example/deploy/disktest"
	"amanat.example/services/kit/soaktest"
	"amanat.example/services/kit/store"
)

// shelf is a store of many rows whose bits turn around while it is open.
type shelf struct {
	*book
	want map[string]*typepb.Field
}

func newShelf(d *disktest.Disk) (*shelf, error) {
	s := &shelf{book: newBook(d), want: map[string]*typepb.Field{}}
	db, err := s.open()
	if err != nil {
		return nil, err
	}
	for batch := range uint32(6) {
		if err = s.put(db, batch*100, 150); err != nil { // some rows are replaced, so that old copies lie about
			break
		}
	}
	return s, errors.Join(err, db.Close())
}

// put writes rows, the number of the first of which is given, in one update.
func (s *shelf) put(db *store.DB, first, count uint32) error {
	return db.Update(context.Background(), func(tx *store.Tx) error {
		for n := first; n < first+count; n++ {
			key := store.K(uint32(9), n)
			f := &typepb.Field{Number: int32(len(s.want)), Name: fmt.Sprint(n % 40), JsonName: fmt.Sprintf("%0120d", n)}
			if s.want[string(key)] = f; rows.Put(tx, key, f) != nil {
				return errors.New("a row was not written")
			}
		}
		return nil
	})
}

// read reads every row, one by one and in order. A wrong value is told apart from damage that was noticed.
func (s *shelf) read(db *store.DB) (noticed error, wrong bool) {
	noticed = db.View(context.Background(), func(r store.Reader) error {
		for key, want := range s.want {
			got, err := rows.Get(r, store.Key(key))
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			wrong = wrong || err == nil && !proto.Equal(got, want)
		}
		return rows.Scan(r, store.Range{}, func(key store.Key, got *typepb.Field) error {
			wrong = wrong || !proto.Equal(got, s.want[string(key)])
			return nil
		})
	})
	return noticed, wrong
}

// find looks for damage in the ways of a store that is open: reads, the scrub, and check.
func (s *shelf) find(db *store.DB) (by string, wrong bool) {
	noticed, wrong := s.read(db)
	if noticed != nil || wrong {
		return "read", wrong
	}
	for done := false; !done; {
		var err error
		if done, err = db.Scrub(context.Background(), 500); err != nil {
			return "scrub", false
		}
	}
	if report, err := db.Check(context.Background()); errors.Join(err, report.Err()) != nil {
		return "check", false
	}
	return "", false
}

// Bits turn around in the file of an open store, as on a disk that rots: no read ever gives a wrong value, and what reads, scrub and
// check do not find then, nor open and the check of a closed file afterwards, does no harm: the store goes on with it, writes, and is sound.
func TestBitsTurnAroundUnderAStore(t *testing.T) {
	s, err := newShelf(disktest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 5))
	found, flips, harmless := map[string]int{}, 0, 0
	for range soaktest.Rounds(t, soaktest.Alone(60, 20), 2000) {
		by, bit := s.flipOne(t, random)
		if flips++; by != "" {
			found[by]++
			s.disk.Flip("power.db", bit) // back
			continue
		}
		harmless++
		db, err := s.open()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.put(db, random.Uint32N(600), 20), db.Close()); err != nil {
			t.Fatalf("bit %d was not found and did harm: %v", bit, err)
		}
		report, err := store.CheckFile(context.Background(), s.path, schema)
		if err := errors.Join(err, report.Err()); err != nil {
			t.Fatalf("bit %d was not found and did harm: %v", bit, err)
		}
	}
	t.Logf("%d bits: found by %v; %d lay where nothing is read", flips, found, harmless)
	// One bit in four lies where a read finds it, one in twelve where the scrub or check alone does.
	if len(found) == 0 || harmless == 0 || flips >= 500 && len(found) < 2 {
		t.Error("the places are not what the test wants")
	}
}

// flipOne turns a bit of the used part of the file around while the store is open, and says by what it was found.
func (s *shelf) flipOne(t *testing.T, random *rand.Rand) (by string, bit int64) {
	t.Helper()
	db, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	bit = random.Int64N(8 * s.used(t))
	s.disk.Flip("power.db", bit)
	by, wrong := s.find(db)
	if wrong {
		t.Errorf("bit %d: a read gave a wrong value", bit)
	}
	db.Close() // it may have failed, as it should
	if by != "" {
		return by, bit
	}
	report, err := store.CheckFile(context.Background(), s.path, schema)
	if errors.Join(err, report.Err()) != nil {
		return "check of the closed file", bit
	}
	if db, err = s.open(); err != nil {
		t.Errorf("bit %d: open refused what check let pass: %v", bit, err)
		return "open", bit
	}
	if _, wrong := s.read(db); wrong {
		t.Errorf("bit %d: a read gave a wrong value", bit)
	}
	db.Close()
	return "", bit
}

// used is where the file's zeroes begin.
func (s *shelf) used(t *testing.T) int64 {
	t.Helper()
	content, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	var zeroes [4096]byte // a page at a time: the file is mostly empty
	for bytes.HasSuffix(content, zeroes[:]) {
		content = content[:len(content)-len(zeroes)]
	}
	for len(content) > 0 && content[len(content)-1] == 0 {
		content = content[:len(content)-1]
	}
	return int64(len(content))
}
