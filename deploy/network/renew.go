package network

import (
	"context"

	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
)

// keepRenewed renews the certificates of every node in time, until ctx ends. Running services
// show a renewed certificate at their next handshake.
func (l *Layout) keepRenewed(ctx context.Context) error {
	for _, n := range l.Nodes {
		log, err := logging.New(logging.Options{Node: n.Name, Service: "supervisor"})
		if err != nil {
			return err
		}
		go identity.KeepRenewed(ctx, l.Root, n.Name, func(renewed []string, err error) {
			if err != nil {
				log.Error("certificates could not be renewed", logging.Err(err))
			}
			if len(renewed) > 0 {
				log.Info("certificates were renewed", logging.Count("certificates", len(renewed)))
			}
		})
	}
	return nil
}
