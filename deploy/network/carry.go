package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/grpc"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc"
)

// posted are the services that write to those of other nodes.
var posted = []string{Protection, Referral, Federal}

// ExportParcels writes what waits in every service of a node for another node into one file, and says how much that is.
func (l *Layout) ExportParcels(ctx context.Context, node, to string, out io.Writer) (*postv1.CarriedCount, error) {
	all := &postv1.CarriedCount{}
	err := l.eachPosted(node, func(service string, conn *grpc.ClientConn) error {
		count, err := post.ExportFile(ctx, conn, to, out)
		if err != nil {
			return err
		}
		all.Parcels += count.GetParcels()
		all.Letters += count.GetLetters()
		all.Receipts += count.GetReceipts()
		return nil
	})
	return all, err
}

// ImportParcels hands a file to every service of a node, each of which takes what is its own. Where one refuses, the others still
// take theirs; the error then says who refused what.
func (l *Layout) ImportParcels(ctx context.Context, node string, file io.ReadSeeker) (*postv1.ImportParcelsResponse, error) {
	all := &postv1.ImportParcelsResponse{Count: &postv1.CarriedCount{}}
	err := l.eachPosted(node, func(service string, conn *grpc.ClientConn) error {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		reply, err := post.ImportFile(ctx, conn, file)
		if err != nil {
			return err
		}
		all.Count.Parcels += reply.GetCount().GetParcels()
		all.Count.Letters += reply.GetCount().GetLetters()
		all.Count.Receipts += reply.GetCount().GetReceipts()
		all.AppliedLetters += reply.GetAppliedLetters()
		return nil
	})
	return all, err
}

// eachPosted calls each service of a node that has a post, as the operator.
func (l *Layout) eachPosted(node string, call func(service string, conn *grpc.ClientConn) error) error {
	n, err := l.Node(node)
	if err != nil {
		return err
	}
	var failed error
	for _, service := range posted {
		if !slices.Contains(n.Services, service) {
			continue
		}
		trust, err := identity.OperatorTLS(l.Root, node, service)
		if err != nil {
			return err
		}
		conn, err := rpc.Dial(l.Address(node, service), trust)
		if err != nil {
			return err
		}
		if err := call(service, conn); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s of %s: %w", service, node, err))
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return failed
}
