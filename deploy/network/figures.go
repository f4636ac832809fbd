package network

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// Figures asks the federal service, as its operator, what it counts for a span of months such as `all` or `2026-01..2026-06`.
func (l *Layout) Figures(ctx context.Context, months string) (figures *federalv1.Figures, err error) {
	err = l.askFederal(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		figures, err = federalv1.NewFiguresServiceClient(conn).GetFigures(ctx, &federalv1.GetFiguresRequest{Name: "figures/" + months})
		return err
	})
	return figures, err
}

// Days asks the federal service which facts of each day the services of provinces have told, and which are kept there.
func (l *Layout) Days(ctx context.Context) (all []*federalv1.DayRecord, err error) {
	err = l.askFederal(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		all, err = daysOf(ctx, federalv1.NewFiguresServiceClient(conn))
		return err
	})
	return all, err
}

func daysOf(ctx context.Context, client federalv1.FiguresServiceClient) (all []*federalv1.DayRecord, err error) {
	for request := (&federalv1.ListDaysRequest{PageSize: 1000}); ; {
		page, err := client.ListDays(ctx, request)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetDays()...)
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return all, nil
		}
	}
}

// Whole says that a day is the same at both ends, to the last fact.
func Whole(d *federalv1.DayRecord) bool { return facts.Same(d.GetTold(), d.GetKept()) }

func (l *Layout) askFederal(ctx context.Context, ask func(context.Context, *grpc.ClientConn) error) (err error) {
	trust, err := identity.OperatorTLS(l.Root, FederalNode, Federal)
	if err != nil {
		return err
	}
	conn, err := rpc.Dial(l.Address(FederalNode, Federal), trust)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, 10*statusWait)
	defer cancel()
	return ask(ctx, conn)
}
