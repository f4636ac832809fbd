package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"amanat.example/services/kit/mutant"
)

// A backup is: backupMagic; per bucket its name, then key and row of each of its rows, then an empty key; an empty name; and
// SHA-256 of all before. Names, keys and rows have their length before them as a uvarint.
const backupMagic = "amanat store backup 1\n"

// maxBackupField bounds what a damaged length can make Restore allocate.
const maxBackupField = 1 << 30

// Backup writes one consistent state of the store, while it goes on working. Every row is verified on the way, and so is every
// count, so a damaged store gives an error and no backup. Write to something quick: pages of the file cannot be reused
// until it is done.
func (db *DB) Backup(ctx context.Context, w io.Writer) error {
	return db.View(ctx, func(r Reader) error {
		out := bufio.NewWriterSize(w, 1<<16)
		sum := sha256.New()
		b := &backupWriter{w: io.MultiWriter(out, sum)}
		b.text([]byte(backupMagic), false)
		err := exportRows(ctx, r.(*view).tx, b)
		if errors.Is(err, ErrDamaged) {
			return db.fail(err)
		}
		b.text(nil, true)
		if err = errors.Join(err, b.err); err != nil {
			return fmt.Errorf("back up store %s: %w", db.schema.name, err)
		}
		out.Write(sum.Sum(nil)) // Flush tells
		return out.Flush()
	})
}

// rowSink takes rows bucket by bucket.
type rowSink interface {
	begin(bucket string) error
	put(key, raw []byte) error
	end() error // of the bucket
}

// exportRows gives a whole store to a sink, verified.
func exportRows(ctx context.Context, tx EngineTx, sink rowSink) error {
	_, stats, found, err := readMeta(tx)
	if err != nil {
		return err
	}
	if !found {
		return damaged("the file row is missing")
	}
	for _, bucket := range append([]string{metaBucket}, sortedNames(stats)...) {
		if err := sink.begin(bucket); err != nil {
			return err
		}
		have := stat{kind: stats[bucket].kind}
		rows := &engineRows{bucket: bucket, it: tx.Iterate(bucket, nil, nil, false)}
		for {
			key, r, err := rows.next()
			if err != nil {
				return err
			}
			if r == nil {
				break
			}
			if have.count%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			have = have.plus(nil, r)
			if err := sink.put(key, r.raw); err != nil {
				return err
			}
		}
		if err := sink.end(); err != nil {
			return err
		}
		if bucket != metaBucket && have != stats[bucket] {
			return damaged("%s has %d rows, which are not the %d that were written", bucket, have.count, stats[bucket].count)
		}
	}
	return nil
}

type backupWriter struct {
	w   io.Writer
	err error
	buf [binary.MaxVarintLen64]byte
}

func (b *backupWriter) text(text []byte, withLength bool) {
	if withLength && b.err == nil {
		_, b.err = b.w.Write(binary.AppendUvarint(b.buf[:0], uint64(len(text))))
	}
	if b.err == nil {
		_, b.err = b.w.Write(text)
	}
}

func (b *backupWriter) begin(bucket string) error {
	b.text([]byte(bucket), true)
	return b.err
}

func (b *backupWriter) put(key, raw []byte) error {
	b.text(key, true)
	b.text(raw, true)
	return b.err
}

func (b *backupWriter) end() error {
	b.text(nil, true)
	return b.err
}

// Restore makes a store from a backup: the file o.Path, or the contents of o.Engine, which must be empty. It appears whole or
// not at all, with a new incarnation: the time of the clock, or one more than the backup's if that is greater. A file that
// is there gives ErrExists, unless replace is set; then its store must be closed, or the error is ErrLocked. A backup that is
// damaged or cut short gives ErrDamaged, one of another schema ErrWrongStore, and one of a newer program ErrNewer.
func Restore(ctx context.Context, r io.Reader, o Options, replace bool) error {
	if o.Schema == nil {
		return errors.New("store.Restore: Options.Schema is required")
	}
	o = o.withDefaults()
	fill := func(e Engine) error {
		w := &rowWriter{engine: e, whole: o.Engine != nil, schema: o.Schema, incarnation: incarnationAt(o.Clock())}
		if err := readBackup(ctx, r, w); err != nil {
			return errors.Join(err, w.abandon())
		}
		return w.finish()
	}
	var err error
	switch {
	case o.Engine == nil:
		err = replaceFile(o.Path, o.LockWait, replace, fill)
	default:
		if err = mustBeEmpty(o.Engine); err == nil {
			err = fill(o.Engine)
		}
	}
	if err != nil {
		return fmt.Errorf("restore store %s: %w", o.Schema.name, err)
	}
	return nil
}

func mustBeEmpty(e Engine) error {
	tx, err := e.Begin(false)
	if err != nil {
		return err
	}
	_, _, found, err := readMeta(tx)
	if found {
		err = fmt.Errorf("the engine holds a store: %w", ErrExists)
	}
	return errors.Join(err, tx.Rollback())
}

// replaceFile is writeFile that holds the lock of the file it replaces.
func replaceFile(path string, lockWait time.Duration, replace bool, fill func(Engine) error) error {
	if replace {
		switch f, err := openLocked(path, os.O_RDWR, 0, lockWait); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		default:
			defer f.Close() // frees the lock; nothing was written through it
		}
	}
	return writeFile(path, replace, fill)
}

// readBackup gives the rows of a backup to a sink. The sink keeps nothing before finish, which comes after the sum was right.
func readBackup(ctx context.Context, r io.Reader, sink rowSink) error {
	b := &backupReader{r: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
	magic := b.exactly(len(backupMagic))
	if b.err != nil || string(magic) != backupMagic {
		return fmt.Errorf("this is no backup of a store: %w", ErrDamaged)
	}
	for n := 0; ; {
		bucket := b.text()
		if b.err != nil || len(bucket) == 0 {
			break
		}
		if err := sink.begin(string(bucket)); err != nil {
			return err
		}
		for {
			key := b.text()
			if b.err != nil || len(key) == 0 {
				break
			}
			if raw := b.text(); b.err == nil {
				if err := sink.put(key, raw); err != nil {
					return err
				}
			}
			if n++; n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if b.err == nil {
			if err := sink.end(); err != nil {
				return err
			}
		}
	}
	want := b.sum.Sum(nil)
	if got := b.exactly(sha256.Size); b.err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("the backup is incomplete or not as it was written: %w", errors.Join(ErrDamaged, b.err))
	}
	return nil
}

type backupReader struct {
	r   *bufio.Reader
	sum hash.Hash
	err error
}

func (b *backupReader) ReadByte() (byte, error) {
	c, err := b.r.ReadByte()
	if err == nil {
		b.sum.Write([]byte{c})
	}
	return c, err
}

func (b *backupReader) exactly(n int) []byte {
	if b.err != nil {
		return nil
	}
	// Read as it comes, so that a wrong length does not allocate before the file has ended.
	var buf bytes.Buffer
	if _, b.err = io.CopyN(&buf, b.r, int64(n)); errors.Is(b.err, io.EOF) {
		b.err = io.ErrUnexpectedEOF
	}
	b.sum.Write(buf.Bytes())
	return buf.Bytes()
}

func (b *backupReader) text() []byte {
	if b.err != nil {
		return nil
	}
	n, err := binary.ReadUvarint(b)
	if err == nil && n > maxBackupField {
		err = errors.New("a length is out of range")
	}
	if b.err = err; err != nil {
		return nil
	}
	return b.exactly(int(n))
}

// rowWriter fills an engine with the rows of another store, verifying them again.
type rowWriter struct {
	engine      Engine
	whole       bool    // commit once, whatever the size
	schema      *Schema // nil: any
	incarnation uint64  // at least; 0: keep

	tx      EngineTx
	pending int
	bucket  string
	meta    fileMeta
	stats   map[string]stat // as the meta bucket says
	have    map[string]stat
	last    []byte
}

// chunk is how many bytes a rowWriter commits at once into a file that nobody sees before it is whole.
const chunk = 16 << 20

func (w *rowWriter) begin(bucket string) error {
	if w.have == nil {
		w.have, w.stats = make(map[string]stat), make(map[string]stat)
	}
	s, declared := w.stats[bucket]
	if _, twice := w.have[bucket]; twice || !declared && bucket != metaBucket {
		return damaged("a bucket is there twice or unknown")
	}
	w.bucket, w.last, w.have[bucket] = bucket, nil, stat{kind: s.kind}
	return nil
}

func (w *rowWriter) put(key, raw []byte) (err error) {
	r, err := openRow(w.bucket, key, raw)
	if err != nil {
		return err
	}
	if bytes.Compare(key, w.last) <= 0 {
		return damaged("the keys of %s are out of order", w.bucket)
	}
	w.last = key
	w.have[w.bucket] = w.have[w.bucket].plus(nil, r)
	if w.tx == nil {
		if w.tx, err = w.engine.Begin(true); err != nil {
			return err
		}
	}
	if w.pending += len(key) + len(raw); w.pending > chunk && !w.whole {
		w.pending = 0
		if err = w.tx.Commit(); err != nil {
			return err
		}
		if w.tx, err = w.engine.Begin(true); err != nil {
			return err
		}
	}
	if w.bucket == metaBucket {
		return w.putMeta(key, r)
	}
	return w.tx.Put(w.bucket, key, raw)
}

// putMeta notes the store's own rows and gives the file row its new incarnation.
func (w *rowWriter) putMeta(key []byte, r *row) (err error) {
	if !bytes.Equal(key, fileKey) {
		name, ok := bytes.CutPrefix(key, []byte(statPrefix))
		if !ok {
			return damaged("the store's own bucket has a row it cannot have")
		}
		if w.stats[string(name)], err = decodeStat(string(name), r.payload); err != nil {
			return err
		}
		return w.tx.Put(metaBucket, key, r.raw)
	}
	if w.meta, err = decodeFileMeta(r.payload); err != nil {
		return err
	}
	switch s := w.schema; {
	case s != nil && w.meta.name != s.name:
		return fmt.Errorf("it belongs to %s: %w", w.meta.name, ErrWrongStore)
	case s != nil && w.meta.schema > s.version:
		return fmt.Errorf("it has version %d and this program knows up to %d: %w", w.meta.schema, s.version, ErrNewer)
	}
	if w.incarnation > 0 && !mutant.Off("life") {
		if mutant.Off("incuniq") {
			w.incarnation = 0
		}
		w.meta.incarnation = max(w.incarnation, w.meta.incarnation+1)
	}
	return putMeta(w.tx, w.meta)
}

func (w *rowWriter) end() error {
	if have, want := w.have[w.bucket], w.stats[w.bucket]; w.bucket != metaBucket && have != want {
		return damaged("%s has %d rows, which are not the %d that were written", w.bucket, have.count, want.count)
	}
	return nil
}

func (w *rowWriter) finish() error {
	if w.meta.name == "" || len(w.have) != len(w.stats)+1 {
		return errors.Join(damaged("a bucket is missing"), w.abandon())
	}
	tx := w.tx
	w.tx = nil
	return tx.Commit()
}

func (w *rowWriter) abandon() error {
	if w.tx == nil {
		return nil
	}
	return w.tx.Rollback()
}
