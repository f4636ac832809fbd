package rpc

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"amanat.example/services/kit/fault"
)

// transportBytes is what grpc itself takes; it refuses more before any code of ours, with a status
// that has no details. Between [MaxMessageBytes] and this the refusal is ours.
const transportBytes = 4 << 20

// clientDomain is the ErrorInfo domain of what a client refuses by itself.
const clientDomain = "rpc" + domainSuffix

// limitKey is the metadata key of the largest message, in bytes.
const limitKey = "limit_bytes"

var (
	errRequestSize = tooLarge("The request is larger than 1 MiB. Send less at once.")
	errReplySize   = tooLarge("The answer is larger than 1 MiB. Ask for less at once, such as a smaller page_size.")
)

func tooLarge(sentence string) *fault.Error {
	return fault.New(fault.TooLarge, sentence, limitKey, strconv.Itoa(MaxMessageBytes))
}

// checkReply refuses a reply that the caller would not take.
func checkReply(reply any) error {
	if message, ok := reply.(proto.Message); ok && proto.Size(message) > MaxMessageBytes {
		return errReplySize
	}
	return nil
}

// sized gives the statuses that grpc makes for messages above a limit their ErrorInfo: of a request
// that it did not send or the server's grpc did not take, and of a reply that it did not take.
func sized(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	if status.Code(err) != codes.ResourceExhausted {
		return err
	}
	plain, _ := status.FromError(err)
	refusal := errReplySize
	if message, ok := request.(proto.Message); ok && proto.Size(message) > MaxMessageBytes {
		refusal = errRequestSize
	} else if !strings.Contains(plain.Message(), "larger than max") { // Grpc's words; else it is someone's quota.
		return err
	}
	if len(plain.Details()) > 0 {
		return err
	}
	detailed, failed := status.New(codes.ResourceExhausted, refusal.Sentence()).WithDetails(&errdetails.ErrorInfo{
		Reason: refusal.Reason().String(), Domain: clientDomain, Metadata: refusal.Metadata(),
	})
	if failed != nil {
		return err
	}
	return detailed.Err()
}
