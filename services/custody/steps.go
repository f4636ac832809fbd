package custody

import custodyv1 "amanat.example/proto/amanat/custody/v1"

// Said is what an event says in the field's words, and whose reply it records; by is empty where it records none.
func Said(l Link) (what, by string) {
	signed := l.Event.GetReplyRecorded().GetReply()
	if signed == nil {
		signed = l.Event.GetHandoverRefused().GetRefusal()
	}
	if signed == nil {
		return Name(l.Event), ""
	}
	reply, err := decodeReply(signed)
	if err != nil { // A chain that was folded has none such.
		return Name(l.Event), ""
	}
	if l.Event.GetHandoverRefused() != nil {
		return Name(l.Event), reply.GetNode()
	}
	return ReplyName(reply), reply.GetNode()
}

// Recorded is the reply that an event of a folded chain records, whose signature was checked when it came; nil for none.
func Recorded(e *custodyv1.Event) *custodyv1.Reply {
	signed := e.GetReplyRecorded().GetReply()
	if signed == nil {
		return nil
	}
	reply, err := decodeReply(signed)
	if err != nil { // A chain that was folded has none such.
		return nil
	}
	return reply
}

// VerifyAll is Verify for somebody who wants to see how far a chain is sound: it answers the part in front of the first fault.
func VerifyAll(v Verifier, events []*custodyv1.SignedEvent) (sound *Chain, err error) {
	c := &Chain{}
	for _, signed := range events {
		next := c.Clone()
		if len(c.links) == 0 {
			next = &Chain{}
		}
		if err := next.take(signed); err != nil {
			return c, err
		}
		if err := verifyLink(v, next.links[len(next.links)-1]); err != nil {
			return c, err
		}
		c = next
	}
	return c, nil
}
