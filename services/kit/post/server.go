package post

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// CarryingTime is how long one export or import of a service may take: a stick is slow.
const CarryingTime = time.Hour

// pieceBytes is how much of a file is sent at once.
const pieceBytes = 256 << 10

// Server answers PostService for the operator.
type Server struct {
	postv1.UnsafePostServiceServer
	post *Post
}

// NewServer serves a post.
func NewServer(p *Post) *Server { return &Server{post: p} }

// ExportParcels sends the file in pieces.
func (s *Server) ExportParcels(request *postv1.ExportParcelsRequest, stream grpc.ServerStreamingServer[postv1.ExportParcelsResponse]) error {
	pieces := bufio.NewWriterSize(sendPieces{stream}, pieceBytes)
	count, err := s.post.Export(stream.Context(), request.GetToNode(), pieces)
	if err != nil {
		return err
	}
	if err := pieces.Flush(); err != nil {
		return err
	}
	return stream.Send(&postv1.ExportParcelsResponse{Count: count})
}

type sendPieces struct {
	stream grpc.ServerStreamingServer[postv1.ExportParcelsResponse]
}

func (s sendPieces) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 {
		piece := data[:min(len(data), pieceBytes)]
		if err := s.stream.Send(&postv1.ExportParcelsResponse{Data: piece}); err != nil {
			return written, err
		}
		written += len(piece)
		data = data[len(piece):]
	}
	return written, nil
}

// ImportParcels takes the file in as its pieces come.
func (s *Server) ImportParcels(stream grpc.ClientStreamingServer[postv1.ImportParcelsRequest, postv1.ImportParcelsResponse]) error {
	reply, err := s.post.Import(stream.Context(), &receivePieces{stream: stream})
	if err != nil {
		return err
	}
	return stream.SendAndClose(reply)
}

type receivePieces struct {
	stream grpc.ClientStreamingServer[postv1.ImportParcelsRequest, postv1.ImportParcelsResponse]
	left   []byte
}

func (r *receivePieces) Read(into []byte) (int, error) {
	for len(r.left) == 0 {
		piece, err := r.stream.Recv()
		if err != nil {
			return 0, err
		}
		r.left = piece.GetData()
	}
	n := copy(into, r.left)
	r.left = r.left[n:]
	return n, nil
}

// ExportFile asks a service for its file and writes it to out: the calling side of ExportParcels.
func ExportFile(ctx context.Context, conn grpc.ClientConnInterface, node string, out io.Writer) (*postv1.CarriedCount, error) {
	ctx, cancel := context.WithTimeout(ctx, CarryingTime)
	defer cancel()
	stream, err := postv1.NewPostServiceClient(conn).ExportParcels(ctx, &postv1.ExportParcelsRequest{ToNode: node})
	if err != nil {
		return nil, err
	}
	count := &postv1.CarriedCount{}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return count, nil
		}
		if err != nil {
			return nil, err
		}
		if piece.GetCount() != nil {
			count = piece.GetCount()
		}
		if _, err := out.Write(piece.GetData()); err != nil {
			return nil, err
		}
	}
}

// ImportFile hands a file to a service: the calling side of ImportParcels.
func ImportFile(ctx context.Context, conn grpc.ClientConnInterface, in io.Reader) (*postv1.ImportParcelsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, CarryingTime)
	defer cancel()
	stream, err := postv1.NewPostServiceClient(conn).ImportParcels(ctx)
	if err != nil {
		return nil, err
	}
	for {
		piece := make([]byte, pieceBytes)
		n, err := io.ReadFull(in, piece)
		if n > 0 {
			if sent := stream.Send(&postv1.ImportParcelsRequest{Data: piece[:n]}); sent != nil {
				break // the answer says why
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return stream.CloseAndRecv()
}
