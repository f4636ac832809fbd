package post

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/store"
)

// Limits of attachments, where the service sets no others.
const (
	// DefaultMaxAttachment bounds the content of one file.
	DefaultMaxAttachment = 64 << 20
	// DefaultMaxAttachments bounds the files a service keeps for others, and those unfinished from any one sender.
	DefaultMaxAttachments = 64
)

const (
	kindChunk = "post.attachment.v1"
	kindAgain = "post.attachment_again.v1"

	chunkBytes = 240 << 10
	// A file that stays incomplete so long will never be whole: its sender was restored and knows it no more.
	attachmentPatience = 30 * 24 * time.Hour
	maxAskedAgain      = 3
)

// AttachmentHandler is told once that a file is whole, in the transaction that makes it so. It reads the file
// later, with Post.OpenAttachment, and lets go of it with Post.RemoveAttachment. Its errors are those of a Handler.
type AttachmentHandler func(tx *store.Tx, from *postv1.Address, file Attachment) error

// Attachment is a file that came.
type Attachment struct {
	ID          []byte
	Kind, About string
	// SealedBytes is the size on disk; the content is a little smaller.
	SealedBytes uint64
}

// AttachmentTables are those of attachments in the schema of the service that owns them.
type AttachmentTables struct {
	// (to node, to service, attachment id)
	outgoing *store.Table[*postv1.OutgoingAttachment]
	// (from node, from service, attachment id)
	incoming *store.Table[*postv1.IncomingAttachment]
}

// DeclareAttachments adds the tables of attachments to a service's schema. Version 1.
func DeclareAttachments(schema *store.Schema) *AttachmentTables {
	return &AttachmentTables{
		outgoing: store.NewTable[*postv1.OutgoingAttachment](schema, "post_attachments_out"),
		incoming: store.NewTable[*postv1.IncomingAttachment](schema, "post_attachments_in"),
	}
}

// Outgoing lists the files kept for others, with what became of them.
func (t *AttachmentTables) Outgoing(r store.Reader) (all []*postv1.OutgoingAttachment, err error) {
	err = t.outgoing.Scan(r, store.Range{}, func(_ store.Key, o *postv1.OutgoingAttachment) error {
		all = append(all, o)
		return nil
	})
	return all, err
}

// Incoming lists the files that came or are coming.
func (t *AttachmentTables) Incoming(r store.Reader) (all []*postv1.IncomingAttachment, err error) {
	err = t.incoming.Scan(r, store.Range{}, func(_ store.Key, i *postv1.IncomingAttachment) error {
		all = append(all, i)
		return nil
	})
	return all, err
}

// Attachments are what a post needs to send and take files.
type Attachments struct {
	Tables *AttachmentTables
	// Dir is a folder for this alone, beside the store; what lies in it that no table knows is removed at the start.
	Dir string
	// Handlers by the file's kind. A file of another kind is refused with `unknown-kind`.
	Handlers map[string]AttachmentHandler
	MaxBytes int64 // of a file's content; default DefaultMaxAttachment
	MaxOpen  int   // default DefaultMaxAttachments
}

// attachments are the files of a post. What goes lies under out, sealed to its receiver; what comes under in.
type attachments struct {
	*AttachmentTables
	out, in  string
	handlers map[string]AttachmentHandler
	maxBytes int64
	maxOpen  int
}

func newAttachments(c *Attachments) (*attachments, error) {
	if c == nil {
		return nil, nil
	}
	if c.Tables == nil || c.Dir == "" {
		return nil, errors.New("post: Attachments needs Tables and Dir")
	}
	a := &attachments{
		AttachmentTables: c.Tables, out: filepath.Join(c.Dir, "out"), in: filepath.Join(c.Dir, "in"),
		handlers: c.Handlers, maxBytes: c.MaxBytes, maxOpen: c.MaxOpen,
	}
	if a.maxBytes == 0 {
		a.maxBytes = DefaultMaxAttachment
	}
	if a.maxOpen == 0 {
		a.maxOpen = DefaultMaxAttachments
	}
	return a, errors.Join(durable.MakeFolder(a.out), durable.MakeFolder(a.in))
}

// maxSealed bounds a sealed file.
func (a *attachments) maxSealed() uint64 { return uint64(a.maxBytes + a.maxBytes/64 + 4096) }

func attachmentKey(peer *postv1.Address, id []byte) store.Key {
	return store.K(peer.GetNode(), peer.GetService(), id)
}

func attachmentName(peer *postv1.Address, id []byte) string {
	return peer.GetNode() + "." + peer.GetService() + "." + hex.EncodeToString(id)
}

func attachmentSubject(id []byte) string { return "attachment/" + hex.EncodeToString(id) }

func (a *attachments) outPath(to *postv1.Address, id []byte) string {
	return filepath.Join(a.out, attachmentName(to, id))
}

func (a *attachments) inPath(from *postv1.Address, id []byte) string {
	return filepath.Join(a.in, attachmentName(from, id))
}

// sweep removes the files that a crash left behind: those never queued, and those let go of.
func (a *attachments) sweep(ctx context.Context, db *store.DB) error {
	known := map[string]bool{}
	err := db.View(ctx, func(r store.Reader) error {
		outgoing, err := a.Outgoing(r)
		if err != nil {
			return err
		}
		for _, o := range outgoing {
			known[a.outPath(o.GetTo(), o.GetFirst().GetAttachmentId())] = true
		}
		incoming, err := a.Incoming(r)
		for _, i := range incoming {
			known[a.inPath(i.GetFrom(), i.GetFirst().GetAttachmentId())] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{a.out, a.in} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if path := filepath.Join(dir, e.Name()); !known[path] {
				if err := os.Remove(path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// discard removes a file that nobody knows any more. What cannot be removed now is swept at the next start.
func discard(path string) { _ = os.Remove(path) }

// chunkCount is how many pieces a sealed file has.
func chunkCount(bytes uint64) uint32 { return uint32((bytes + chunkBytes - 1) / chunkBytes) }

// chunkSize is the size of one of them.
func chunkSize(c *postv1.AttachmentChunk) int {
	return int(min(chunkBytes, c.GetFileBytes()-uint64(c.GetPosition())*chunkBytes))
}

// withoutData is a piece as it may lie in the store.
func withoutData(l *postv1.Letter) *postv1.Letter {
	var c postv1.AttachmentChunk
	if l.GetKind() != kindChunk || proto.Unmarshal(l.GetBody(), &c) != nil {
		return l
	}
	c.Data = nil
	body, err := proto.Marshal(&c)
	if err != nil {
		return l
	}
	bare := proto.CloneOf(l)
	bare.Body = body
	return bare
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// fileError is an error of a file that may pass, such as of a full disk.
type fileError struct{ err error }

func (e *fileError) Error() string {
	return fmt.Sprintf("a file of an attachment: %v; it is tried again: look at the disk", e.err)
}

func (e *fileError) Unwrap() error { return e.err }
