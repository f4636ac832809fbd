package post

import (
	"cmp"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/store"
)

// Tables are the post's own in the schema of the service that owns it.
type Tables struct {
	// (to node, to service, lane, sequence): letters, from the floor of the sending state on.
	outbox *store.Table[*postv1.Letter]
	// (to node, to service, lane)
	sending *store.Table[*postv1.SendingState]
	// (from node, from service, lane)
	receiving *store.Table[*postv1.ReceivingState]
	// (from node, from service, letter id): every letter ever seen.
	known *store.Table[*postv1.KnownLetter]
	// (from node, from service, subject, sender's incarnation, lane, sequence)
	quarantine *store.Table[*postv1.QuarantinedLetter]
}

// Declare adds the post's tables to a service's schema. Version 1.
func Declare(schema *store.Schema) *Tables {
	return &Tables{
		outbox:     store.NewTable[*postv1.Letter](schema, "post_outbox"),
		sending:    store.NewTable[*postv1.SendingState](schema, "post_sending"),
		receiving:  store.NewTable[*postv1.ReceivingState](schema, "post_receiving"),
		known:      store.NewTable[*postv1.KnownLetter](schema, "post_known"),
		quarantine: store.NewTable[*postv1.QuarantinedLetter](schema, "post_quarantine"),
	}
}

// Quarantine lists the letters in quarantine with their refusals, by sender and subject, a page at a
// time: after is nil for the first page, next is nil after the last.
func (t *Tables) Quarantine(r store.Reader, after store.Key, limit int) (letters []*postv1.QuarantinedLetter, next store.Key, err error) {
	rows, next, err := t.quarantine.Page(r, store.Range{After: after}, limit)
	for _, row := range rows {
		letters = append(letters, row.Value)
	}
	return letters, next, err
}

// end is the other end of a link, on one lane; which direction is meant follows from the use.
type end struct {
	node, service string
	lane          postv1.Lane
}

func endOf(a *postv1.Address, lane postv1.Lane) end {
	return end{a.GetNode(), a.GetService(), lane}
}

// compare puts urgent lanes first.
func (e end) compare(other end) int {
	return cmp.Or(cmp.Compare(e.lane, other.lane), cmp.Compare(e.node, other.node), cmp.Compare(e.service, other.service))
}

func (e end) address() *postv1.Address { return &postv1.Address{Node: e.node, Service: e.service} }

func (e end) key() store.Key { return store.K(e.node, e.service, uint32(e.lane)) }

func (e end) row(sequence uint64) store.Key {
	return store.K(e.node, e.service, uint32(e.lane), sequence)
}

func (e end) letter(id []byte) store.Key { return store.K(e.node, e.service, id) }

func (e end) subject(subject string) store.Key { return store.K(e.node, e.service, subject) }
