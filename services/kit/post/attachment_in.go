package post

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

// Reasons for which pieces of files are refused.
const (
	reasonChunk       = "attachment-malformed"
	reasonGone        = "attachment-gone"
	reasonTooLarge    = "attachment-too-large"
	reasonTooMany     = "attachment-too-many-unfinished"
	reasonUnknownFile = "attachment-unknown"
	reasonDiffers     = "attachment-differs-from-its-beginning"
	reasonDamaged     = "attachment-damaged"
	reasonFileSeal    = "attachment-does-not-open"
	reasonOften       = "attachment-sent-often-enough"
)

// storedChunk is a piece that was written to its file before the transaction that counts it.
type storedChunk struct {
	chunk   *postv1.AttachmentChunk
	reason  string // why it can never be taken
	written bool
	whole   bool // it was the last, and the file is what it should be
}

// storeChunks writes the pieces of files that a parcel holds, durably, before the transaction that counts
// them: files do not keep the store waiting. A piece counted already is not written again. A piece that is
// written and then not counted is written over when it comes again. At the first that cannot be written now
// it stops, and says at which letter and why.
func (p *Post) storeChunks(ctx context.Context, in *parcelIn) (stopped int, err error) {
	in.chunks = make([]*storedChunk, len(in.letters))
	if p.attachments == nil {
		return len(in.letters), nil
	}
	from := in.from.address()
	next := map[string]uint32{} // by file, once a piece of it was written here
	for i, l := range in.letters {
		if l.GetKind() != kindChunk {
			continue
		}
		s := &storedChunk{chunk: &postv1.AttachmentChunk{}}
		in.chunks[i] = s
		if s.reason = p.checkChunk(l, s.chunk); s.reason != "" {
			continue
		}
		var row *postv1.IncomingAttachment
		var known bool // whatever became of it, and of its file
		err := p.db.View(ctx, func(r store.Reader) (err error) {
			if known, err = p.tables.known.Has(r, in.from.letter(l.GetLetterId())); err == nil && !known {
				row, err = p.incoming(r, from, s.chunk)
			}
			return err
		})
		if err != nil {
			return i, err
		}
		id, position := string(s.chunk.GetAttachmentId()), s.chunk.GetPosition()
		if known || row.GetState() == postv1.IncomingAttachment_STATE_WHOLE || position != max(row.GetReceivedChunks(), next[id]) {
			continue // nothing to write, or out of order
		}
		if err := p.storeChunk(from, s); err != nil {
			return i, &fileError{err}
		}
		next[id] = position + 1
	}
	return len(in.letters), nil
}

// incoming is the row of a file that comes; nil when there is none yet.
func (p *Post) incoming(r store.Reader, from *postv1.Address, c *postv1.AttachmentChunk) (*postv1.IncomingAttachment, error) {
	row, err := p.attachments.incoming.Get(r, attachmentKey(from, c.GetAttachmentId()))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return row, err
}

// checkChunk reads a piece and says why it can never be taken.
func (p *Post) checkChunk(l *postv1.Letter, c *postv1.AttachmentChunk) (reason string) {
	if err := proto.Unmarshal(l.GetBody(), c); err != nil {
		return reasonChunk
	}
	sum := sha256.Sum256(c.GetData())
	switch {
	case len(c.GetAttachmentId()) != letterIDSize || len(c.GetFileSha256()) != sha256.Size || c.GetFileBytes() == 0,
		len(c.GetAbout()) > maxSubject, l.GetSubject() != attachmentSubject(c.GetAttachmentId()):
		return reasonChunk
	case c.GetFileBytes() > p.attachments.maxSealed():
		return reasonTooLarge
	case c.GetChunkCount() != chunkCount(c.GetFileBytes()) || c.GetPosition() >= c.GetChunkCount():
		return reasonChunk
	case len(c.GetData()) == 0:
		return reasonGone
	case len(c.GetData()) != chunkSize(c) || !bytes.Equal(sum[:], c.GetChunkSha256()):
		return reasonChunk
	case p.attachments.handlers[c.GetKind()] == nil:
		return reasonUnknownKind
	}
	return ""
}

// storeChunk writes a piece where it belongs in its file, and after the last verifies the file.
func (p *Post) storeChunk(from *postv1.Address, s *storedChunk) (err error) {
	path := p.attachments.inPath(from, s.chunk.GetAttachmentId())
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteAt(s.chunk.GetData(), int64(s.chunk.GetPosition())*chunkBytes); err != nil {
		return err
	}
	last := s.chunk.GetPosition()+1 == s.chunk.GetChunkCount()
	if last { // what a crash may have left beyond
		if err := file.Truncate(int64(s.chunk.GetFileBytes())); err != nil {
			return err
		}
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if s.chunk.GetPosition() == 0 {
		if err := durable.SyncName(path); err != nil {
			return err
		}
	}
	s.written = true
	if !last {
		return nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(file, 0, int64(s.chunk.GetFileBytes()))); err != nil {
		return err
	}
	if s.whole = bytes.Equal(sum.Sum(nil), s.chunk.GetFileSha256()); s.whole {
		if _, err := p.fileKey(io.NewSectionReader(file, 0, maxSealedKey+2), from, s.chunk); err != nil {
			s.reason = reasonFileSeal
		}
	}
	return nil
}

// fileKey opens the key at the beginning of a sealed file.
func (p *Post) fileKey(in io.Reader, from *postv1.Address, c *postv1.AttachmentChunk) ([]byte, error) {
	sealed, err := readSealedKey(in)
	if err != nil {
		return nil, err
	}
	key, err := p.keys.Open(attachmentInfo, attachmentAAD(from, p.self, c), sealed)
	if err != nil || len(key) != fileKeyBytes {
		return nil, errFileSeal
	}
	return key, nil
}

// applyChunk counts a piece, and with the last tells the file's handler. Its errors are a Handler's.
func (p *Post) applyChunk(tx *store.Tx, from *postv1.Address, s *storedChunk, now time.Time) error {
	if s.reason != "" {
		return Refuse(s.reason)
	}
	c := s.chunk
	row, err := p.incoming(tx, from, c)
	if err != nil {
		return err
	}
	if row == nil {
		if row, err = p.beginFile(tx, from, c); err != nil {
			return err
		}
	}
	switch first := row.GetFirst(); {
	case !bytes.Equal(first.GetFileSha256(), c.GetFileSha256()) || first.GetFileBytes() != c.GetFileBytes(),
		first.GetKind() != c.GetKind() || first.GetAbout() != c.GetAbout():
		return Refuse(reasonDiffers)
	case row.GetState() == postv1.IncomingAttachment_STATE_WHOLE || c.GetPosition() < row.GetReceivedChunks():
		return nil
	case c.GetPosition() > row.GetReceivedChunks():
		return Refuse(reasonUnknownFile)
	case !s.written:
		return errors.New("a piece of a file was not written yet")
	}
	row.ReceivedChunks++
	row.HeardTime = timestamppb.New(now)
	key := attachmentKey(from, c.GetAttachmentId())
	if row.GetReceivedChunks() == c.GetChunkCount() {
		if !s.whole {
			return p.askAgain(tx, from, key, row)
		}
		row.State = postv1.IncomingAttachment_STATE_WHOLE
		file := Attachment{ID: c.GetAttachmentId(), Kind: c.GetKind(), About: c.GetAbout(), SealedBytes: c.GetFileBytes()}
		if err := p.attachments.handlers[c.GetKind()](tx, from, file); err != nil {
			return err
		}
	}
	return p.attachments.incoming.Put(tx, key, row)
}

// beginFile judges whether another file may begin to come.
func (p *Post) beginFile(tx *store.Tx, from *postv1.Address, c *postv1.AttachmentChunk) (*postv1.IncomingAttachment, error) {
	if c.GetPosition() != 0 {
		return nil, Refuse(reasonUnknownFile)
	}
	unfinished := 0
	err := p.attachments.incoming.Scan(tx, store.Range{Prefix: store.K(from.GetNode(), from.GetService())}, func(_ store.Key, i *postv1.IncomingAttachment) error {
		if i.GetState() == postv1.IncomingAttachment_STATE_RECEIVING {
			unfinished++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if unfinished >= p.attachments.maxOpen {
		return nil, Refuse(reasonTooMany)
	}
	first := proto.CloneOf(c)
	first.Data = nil
	return &postv1.IncomingAttachment{From: from, First: first, State: postv1.IncomingAttachment_STATE_RECEIVING}, nil
}

// askAgain has a file come once more that is not what its sender said it is: a disk has forgotten something.
func (p *Post) askAgain(tx *store.Tx, from *postv1.Address, key store.Key, row *postv1.IncomingAttachment) error {
	if row.AskedAgain++; row.GetAskedAgain() > maxAskedAgain {
		return Refuse(reasonDamaged)
	}
	row.ReceivedChunks = 0
	tx.AfterCommit(func() {
		p.log.Error("a file that came is damaged; it is asked for once more", logging.Peer(from.GetNode(), from.GetService()))
	})
	err := p.Queue(tx, Outgoing{
		To: from, Lane: postv1.Lane_LANE_BULK, Kind: kindAgain, Body: &postv1.AttachmentAgain{AttachmentId: row.GetFirst().GetAttachmentId()},
	})
	if err != nil {
		return err
	}
	return p.attachments.incoming.Put(tx, key, row)
}

// dropRefused forgets an unfinished file of which a piece was refused.
func (p *Post) dropRefused(tx *store.Tx, from *postv1.Address, l *postv1.Letter) error {
	var c postv1.AttachmentChunk
	if p.attachments == nil || l.GetKind() != kindChunk || proto.Unmarshal(l.GetBody(), &c) != nil || len(c.GetAttachmentId()) != letterIDSize {
		return nil
	}
	path := p.attachments.inPath(from, c.GetAttachmentId())
	row, err := p.incoming(tx, from, &c)
	if err != nil || row.GetState() == postv1.IncomingAttachment_STATE_WHOLE {
		return err
	}
	tx.AfterCommit(func() { discard(path) })
	if row == nil {
		return nil
	}
	return p.attachments.incoming.Delete(tx, attachmentKey(from, c.GetAttachmentId()))
}

// OpenAttachment reads the content of a file that is whole. What it gives out is verified; an error in the
// middle says that the file was changed on disk. Close it.
func (p *Post) OpenAttachment(ctx context.Context, from *postv1.Address, id []byte) (io.ReadCloser, error) {
	var row *postv1.IncomingAttachment
	err := p.db.View(ctx, func(r store.Reader) (err error) {
		row, err = p.attachments.incoming.Get(r, attachmentKey(from, id))
		return err
	})
	if err != nil {
		return nil, err
	}
	if row.GetState() != postv1.IncomingAttachment_STATE_WHOLE {
		return nil, fmt.Errorf("the file is not whole yet: %w", store.ErrNotFound)
	}
	file, err := os.Open(p.attachments.inPath(from, id))
	if err != nil {
		return nil, err
	}
	key, err := p.fileKey(file, from, row.GetFirst())
	if err == nil {
		var opened *openedFile
		if opened, err = newOpenedFile(file, key); err == nil {
			return opened, nil
		}
	}
	return nil, errors.Join(err, file.Close())
}

// RemoveAttachment lets go of a file that came: its sealed bytes are removed once the transaction commits.
func (p *Post) RemoveAttachment(tx *store.Tx, from *postv1.Address, id []byte) error {
	path := p.attachments.inPath(from, id)
	tx.AfterCommit(func() { discard(path) })
	return p.attachments.incoming.Delete(tx, attachmentKey(from, id))
}

// giveUpFiles lets go of files of which nothing came for long.
func (p *Post) giveUpFiles(ctx context.Context, now time.Time) error {
	if p.attachments == nil {
		return nil
	}
	var old []*postv1.IncomingAttachment
	err := p.db.View(ctx, func(r store.Reader) error {
		all, err := p.attachments.Incoming(r)
		for _, i := range all {
			if i.GetState() == postv1.IncomingAttachment_STATE_RECEIVING && now.Sub(i.GetHeardTime().AsTime()) > attachmentPatience {
				old = append(old, i)
			}
		}
		return err
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return p.db.Update(ctx, func(tx *store.Tx) error {
		for _, i := range old {
			p.log.Error("a file never came whole and is given up", logging.Peer(i.GetFrom().GetNode(), i.GetFrom().GetService()))
			if err := p.RemoveAttachment(tx, i.GetFrom(), i.GetFirst().GetAttachmentId()); err != nil {
				return err
			}
		}
		return nil
	})
}
