package rpc_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
)

// stock is a client that is not ours, with grpc's own limits raised.
func (s *served) stock(as string) shelterv1.ShelterServiceClient {
	s.t.Helper()
	conn, err := grpc.NewClient(s.addr,
		grpc.WithTransportCredentials(credentials.NewTLS(load(s.t, "sindh", as).ClientTLS("shelter"))),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return shelterv1.NewShelterServiceClient(conn)
}

func TestOversize(t *testing.T) {
	var called int
	var reply shelterv1.Hold
	s := serveShelter(t, &shelter{getHold: func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		called++
		return &reply, nil
	}})
	ours, stock := shelterv1.NewShelterServiceClient(s.dial("gateway", "shelter")), s.stock("gateway")
	large := func(bytes int) *shelterv1.GetHoldRequest {
		return &shelterv1.GetHoldRequest{Name: strings.Repeat("x", bytes)}
	}
	check := func(what string, err error, domain, text string) {
		t.Helper()
		st := refused(t, err, codes.ResourceExhausted, "REASON_TOO_LARGE", text)
		info := detail[*errdetails.ErrorInfo](st)
		if info.GetMetadata()["limit_bytes"] != strconv.Itoa(rpc.MaxMessageBytes) || info.GetDomain() != domain {
			t.Errorf("%s: %v", what, info)
		}
		if got := rpc.Fault(err); got.Reason() != fault.TooLarge || got.Metadata()["limit_bytes"] == "" {
			t.Errorf("%s: read as %v", what, got)
		}
	}
	request := func(client shelterv1.ShelterServiceClient, bytes int) error {
		_, err := client.GetHold(t.Context(), large(bytes))
		return err
	}
	check("request, our client", request(ours, rpc.MaxMessageBytes), "rpc.amanat", "Send less")
	check("request, a stock client", request(stock, rpc.MaxMessageBytes), "shelter.amanat", "Send less")
	check("just below grpc's own limit", request(stock, 4<<20-100), "shelter.amanat", "Send less")
	if err := request(s.stock("protection"), 2<<20); status.Code(err) != codes.PermissionDenied {
		t.Errorf("who may not call was told of sizes first: %v", err)
	}
	if called != 0 {
		t.Fatal("an oversize request was served")
	}

	reply.Name = strings.Repeat("x", rpc.MaxMessageBytes)
	for name, client := range map[string]shelterv1.ShelterServiceClient{"our client": ours, "a stock client": stock} {
		_, err := client.GetHold(t.Context(), aRequest())
		check("reply, "+name, err, "shelter.amanat", "Ask for less")
	}
	reply.Name = strings.Repeat("x", rpc.MaxMessageBytes-4) // With tag and length it is just as large as it may be.
	if got, err := ours.GetHold(t.Context(), aRequest()); err != nil || len(got.GetName()) != len(reply.Name) {
		t.Errorf("the largest reply: %v", err)
	}
}

// A server that is not ours has no such checks: our client says what happened.
func TestOversizeReplyOfAnotherServer(t *testing.T) {
	large := &shelterv1.Hold{Name: strings.Repeat("x", rpc.MaxMessageBytes)}
	lc := listen(t)
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(load(t, "sindh", "shelter").ServerTLS())))
	shelterv1.RegisterShelterServiceServer(server, &shelter{getHold: func(_ context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		if r.GetName() == "" {
			return nil, status.Error(codes.ResourceExhausted, "a quota of that server")
		}
		return large, nil
	}})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(lc) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	conn, err := rpc.Dial(lc.Addr().String(), load(t, "sindh", "gateway").ClientTLS("shelter"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := shelterv1.NewShelterServiceClient(conn)
	_, err = client.GetHold(t.Context(), aRequest())
	refused(t, err, codes.ResourceExhausted, "REASON_TOO_LARGE", "Ask for less")
	_, err = client.GetHold(t.Context(), &shelterv1.GetHoldRequest{})
	if st, _ := status.FromError(err); st.Message() != "a quota of that server" || rpc.Fault(err).Reason() != fault.TooMany {
		t.Errorf("a quota was taken for a size: %v", err)
	}
}
