package post

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

// OutgoingFile is a file to be sent, on the bulk lane.
type OutgoingFile struct {
	// To is the receiving service.
	To *postv1.Address
	// Kind is what the receiver's table of attachment handlers is keyed by, such as `dossier.scan.v1`.
	Kind string
	// About is what it is about. At most 200 bytes; no person's data.
	About string
	// Content is read to its end. It may hold anything: it is sealed before it is stored.
	Content io.Reader
}

// PreparedFile is a file sealed and stored, ready to be queued.
type PreparedFile struct {
	row  *postv1.OutgoingAttachment
	path string
}

// ID of the attachment, which the receiver sees too.
func (f PreparedFile) ID() []byte { return f.row.GetFirst().GetAttachmentId() }

// PrepareFile seals a file to its receiver and stores it, before any transaction. What is then not queued is to be
// given to DiscardFile; after a crash it is removed at the next start.
func (p *Post) PrepareFile(o OutgoingFile) (PreparedFile, error) {
	a := p.attachments
	switch {
	case a == nil:
		return PreparedFile{}, errors.New("post: Config.Attachments is needed to send files")
	case !p.keys.Active(o.To.GetNode(), o.To.GetService()):
		return PreparedFile{}, fmt.Errorf("field to: the roster names no service %s at an active node %s", o.To.GetService(), o.To.GetNode())
	case !kindPattern.MatchString(o.Kind):
		return PreparedFile{}, fmt.Errorf("field kind: %q does not match %s", o.Kind, kindPattern)
	case len(o.About) > maxSubject:
		return PreparedFile{}, fmt.Errorf("field about: it has %d bytes, at most %d are allowed", len(o.About), maxSubject)
	case o.Content == nil:
		return PreparedFile{}, errors.New("field content: it is missing")
	}
	first := &postv1.AttachmentChunk{AttachmentId: make([]byte, letterIDSize), Kind: o.Kind, About: o.About}
	secret := make([]byte, fileKeyBytes)
	if err := errors.Join(p.random(first.GetAttachmentId()), p.random(secret)); err != nil {
		return PreparedFile{}, err
	}
	sealedKey, err := p.keys.Seal(o.To.GetNode(), o.To.GetService(), attachmentInfo, attachmentAAD(p.self, o.To, first), secret)
	if err != nil {
		return PreparedFile{}, fmt.Errorf("seal the file's key: %w", err)
	}
	prepared := PreparedFile{
		row: &postv1.OutgoingAttachment{To: o.To, First: first}, path: a.outPath(o.To, first.GetAttachmentId()),
	}
	if err := writeSealed(prepared, o.Content, secret, sealedKey, a.maxBytes); err != nil {
		discard(prepared.path)
		if errors.Is(err, errTooLong) {
			return PreparedFile{}, fmt.Errorf("field content: it has more than the %d bytes that are allowed", a.maxBytes)
		}
		return PreparedFile{}, fmt.Errorf("store the file, sealed: %w", err)
	}
	return prepared, nil
}

// writeSealed writes the file durably and notes its size and hashes.
func writeSealed(f PreparedFile, content io.Reader, key, sealedKey []byte, most int64) error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sums := &chunkSums{whole: sha256.New(), chunk: sha256.New()}
	err = sealFile(io.MultiWriter(file, sums), content, key, sealedKey, most)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	first := f.row.GetFirst()
	first.FileBytes, first.FileSha256, f.row.ChunkSha256 = sums.size, sums.whole.Sum(nil), sums.end()
	first.ChunkCount, first.ChunkSha256 = chunkCount(sums.size), f.row.GetChunkSha256()[0]
	return durable.SyncName(f.path)
}

// chunkSums hashes what is written, as a whole and piece by piece.
type chunkSums struct {
	whole, chunk hash.Hash
	size         uint64
	all          [][]byte
}

func (s *chunkSums) Write(data []byte) (int, error) {
	s.whole.Write(data) // a hash takes everything
	for rest := data; len(rest) > 0; {
		n := min(len(rest), int(chunkBytes-s.size%chunkBytes))
		s.chunk.Write(rest[:n])
		s.size += uint64(n)
		if rest = rest[n:]; s.size%chunkBytes == 0 {
			s.all = append(s.all, s.chunk.Sum(nil))
			s.chunk.Reset()
		}
	}
	return len(data), nil
}

func (s *chunkSums) end() [][]byte {
	if s.size%chunkBytes != 0 {
		s.all = append(s.all, s.chunk.Sum(nil))
	}
	return s.all
}

// DiscardFile removes a prepared file that is not to be queued.
func (p *Post) DiscardFile(f PreparedFile) { discard(f.path) }

// QueueFile queues a prepared file: it is sent if and only if the transaction commits, behind all letters queued earlier
// to the same service on the bulk lane. The file is kept, sealed, until the letters leave the outbox (Config.Keep after
// they are receipted).
func (p *Post) QueueFile(tx *store.Tx, f PreparedFile) error {
	a := p.attachments
	kept, err := a.outgoing.Count(tx)
	if err != nil {
		return err
	}
	if kept >= uint64(a.maxOpen) {
		return fmt.Errorf("%d files are under way or kept for a receiver that may be restored, and no more are allowed; try again later", kept)
	}
	row := proto.CloneOf(f.row) // the transaction may be run again by its caller
	row.QueueTime = timestamppb.New(p.clock())
	return p.queueChunks(tx, row)
}

// queueChunks queues a letter for each piece, without its data, and stores the file's row.
func (p *Post) queueChunks(tx *store.Tx, row *postv1.OutgoingAttachment) error {
	for i, sum := range row.GetChunkSha256() {
		chunk := proto.CloneOf(row.GetFirst())
		chunk.Position, chunk.ChunkSha256 = uint32(i), sum
		body, err := proto.Marshal(chunk)
		if err != nil {
			return err
		}
		l := &postv1.Letter{LetterId: make([]byte, letterIDSize), Kind: kindChunk, Subject: attachmentSubject(chunk.GetAttachmentId()), Body: body}
		if err := p.newLetterID(l.GetLetterId()); err != nil {
			return err
		}
		if err := p.QueuePrepared(tx, Prepared{to: endOf(row.GetTo(), postv1.Lane_LANE_BULK), letter: l}); err != nil {
			return err
		}
	}
	row.KeptLetters += uint32(len(row.GetChunkSha256()))
	return p.attachments.outgoing.Put(tx, attachmentKey(row.GetTo(), row.GetFirst().GetAttachmentId()), row)
}

// fill puts the data of a piece into its letter as it leaves. A file that is gone or damaged is told to the receiver
// by a letter without data, which it refuses, so that the sender learns of it and the link is not jammed.
func (p *Post) fill(to *postv1.Address, l *postv1.Letter) error {
	if l.GetKind() != kindChunk || p.attachments == nil {
		return nil
	}
	chunk := &postv1.AttachmentChunk{}
	if err := proto.Unmarshal(l.GetBody(), chunk); err != nil {
		return err
	}
	data, err := readChunk(p.attachments.outPath(to, chunk.GetAttachmentId()), chunk)
	if err != nil {
		return &fileError{err}
	}
	if sum := sha256.Sum256(data); bytes.Equal(sum[:], chunk.GetChunkSha256()) {
		chunk.Data = data
	} else {
		p.log.Error("a file to be sent is gone or damaged", logging.Peer(to.GetNode(), to.GetService()))
	}
	l.Body, err = (proto.MarshalOptions{Deterministic: true}).Marshal(chunk)
	return err
}

// readChunk reads a piece as far as it is there.
func readChunk(path string, chunk *postv1.AttachmentChunk) ([]byte, error) {
	file, err := os.Open(path)
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data := make([]byte, chunkSize(chunk))
	n, err := file.ReadAt(data, int64(chunk.GetPosition())*chunkBytes)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], errors.Join(err, file.Close())
}

// chunkLetGo notes that the outbox lets go of a letter; with the last of a file's letters the file goes too.
func (p *Post) chunkLetGo(tx *store.Tx, to end, l *postv1.Letter) error {
	a := p.attachments
	row, key, err := p.outgoingOf(tx, to, l)
	if row == nil || err != nil {
		return err
	}
	if row.KeptLetters--; row.GetKeptLetters() > 0 {
		return a.outgoing.Put(tx, key, row)
	}
	path := a.outPath(row.GetTo(), row.GetFirst().GetAttachmentId())
	tx.AfterCommit(func() { discard(path) })
	return a.outgoing.Delete(tx, key)
}

// chunkRefused notes why a receiver does not take a file.
func (p *Post) chunkRefused(tx *store.Tx, to end, l *postv1.Letter, signed *postv1.SignedRefusal) error {
	row, key, err := p.outgoingOf(tx, to, l)
	if row == nil || err != nil || row.GetRefusal() != "" {
		return err
	}
	var refusal postv1.Refusal
	if err := proto.Unmarshal(signed.GetRefusal(), &refusal); err != nil {
		return err
	}
	row.Refusal = refusal.GetReason()
	return p.attachments.outgoing.Put(tx, key, row)
}

// outgoingOf is the row of the file that a letter of ours is a piece of; nil when it is none.
func (p *Post) outgoingOf(r store.Reader, to end, l *postv1.Letter) (*postv1.OutgoingAttachment, store.Key, error) {
	if p.attachments == nil || l.GetKind() != kindChunk {
		return nil, nil, nil
	}
	var chunk postv1.AttachmentChunk
	if err := proto.Unmarshal(l.GetBody(), &chunk); err != nil {
		return nil, nil, err
	}
	key := attachmentKey(to.address(), chunk.GetAttachmentId())
	row, err := p.attachments.outgoing.Get(r, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	return row, key, err
}

// sendAgain queues all of a file once more, for a receiver that found it damaged. Letters that are kept bound how often: a receiver that
// means harm fills no outbox.
func (p *Post) sendAgain(tx *store.Tx, from *postv1.Address, l *postv1.Letter) error {
	var again postv1.AttachmentAgain
	if err := proto.Unmarshal(l.GetBody(), &again); err != nil {
		return Refuse(reasonChunk)
	}
	row, err := p.attachments.outgoing.Get(tx, attachmentKey(from, again.GetAttachmentId()))
	if errors.Is(err, store.ErrNotFound) {
		return Refuse(reasonGone)
	}
	if err != nil {
		return err
	}
	if row.GetKeptLetters() > maxAskedAgain*row.GetFirst().GetChunkCount() {
		return Refuse(reasonOften)
	}
	return p.queueChunks(tx, row)
}
