package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

const (
	// sendAtOnce is to how many people at one time.
	sendAtOnce = 8
	// boxesAtOnce bounds how many mailboxes one look takes up.
	boxesAtOnce = 64
	// adoptAtOnce bounds how many notices one transaction gives to a new focal point.
	adoptAtOnce = 256
)

// resend is how long after a failed send the next one comes.
var resend = backoff.Range{Min: 5 * time.Second, Max: 15 * time.Minute}

// SendNotices tells people what waits for them, and says when there is something to do next; zero when
// nothing waits. A message is stored before it is sent and marked after: what happens between sends
// it again under the same id.
func (a *App) SendNotices(ctx context.Context) (next time.Time, err error) {
	if err := a.adopt(ctx); err != nil {
		return time.Time{}, err
	}
	for {
		var due []string
		if due, next, err = a.dueBoxes(ctx); err != nil || len(due) == 0 {
			return next, err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(sendAtOnce)
		for _, worker := range due {
			group.Go(func() error { return a.tendBox(ctx, worker) })
		}
		if err := group.Wait(); err != nil {
			return time.Time{}, err
		}
	}
}

// adopt gives notices that are nobody's to the focal point.
func (a *App) adopt(ctx context.Context) error {
	for more := true; more; {
		var focal string
		var rows []kitstore.Row[*protectionv1.Notice]
		find := func(r kitstore.Reader) error {
			ladder, err := getLadder(r)
			if err != nil || ladder.GetFocalPoint() == "" {
				return err
			}
			focal = ladder.GetFocalPoint()
			rows, _, err = store.WaitingNotices.Page(r, kitstore.Range{Prefix: kitstore.K("")}, adoptAtOnce)
			return err
		}
		if err := a.DB.View(ctx, find); err != nil {
			return err
		}
		if more = len(rows) > 0; !more {
			return nil
		}
		err := a.DB.Update(ctx, func(tx *kitstore.Tx) error {
			if err := find(tx); err != nil {
				return err
			}
			for _, row := range rows {
				row.Value.Worker = focal
				if err := store.Notices.Put(tx, row.Key, row.Value); err != nil {
					return err
				}
			}
			return a.ring(tx, focal, a.Now())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dueBoxes are the workers for whom there is something to do now, and when there is for the next.
func (a *App) dueBoxes(ctx context.Context) (due []string, next time.Time, err error) {
	now := a.Now()
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		rows, _, err := store.MailboxesByTime.Page(r, kitstore.Range{}, boxesAtOnce)
		for _, row := range rows {
			if at := row.Value.GetNextTime().AsTime(); rules.Waits(at, now) {
				next = at
				break
			}
			due = append(due, row.Value.GetWorker())
		}
		return err
	})
	return due, next, err
}

// tendBox makes the next message to a worker where none is under way, and sends it once.
func (a *App) tendBox(ctx context.Context, worker string) error {
	var letter *letter
	err := a.DB.Update(ctx, func(tx *kitstore.Tx) (err error) {
		letter, err = a.compose(tx, worker)
		return err
	})
	if err != nil || letter == nil {
		return err
	}
	a.send(ctx, letter)
	// Also when the service is told to stop: who has taken it is not told again after the next start.
	return a.DB.Update(context.WithoutCancel(ctx), func(tx *kitstore.Tx) error { return a.mark(tx, letter) })
}

// letter is a message on its way: what is stored of it, and what is sent.
type letter struct {
	worker  string
	stored  *protectionv1.NoticeMessage
	message notify.Message
	failed  bool // some sender is to be tried again
	cut     bool // the service was told to stop before all were tried
}

// compose is the message of a worker that is to be sent now; nil when none is. Without anybody to send it
// the notices stay in the list.
func (a *App) compose(tx *kitstore.Tx, worker string) (*letter, error) {
	now := a.Now()
	box, err := a.mailbox(tx, worker)
	if err != nil || box.GetNextTime() == nil || rules.Waits(box.GetNextTime().AsTime(), now) {
		return nil, err
	}
	row, err := store.Workers.Row(tx, a.Keys, kitstore.K(worker))
	if errors.Is(err, kitstore.ErrNotFound) || errors.Is(err, privacy.ErrUnreadable) { // no address: the list has to do
		row.Value, err = &protectionv1.Worker{Name: worker}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := a.overtake(tx, box, row.Value, now); err != nil {
		return nil, err
	}
	if box.GetMessage() == nil {
		if err := a.makeMessage(tx, box, row, now); err != nil || box.GetMessage() == nil {
			return nil, err
		}
	}
	l := &letter{worker: worker, stored: box.GetMessage()}
	if l.message, err = a.write(tx, row.Value, l.stored, now); err != nil {
		return nil, err
	}
	return l, nil
}

// overtake ends a message that some sender has taken, when more is to be told now: a sender that is down keeps nobody from being told
// by another.
func (a *App) overtake(tx *kitstore.Tx, box *protectionv1.MailboxRecord, w *protectionv1.Worker, now time.Time) error {
	if len(box.GetMessage().GetTakenBy()) == 0 {
		return nil
	}
	waiting, err := waitingFor(tx, box.GetWorker())
	if err != nil {
		return err
	}
	waiting = slices.DeleteFunc(waiting, func(n *protectionv1.Notice) bool { return slices.Contains(box.GetMessage().GetNotices(), n.GetName()) })
	if picked, _ := rules.Compose(proto.CloneOf(box), w, waiting, now); len(picked) == 0 {
		return nil
	}
	return a.endMessage(tx, box, now)
}

// waitingFor are the notices to be sent to a worker, those of high risk at the front; of very many the first.
func waitingFor(tx *kitstore.Tx, worker string) (waiting []*protectionv1.Notice, err error) {
	rows, _, err := store.WaitingNotices.Page(tx, kitstore.Range{Prefix: kitstore.K(worker)}, 2*rules.DigestNotices)
	for _, r := range rows {
		waiting = append(waiting, r.Value)
	}
	return waiting, err
}

// makeMessage picks what is told now and stores it, or stores when to look again.
func (a *App) makeMessage(tx *kitstore.Tx, box *protectionv1.MailboxRecord, row privacy.Row[*protectionv1.Worker], now time.Time) error {
	waiting, err := waitingFor(tx, box.GetWorker())
	if err != nil {
		return err
	}
	if len(a.reaching(recipient(row.Value))) == 0 {
		for _, n := range waiting {
			n.State = protectionv1.Notice_STATE_LISTED
			if err := store.Notices.Put(tx, kitstore.K(n.GetName()), n); err != nil {
				return err
			}
		}
		box.NextTime = nil
		if len(waiting) == 2*rules.DigestNotices {
			box.NextTime = timestamppb.New(now)
		}
		return store.Mailboxes.Put(tx, kitstore.K(box.GetWorker()), box)
	}
	picked, next := rules.Compose(box, row.Value, waiting, now)
	switch {
	case len(picked) > 0:
		id, err := a.NewID()
		if err != nil {
			return err
		}
		box.Message = &protectionv1.NoticeMessage{Id: id, Notices: picked, CreateTime: timestamppb.New(now)}
	case next.IsZero():
		box.NextTime = nil
	default:
		box.NextTime = timestamppb.New(next)
	}
	return store.Mailboxes.Put(tx, kitstore.K(box.GetWorker()), box)
}

func recipient(w *protectionv1.Worker) notify.Recipient {
	return notify.Recipient{Worker: w.GetName(), Email: w.GetEmail(), Phone: w.GetPhone(), Language: rules.LanguageOf(w)}
}

func (a *App) reaching(to notify.Recipient) (senders []notify.Sender) {
	for _, s := range a.Senders {
		if s.Reaches(to) {
			senders = append(senders, s)
		}
	}
	return senders
}

// write is the text of a message, from its notices as they are.
func (a *App) write(r kitstore.Reader, w *protectionv1.Worker, m *protectionv1.NoticeMessage, now time.Time) (notify.Message, error) {
	out := notify.Message{ID: m.GetId(), To: recipient(w), MadeTime: m.GetCreateTime().AsTime()}
	var notices []*protectionv1.Notice
	for _, name := range m.GetNotices() {
		n, err := store.Notices.Get(r, kitstore.K(name))
		if err != nil {
			return out, err
		}
		notices = append(notices, n)
		out.Notices = append(out.Notices, notify.Notice{
			Name: n.GetName(), Step: n.GetStep(), Level: n.GetLevel().String(), Reference: n.GetReference(), HighRisk: rules.HighRisk(n),
			DueTime: n.GetDueTime().AsTime(), Path: n.GetPath(),
		})
	}
	out.Subject, out.Text = rules.NoticeText(notices, out.To.Language, a.Gateway, m.GetCreateTime().AsTime())
	return out, nil
}

// send tries each sender that has neither taken nor refused the message.
func (a *App) send(ctx context.Context, l *letter) {
	for _, s := range a.reaching(l.message.To) {
		if slices.Contains(l.stored.GetTakenBy(), s.Name()) || slices.Contains(l.stored.GetRefusedBy(), s.Name()) {
			continue
		}
		err := s.Send(ctx, l.message)
		switch {
		case err == nil:
			l.stored.TakenBy = append(l.stored.TakenBy, s.Name())
		case ctx.Err() != nil:
			l.cut = true
			return
		case errors.Is(err, notify.ErrRefused):
			l.stored.RefusedBy = append(l.stored.RefusedBy, s.Name())
			a.Log.Error("a notice was refused for good; the person has to read it in the list", logging.Service(s.Name()), logging.Err(err))
		default:
			l.failed = true
			a.Log.Warn("a notice could not be sent and is tried again", logging.Service(s.Name()), logging.Err(err))
		}
	}
}

// mark notes how a send ended: when to try again, or what became of the notices.
func (a *App) mark(tx *kitstore.Tx, l *letter) error {
	now := a.Now()
	box, err := a.mailbox(tx, l.worker)
	if err != nil || box.GetMessage().GetId() != l.stored.GetId() {
		return err
	}
	l.stored.Failures = box.GetMessage().GetFailures()
	box.Message = l.stored
	if l.cut {
		return store.Mailboxes.Put(tx, kitstore.K(l.worker), box)
	}
	if l.failed && now.Before(l.stored.GetCreateTime().AsTime().Add(rules.GiveUpAfter)) {
		l.stored.Failures++
		box.NextTime = timestamppb.New(now.Add(resend.Delay(int(l.stored.GetFailures()), nil)))
		return store.Mailboxes.Put(tx, kitstore.K(l.worker), box)
	}
	if err := a.endMessage(tx, box, now); err != nil {
		return err
	}
	return store.Mailboxes.Put(tx, kitstore.K(l.worker), box)
}

// endMessage notes what became of the notices of a message, after which the next can be made. The caller stores the mailbox.
func (a *App) endMessage(tx *kitstore.Tx, box *protectionv1.MailboxRecord, now time.Time) error {
	for _, name := range box.GetMessage().GetNotices() {
		n, err := store.Notices.Get(tx, kitstore.K(name))
		if err != nil {
			return err
		}
		n.State = protectionv1.Notice_STATE_FAILED
		if len(box.GetMessage().GetTakenBy()) > 0 {
			n.State, n.SendTime = protectionv1.Notice_STATE_SENT, timestamppb.New(now)
		}
		if err := store.Notices.Put(tx, kitstore.K(name), n); err != nil {
			return err
		}
	}
	box.Message, box.NextTime = nil, timestamppb.New(now)
	return nil
}
