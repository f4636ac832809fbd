package simulation

import "slices"

// KeepCopy has the network keep a copy of a parcel under way, which may come again at any time.
func KeepCopy(most uint8) Move {
	return Move{Name: "the network keeps a copy", Most: most, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		for node := range Nodes {
			for _, m := range w.Parcels(s.At[Referral(node)]) {
				if to := s; to.keep(m) {
					next("the network keeps a copy of "+w.tell(w.messages[m]), to)
				}
			}
		}
	}}
}

// keep puts a message where there is room, in order, so that it does not matter which was kept first.
func (s *State) keep(m ID) bool {
	if s.Late[0] != 0 || slices.Contains(s.Late[:], m) {
		return false
	}
	s.Late[0] = m
	slices.Sort(s.Late[:])
	return true
}

// Again brings a parcel that was kept; its receipt is lost, or comes.
func Again(most uint8) Move {
	return Move{Name: "an old parcel comes", Most: most, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		for i, m := range s.Late {
			if m == 0 {
				continue
			}
			gone := s
			gone.Late[i] = 0
			slices.Sort(gone.Late[:])
			name, to := w.carry(gone, m)
			next("again "+name, to)
			lost := to
			lost.At[w.messages[m].from] = s.At[w.messages[m].from]
			if lost != to {
				next("again, without receipt, "+name, lost)
			}
		}
	}}
}

// LoseReceipt brings a parcel whose receipt is lost.
func LoseReceipt(most uint8) Move {
	return Move{Name: "a receipt is lost", Most: most, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		for node := range Nodes {
			for _, m := range w.Parcels(s.At[Referral(node)]) {
				name, to := w.carry(s, m)
				to.At[Referral(node)] = s.At[Referral(node)]
				next("without receipt, "+name, to)
			}
		}
	}}
}

// LoseAnswer has a shelter service carry out a command and its answer lost.
func LoseAnswer(most uint8) Move {
	return Move{Name: "an answer is lost", Most: most, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		for node := range Nodes {
			at := s.At[Referral(node)]
			for _, c := range w.Commands(at) {
				to := s
				to.At[Referral(node)], to.At[Shelter(node)] = w.Command(at, s.At[Shelter(node)], c, true, s.Now)
				next("the shelter of "+Nodes[node]+" carries out "+short(c)+", and its answer is lost", to)
			}
		}
	}}
}

// CompareBeds has a node's services compare live offers with holds.
func CompareBeds(most uint8, node int) Move {
	return Move{Name: "compares", Most: most, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		to := s
		to.At[Referral(node)], to.At[Shelter(node)] = w.Compare(s.At[Referral(node)], s.At[Shelter(node)], s.Now)
		next(Nodes[node]+" compares live offers with holds", to)
	}}
}
