package post

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post/internal/protocol"
)

// Import takes in a file that was carried here, by the very code that takes mail from the hub: a parcel or a
// receipt that is forged, foreign or out of order changes nothing, and one known already is a no-op. What is
// whole in front of a cut is taken in. Mail for other services of this node is passed over. The
// error, a *fault.Error, says of each fault what to do; the reply says what was taken in all the same.
// It may be called while Run runs.
func (p *Post) Import(ctx context.Context, in io.Reader) (*postv1.ImportParcelsResponse, error) {
	i := &importing{post: p, reply: &postv1.ImportParcelsResponse{Count: &postv1.CarriedCount{}}}
	reader := &carriedReader{in: in}
	for {
		record, err := reader.next()
		var cut *fileFault
		switch {
		case errors.Is(err, io.EOF):
			return i.reply, i.err()
		case errors.As(err, &cut):
			i.fault(fault.Field, cut.sentence)
			return i.reply, i.err()
		case err != nil:
			return i.reply, err
		}
		if begin := record.GetBegin(); begin != nil && begin.GetToNode() != p.self.GetNode() {
			i.fault(fault.Field, fmt.Sprintf("it is for another node than %s: import it there, or name the file for this one", p.self.GetNode()))
			return i.reply, i.err()
		}
		if mail := record.GetMail(); mail != nil {
			if err := i.take(ctx, reader.number, mail, p.clock()); err != nil {
				return i.reply, err
			}
		}
	}
}

// importing is an import under way.
type importing struct {
	post   *Post
	reply  *postv1.ImportParcelsResponse
	reason fault.Reason
	faults []fault.Violation
}

const maxFaults = 20 // told at once

func (i *importing) fault(reason fault.Reason, sentence string) {
	if i.reason == 0 || i.reason == fault.Field {
		i.reason = reason
	}
	if len(i.faults) < maxFaults {
		i.faults = append(i.faults, fault.Violation{Field: "data", Sentence: sentence})
	}
}

func (i *importing) err() error {
	if len(i.faults) == 0 {
		return nil
	}
	c := i.reply.GetCount()
	sentence := fmt.Sprintf("The file was not taken in whole: %s. Taken in: %d parcels, %d receipts.", i.faults[0].Sentence, c.GetParcels(), c.GetReceipts())
	if more := len(i.faults) - 1; more > 0 {
		sentence = fmt.Sprintf("%s Faults besides: %d.", sentence, more)
	}
	return fault.New(i.reason, sentence).WithFields(i.faults...)
}

// take takes one piece of mail in. Its error is of the store or the context: nothing more can be done.
func (i *importing) take(ctx context.Context, number int, mail *postv1.CarriedMail, now time.Time) error {
	p := i.post
	to, _, _, ok := parseSubject(mail.GetSubject())
	if ok && to.GetNode() == p.self.GetNode() && to.GetService() != p.self.GetService() {
		return nil
	}
	in := p.read(Message{Subject: mail.GetSubject(), Data: mail.GetMail()})
	done, err := p.settle(ctx, in, now)
	switch {
	case err != nil && (p.db.Err() != nil || ctx.Err() != nil):
		return err
	case err != nil:
		i.fault(fault.Unavailable, fmt.Sprintf("record %d could not be applied now: import the file again in a while", number))
		return nil
	case in.reject != "":
		i.fault(fault.Field, fmt.Sprintf("record %d %s", number, rejected[in.reject]))
		return nil
	}
	if i.judge(number, in, done) {
		if in.parcel != nil {
			i.reply.Count.Parcels++
			i.reply.Count.Letters += uint64(len(in.parcel.letters))
			i.reply.AppliedLetters += uint64(done.fresh + done.parked)
		} else {
			i.reply.Count.Receipts++
		}
	}
	return nil
}

// rejected says of a record what is wrong and what to do, by why mail is thrown away.
var rejected = map[string]string{
	rejectSubject:   "is addressed to another node: export again there, for this node",
	rejectMalformed: "is no parcel or receipt: copy the file again from where it was exported",
	rejectAddress:   "says outside that it is of another link than inside: someone changed it; export again there",
	rejectUnknown:   "is from a service that the roster does not name: bring this node's roster up to date, or do not trust the file",
	rejectSignature: "is not signed by who it says wrote it: someone changed it, or that node has new keys; export again there",
	rejectSeal:      "is not sealed to this service: this node has new keys; export again there once that node has the new roster",
}

// judge says whether a record that was verified was taken in, or was known.
func (i *importing) judge(number int, in mailIn, done applied) bool {
	from := in.from.service + " at " + in.from.node
	switch {
	case done.verdict == protocol.Overtaken:
		i.fault(fault.WrongState, fmt.Sprintf("record %d, from %s, knows more of this node than it does itself: it was rolled back; restore it as the handbook says", number, from))
	case in.receipt != nil:
		return true // one of the past says nothing new
	case done.verdict == protocol.Gap && len(in.parcel.letters) == 0:
		return true // it asks for our mark, and shall hear it
	case done.verdict == protocol.Stale:
		i.fault(fault.Field, fmt.Sprintf("record %d was written before %s was restored: export again there", number, from))
	case done.verdict == protocol.Gap:
		i.fault(fault.Field, fmt.Sprintf("record %d holds letters from %s behind others that are not here yet: import the file with those first, "+
			"this one again if it holds them further on, or export again there", number, from))
	case done.state.GetMark() < in.parcel.header.GetLastSequence():
		i.fault(fault.WrongState, fmt.Sprintf("record %d, from %s, comes after too many refused letters of which its sender does not know: "+
			"export receipts here, import them there, and export there again", number, from))
	default:
		return true
	}
	return false
}
