package simulation

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/store"
)

// Group is the bed group of a node's shelter; second is the other one.
func Group(node int, second bool) string {
	name := "girls"
	if second {
		name = "children"
	}
	return "nodes/" + Nodes[node] + "/shelters/house/groups/" + name
}

// Start is a world in which nothing has happened: each node has a shelter with beds.
func (w *World) Start() (s State) {
	for p := range Place(places) {
		session := w.openEngine(p, store.NewMemory(), 0, nil, "start")
		s.At[p] = session.done()
	}
	for node := range Nodes {
		p := Shelter(node)
		after, err := w.Call(s.At[p], s.Now, "a shelter is entered", func(ctx context.Context, as func(string) grpc.ClientConnInterface, _ time.Time) error {
			house := &shelterv1.Shelter{DisplayName: "House", District: "PK617", Address: "canary-address", Languages: []string{"urd", "bal"}}
			for second, beds := range map[bool]int32{false: w.rules.Beds, true: w.rules.SecondBeds} {
				if beds > 0 {
					house.Groups = append(house.Groups, &shelterv1.Group{
						Name: Group(node, second)[len("nodes/"+Nodes[node]+"/shelters/house/groups/"):], Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12,
						UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: beds,
					})
				}
			}
			_, err := shelterv1.NewShelterServiceClient(as("gateway")).CreateShelter(ctx, &shelterv1.CreateShelterRequest{
				Parent: "nodes/" + Nodes[node], ShelterId: "house", Shelter: house,
			})
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
		s.At[p] = after
	}
	return s
}

// aboutPerson says that a letter is a reply which answers no offer, but says something of the person.
func aboutPerson(l *postv1.Letter) bool {
	b, r := &custodyv1.ReplyLetter{}, &custodyv1.Reply{}
	return l.GetKind() == "custody.reply.v1" && proto.Unmarshal(l.GetBody(), b) == nil && proto.Unmarshal(b.GetReply().GetReply(), r) == nil && !custody.AboutOffer(r)
}

// tellLetter says what a letter says.
func tellLetter(l *postv1.Letter) string {
	switch l.GetKind() {
	case "custody.offer.v1":
		b, e := &custodyv1.OfferLetter{}, &custodyv1.Event{}
		if proto.Unmarshal(l.GetBody(), b) == nil && proto.Unmarshal(b.GetOffered().GetEvent(), e) == nil {
			return custody.Name(e)
		}
	case "custody.chain.v1":
		b := &custodyv1.ChainLetter{}
		if proto.Unmarshal(l.GetBody(), b) == nil {
			e := &custodyv1.Event{}
			n := len(b.GetChain().GetEvents())
			if proto.Unmarshal(b.GetChain().GetEvents()[n-1].GetEvent(), e) == nil {
				return fmt.Sprintf("chain of %d up to %s", n, custody.Name(e))
			}
		}
	case "custody.reply.v1":
		b, r := &custodyv1.ReplyLetter{}, &custodyv1.Reply{}
		if proto.Unmarshal(l.GetBody(), b) == nil && proto.Unmarshal(b.GetReply().GetReply(), r) == nil {
			return "reply of " + r.GetNode() + " (" + custody.ReplyName(r) + ")"
		}
	case "custody.head.v1":
		return "question for the chain"
	case "custody.annex.v1":
		return "annex"
	}
	return l.GetKind()
}

// Rest lets all that waits be delivered and done, in some order, but for what is due.
func (w *World) Rest(s State) State {
	for n := 0; ; n++ {
		s = w.hear(s)
		was := s
		w.network(s, func(_ string, to State) {
			if s == was && to.Now == s.Now {
				s = to
			}
		})
		if s == was {
			return s
		}
		if n > 1000 {
			w.t.Fatal("it never comes to rest")
		}
	}
}

// Make makes moves one after the other, each in the first way in which it can be made, with all delivered and done in between.
func (w *World) Make(s State, moves ...Move) State {
	for _, m := range moves {
		made := w.First(s, m)
		if made == s {
			w.t.Fatalf("%q cannot be made", m.Name)
		}
		s = w.Rest(made)
	}
	return s
}

// First makes a move in the first way in which it can be made, and nothing else.
func (w *World) First(s State, m Move) State {
	made := s
	m.Do(w, s, 100, func(_ string, to State) {
		if made == s {
			made = to
		}
	})
	return made
}

// shelterWorks has a node's shelter service carry out the commands that may go now.
func (w *World) shelterWorks(s State, node int) State {
	for _, c := range w.Commands(s.At[Referral(node)]) {
		s.At[Referral(node)], s.At[Shelter(node)] = w.Command(s.At[Referral(node)], s.At[Shelter(node)], c, false, s.Now)
	}
	return w.hear(s)
}
