// Package identity owns who is who: the node's certificate authority, the certificates and keys
// of its services, the roster of the network, and the tokens that say which person acts.
//
// # Files
//
//	<root>/<node>/identity/            ca.crt ca.key roster.key roster.binpb request.binpb
//	<root>/<node>/<service>/identity/  tls.pem signing.key hpke.key hub.nk
//	<root>/<node>/hub/identity/        tls.pem (where the node carries the hub)
//	<root>/<node>/operator/            client.crt client.key ca.crt, for stock gRPC clients
//
// Files are 0600 and folders 0700. Keys are made once and never overwritten. What does change, a
// certificate at renewal or the roster when a version is added, is written beside, synced and
// renamed over, so a reader sees the old file or the new one. tls.pem holds certificate and key
// together for that reason; programs that want two paths can be given it twice.
//
// # Invariants
//
//   - A certificate is believed only from the CA that the roster names for its node: Sindh's CA
//     cannot make a Punjab identity. The CA is also constrained to its own node's names.
//   - Mutual TLS 1.3 between processes, always. There is no insecure mode.
//   - A signature is made for a domain (what kind of thing is signed) and verifies for that
//     domain alone.
//   - What was signed under any installed version of the roster verifies for ever; sealing and
//     tokens use the newest version alone.
//   - A token that verified is remembered, by its digest, until the roster changes; who issued it and its time are judged
//     with every use.
//   - An installed roster is only ever extended: neither rolled back nor replaced.
//
// # Where the CA key may live
//
// ca.key is needed to renew certificates and for nothing else; no service reads it. By default it
// lies in the node's identity folder and the node's supervisor renews with it (KeepRenewed). It
// may instead be kept on another machine or a memory stick and put there only while
// RotateCertificates runs, at least once every 60 days: certificates live 90 days and are renewed
// when less than a third is left. roster.key is needed only when the node signs a new version of
// the roster and may be kept away in the same manner. A running service notices a renewed
// certificate at its next handshake and a new roster at its next use.
package identity
