package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/disktest"
	"amanat.example/deploy/network"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/post/posttest"
	kitstore "amanat.example/services/kit/store"
)

// flipped is a bit that was turned around.
type flipped struct {
	file string // of the service's folder
	bit  int64
}

// apart makes a root in which this folder stands for the part, beside the node's identity, so that it can be checked while the other
// services run.
func (c *country) apart(t *testing.T, p network.Part, folder string) (root string) {
	t.Helper()
	root = t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, p.Node), 0o700))
	must(t, os.Symlink(filepath.Join(c.layout.Root, p.Node, "identity"), filepath.Join(root, p.Node, "identity")))
	must(t, os.Symlink(folder, filepath.Join(root, p.Node, p.Name)))
	return root
}

// checkFinds is `amanat check` on what stands apart: whether it finds anything wrong, or cannot read it.
func checkFinds(ctx context.Context, root string) bool {
	files, err := network.Check(ctx, root)
	for _, f := range files {
		if len(f.Problems) > 0 {
			return true
		}
	}
	return err != nil
}

// eachRow reads a store's file as bbolt has it, and knows nothing of checksums: every row of every bucket.
func eachRow(t *testing.T, path string, do func(bucket string, key, row []byte)) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	must(t, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			return bucket.ForEach(func(key, row []byte) error {
				do(string(name), key, row)
				return nil
			})
		})
	}))
	must(t, db.Close())
}

// sumOfRows is the same for two files in which the same can be read.
func sumOfRows(t *testing.T, paths ...string) string {
	t.Helper()
	sum := sha256.New()
	for _, path := range paths {
		eachRow(t, path, func(bucket string, key, row []byte) {
			for _, text := range [][]byte{[]byte(bucket), key, row} {
				sum.Write(binary.AppendUvarint(nil, uint64(len(text))))
				sum.Write(text)
			}
		})
	}
	return string(sum.Sum(nil))
}

// usedBits are those before the zeroes at the end of a file.
func usedBits(t *testing.T, path string) int64 {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return 8 * int64(len(bytes.TrimRight(content, "\x00")))
}

// answers are what the service says of referrals that are over, and must say for ever.
type answers struct {
	people    *people
	names     []string
	questions []proto.Message
	want      []proto.Message
	right     int
	none      int // it was down, or stopped
	lost      int // it did not find them
}

func (b *badDisk) askFor(t *testing.T, names []string) *answers {
	t.Helper()
	a := &answers{people: newPeople(t, b.layout), names: names}
	for _, name := range names {
		a.questions = append(a.questions, &referralv1.GetReferralRequest{Name: name}, &referralv1.GetCustodyChainRequest{Name: name})
	}
	for _, q := range a.questions {
		answer, err := a.people.call(b.ctx, b.part.Node, network.Gateway, methodOf(t, q), q)
		must(t, err)
		a.want = append(a.want, answer)
	}
	return a
}

// about says that a row names one of the referrals.
func (a *answers) about(row []byte) bool {
	return slices.ContainsFunc(a.names, func(name string) bool { return bytes.Contains(row, []byte(name)) })
}

// askTimeout is for a service that may be down.
const askTimeout = 200 * time.Millisecond

// compare asks for one after the other once more: each must be told as before, or nothing at all.
func (b *badDisk) compare(t *testing.T, a *answers) {
	t.Helper()
	for n, q := range a.questions {
		ctx, cancel := context.WithTimeout(b.ctx, askTimeout)
		answer, err := a.people.call(ctx, b.part.Node, network.Gateway, methodOf(t, q), q)
		cancel()
		switch {
		case status.Code(err) == codes.NotFound:
			a.lost++
		case err != nil:
			a.none++
			for key, conn := range a.people.conns { // the next asks anew, and does not wait until a line that failed is tried again
				must(t, conn.Close())
				delete(a.people.conns, key)
			}
			return
		case proto.Equal(answer, a.want[n]):
			a.right++
		default:
			t.Errorf("a wrong value was served: %v and not %v", answer, a.want[n])
		}
	}
}

// rotting is what has come of bits that turned around under a running service.
type rotting struct {
	*badDisk
	asked                      *answers
	bits, rounds, stops, found int
}

// rot turns bits around in the files of the running service while children are on their way: any bits, on a disk that takes no more
// writes, as one that the kernel has remounted read-only for its errors; then bits of rows, on one that goes on, so that the service copies
// what is damaged. Then the bits are turned back, and the child's way goes on.
func (b *badDisk) rot(t *testing.T, anywhere, inRows int) {
	t.Helper()
	r := &rotting{badDisk: b, asked: b.askFor(t, b.names[:4])}
	told := len(b.logged(t))
	for range anywhere {
		b.during(t, func(done func() bool) { r.anywhere(t, done) })
	}
	for range inRows {
		b.during(t, func(done func() bool) { r.inRows(t, done) })
	}
	if said := b.logged(t)[told:]; strings.Contains(said, "goroutine ") {
		t.Errorf("the service panicked: %s", said)
	}
	if r.found < r.rounds/2 || r.asked.right == 0 || r.stops == 0 {
		t.Error("hardly anything was damaged, or nothing served: the test is not what it should be")
	}
	right := r.asked.right
	posttest.Wait(t, "all is told as before", func() bool {
		before := r.asked.right
		b.compare(t, r.asked)
		return r.asked.right == before+len(r.asked.want)
	})
	t.Logf("%d bits turned around in %d rounds: check found damage after %d; %d stops; %d right answers, %d times none, %d times not found",
		r.bits, r.rounds, r.found, r.stops, right, r.asked.none, r.asked.lost)
}

// sofar is what the service had said, and done, before anything was damaged: it may notice, stop and say why at once.
type sofar struct {
	logged, lost, restarts int
}

func (r *rotting) sofar(t *testing.T) sofar {
	t.Helper()
	return sofar{len(r.logged(t)), r.asked.lost, r.supervisor.Restarts(r.part)}
}

// until waits for something, and asks meanwhile. It answers whether the service has noticed any damage; the service does not run any more.
func (r *rotting) until(t *testing.T, before sofar, what string, holds func(stops int) bool) (noticed bool) {
	t.Helper()
	posttest.Wait(t, what, func() bool {
		r.compare(t, r.asked)
		return holds(r.supervisor.Restarts(r.part) - before.restarts)
	})
	r.supervisor.Hold(r.part)
	said := r.logged(t)[before.logged:]
	damaged := strings.Contains(said, kitstore.ErrDamaged.Error())
	stops := r.supervisor.Restarts(r.part) - before.restarts
	r.stops += stops
	if stops > 0 && !damaged && !strings.Contains(said, "no space left on device") {
		t.Errorf("the service stopped and did not say why: %s", said)
	}
	return damaged || r.asked.lost > before.lost
}

// moment waits for a random one on the child's way.
func (r *rotting) moment(t *testing.T, done func() bool) {
	t.Helper()
	r.disk.Plan(disktest.Plan{})
	steps := r.random.IntN(60)
	posttest.Wait(t, "a random moment", func() bool { return done() || r.disk.Counts().Steps > steps })
}

// judge holds what check finds against what the service noticed, and against whether anything reads differently.
func (r *rotting) judge(t *testing.T, finds, noticed, effective bool) {
	t.Helper()
	switch r.rounds++; {
	case finds:
		r.found++
	case noticed:
		t.Error("the service met damage that check does not find")
	case effective:
		t.Error("what is read has changed, and check does not find it")
	}
}

// bitsAtOnce are turned around in one round: anywhere, or one of a row each.
const bitsAtOnce, rowsAtOnce = 8, 12

// anywhere turns around any bits, from a random moment on which the disk takes no more writes. It waits until the service has stopped,
// and been started on what it finds.
func (r *rotting) anywhere(t *testing.T, done func() bool) {
	t.Helper()
	var all []flipped
	keys, rows := usedBits(t, filepath.Join(r.disk.Folder(), "keys.db")), usedBits(t, filepath.Join(r.disk.Folder(), "referral.db"))
	all = append(all, flipped{"keys.db", r.random.Int64N(keys)})
	for len(all) < bitsAtOnce {
		all = append(all, flipped{"referral.db", r.random.Int64N(rows)})
	}
	r.moment(t, done)
	before := r.sofar(t)
	r.disk.Plan(disktest.Plan{Full: true})
	for _, f := range all {
		r.disk.Flip(f.file, f.bit)
	}
	r.bits += len(all)
	noticed := r.until(t, before, "the service stops, and is started", func(stops int) bool { return done() || stops >= 2 })
	sum := func() string {
		return sumOfRows(t, filepath.Join(r.disk.Folder(), "referral.db"), filepath.Join(r.disk.Folder(), "keys.db"))
	}
	finds, rotten := checkFinds(r.ctx, r.apart(t, r.part, r.disk.Folder())), ""
	if !finds { // else bbolt might not be able to follow its pages
		rotten = sum()
	}
	for _, f := range all {
		r.disk.Flip(f.file, f.bit)
	}
	r.judge(t, finds, noticed, !finds && rotten != sum())
	r.disk.Plan(disktest.Plan{})
	r.supervisor.Release(r.part)
}

// inRows turns around bits of rows, some of them of what is asked for, and lets the service write on until it stops or the child has come through. Wherever a damaged row was
// copied to, it is turned back.
func (r *rotting) inRows(t *testing.T, done func() bool) {
	t.Helper()
	const file = "referral.db"
	path := filepath.Join(r.disk.Folder(), file)
	r.moment(t, done)
	posttest.Wait(t, "the service runs", func() bool { return r.supervisor.Freeze(r.part) })
	before := r.sofar(t)
	content, err := os.ReadFile(path)
	must(t, err)
	copied := filepath.Join(t.TempDir(), file)
	must(t, os.WriteFile(copied, content, 0o600))
	var asked, sound [][]byte
	eachRow(t, copied, func(_ string, _, row []byte) {
		if r.asked.about(row) {
			asked = append(asked, bytes.Clone(row))
		} else {
			sound = append(sound, bytes.Clone(row))
		}
	})
	for _, rows := range [][][]byte{asked, sound} {
		r.random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	if asked = asked[:min(len(asked), rowsAtOnce/3)]; r.rounds%2 == 1 {
		asked = nil // so that answers are given beside what is damaged
	}
	rotten := map[string]int64{} // which bit of the row
	for _, row := range slices.Concat(asked, sound) {
		if len(rotten) == rowsAtOnce {
			break
		}
		if bytes.Count(content, row) > 1 { // an older page has it too
			continue
		}
		bit := r.random.Int64N(8 * int64(len(row)))
		r.disk.Flip(file, 8*int64(bytes.Index(content, row))+bit)
		row[bit/8] ^= 1 << (bit % 8)
		rotten[string(row)] = bit
	}
	r.bits += len(rotten)
	r.supervisor.Thaw(r.part)
	noticed := r.until(t, before, "the service stops, or the child has come through", func(stops int) bool { return done() || stops > 0 })

	finds, effective := checkFinds(r.ctx, r.apart(t, r.part, r.disk.Folder())), false
	eachRow(t, path, func(_ string, _, row []byte) {
		_, is := rotten[string(row)]
		effective = effective || is
	})
	r.judge(t, finds, noticed, effective)
	content, err = os.ReadFile(path)
	must(t, err)
	for row, bit := range rotten {
		for at := 0; ; at++ {
			next := bytes.Index(content[at:], []byte(row))
			if next < 0 {
				break
			}
			at += next
			r.disk.Flip(file, 8*int64(at)+bit)
		}
	}
	if checkFinds(r.ctx, r.apart(t, r.part, r.disk.Folder())) {
		t.Fatal("the bits were turned back, and check finds something")
	}
	r.supervisor.Release(r.part)
}

// bitsAtRest are turned around in each file.
const bitsAtRest = 20

// rotAtRest turns bits around, one after the other, in copies of the files of the node, which does not run: check finds each, or there is nothing
// that reads differently.
func (b *badDisk) rotAtRest(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	found, all, harmless := map[string]int{}, 0, 0
	for _, service := range []string{network.Protection, network.Referral, network.Shelter} {
		part := network.Part{Node: b.part.Node, Name: service}
		folder := filepath.Join(t.TempDir(), service)
		must(t, os.CopyFS(folder, os.DirFS(filepath.Join(b.layout.Root, part.Node, part.Name))))
		root := b.apart(t, part, folder)
		for _, file := range []string{service + ".db", "keys.db"} {
			path := filepath.Join(folder, file)
			sound := sumOfRows(t, path)
			for range bitsAtRest {
				bit := b.random.Int64N(usedBits(t, path))
				flip(t, path, bit)
				switch {
				case checkFinds(ctx, root):
					found[file]++
					all++
				case sumOfRows(t, path) != sound:
					t.Errorf("bit %d of %s of %s: what is read has changed, and check does not find it", bit, file, part)
				default:
					harmless++
				}
				flip(t, path, bit)
			}
		}
		if checkFinds(ctx, root) {
			t.Errorf("the bits of %s were turned back, and check finds something", part)
		}
	}
	if all < 5 {
		t.Error("hardly anything was damaged: the test is not what it should be")
	}
	t.Logf("%d bits turned around in files at rest: check found %d, in %v; %d lay where nothing is read", all+harmless, all, found, harmless)
}

// flip turns one bit of a file around.
func flip(t *testing.T, path string, bit int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], bit/8)
	must(t, err)
	b[0] ^= 1 << (bit % 8)
	_, err = f.WriteAt(b[:], bit/8)
	must(t, errors.Join(err, f.Close()))
}
