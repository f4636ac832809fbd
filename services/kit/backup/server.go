package backup

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/release"
	"amanat.example/services/kit/store"
)

// WritingTime is how long one backup of a service may take: a stick is slow.
const WritingTime = time.Hour

// pieceBytes is how much of a file is sent at once.
const pieceBytes = 256 << 10

// Config says of what a server writes backups. All is needed.
type Config struct {
	// Data is the root folder of the data: where the node's file of recipients is.
	Data string
	// Node and Service are in the label.
	Node, Service string
	// Schema is that of DB.
	Schema *store.Schema
	// DB and Keys are what is written.
	DB   *store.DB
	Keys *privacy.Keyring
	// Log says that a backup was taken.
	Log *logging.Logger
}

// Server answers BackupService for the operator.
type Server struct {
	backupv1.UnsafeBackupServiceServer
	c Config
}

// NewServer serves backups of one service.
func NewServer(c Config) *Server { return &Server{c: c} }

// WriteBackup sends the file in pieces. The recipients are read anew each time.
func (s *Server) WriteBackup(request *backupv1.WriteBackupRequest, stream grpc.ServerStreamingServer[backupv1.WriteBackupResponse]) error {
	ctx := stream.Context()
	recipients, err := ReadRecipients(RecipientsPath(s.c.Data, s.c.Node))
	if err != nil {
		return err
	}
	label := &backupv1.Label{
		Node: s.c.Node, Service: s.c.Service, Part: request.GetPart(), BeginTime: timestamppb.Now(),
		Incarnation: s.c.DB.Incarnation(), SchemaVersion: s.c.Schema.Version(), Program: release.Version(),
	}
	body := func(w io.Writer) error { return s.c.DB.Backup(ctx, w) }
	if request.GetPart() == backupv1.Part_PART_KEYS {
		body = func(w io.Writer) error { return s.c.Keys.Backup(ctx, w) }
	}
	pieces := bufio.NewWriterSize(sendPieces{stream}, pieceBytes)
	if err := Seal(pieces, recipients, label, body); err != nil {
		return err
	}
	if err := pieces.Flush(); err != nil {
		return err
	}
	s.c.Log.Info("a backup was written", logging.Enum("part", request.GetPart()))
	return stream.Send(&backupv1.WriteBackupResponse{Label: label})
}

type sendPieces struct {
	stream grpc.ServerStreamingServer[backupv1.WriteBackupResponse]
}

func (s sendPieces) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 {
		piece := data[:min(len(data), pieceBytes)]
		if err := s.stream.Send(&backupv1.WriteBackupResponse{Data: piece}); err != nil {
			return written, err
		}
		written += len(piece)
		data = data[len(piece):]
	}
	return written, nil
}

// Fetch asks a service for a backup and writes the file to out: the calling side of WriteBackup. Without an error the file is whole.
func Fetch(ctx context.Context, conn grpc.ClientConnInterface, part backupv1.Part, out io.Writer) (*backupv1.Label, error) {
	ctx, cancel := context.WithTimeout(ctx, WritingTime)
	defer cancel()
	stream, err := backupv1.NewBackupServiceClient(conn).WriteBackup(ctx, &backupv1.WriteBackupRequest{Part: part})
	if err != nil {
		return nil, err
	}
	var label *backupv1.Label
	for {
		piece, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && label == nil:
			return nil, ErrTorn
		case errors.Is(err, io.EOF):
			return label, nil
		case err != nil:
			return nil, err
		}
		if piece.GetLabel() != nil {
			label = piece.GetLabel()
		}
		if _, err := out.Write(piece.GetData()); err != nil {
			return nil, err
		}
	}
}
