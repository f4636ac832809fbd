package posttest

import (
	"testing"

	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// A receipt tells of a new life of its writer as a parcel does: what the earlier life wrote is not applied any more, on any lane.
func TestReceiptOfNewLife(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	const subject = "amanat.post.punjab." + Service + "."
	settle := func(d *desk) {
		for r.step(d) {
		}
	}
	mails := func(lane string, parcels bool) (found [][]byte) {
		for _, data := range r.fake.Seen(t, subject+lane) {
			var mail postv1.Mail
			if err := proto.Unmarshal(data, &mail); err != nil {
				t.Fatal(err)
			}
			if (mail.GetParcel() != nil) == parcels {
				found = append(found, data)
			}
		}
		return found
	}
	sindh.QueueAll(punjab.Office, bulk, []string{"before"})
	r.run(r.receipted)
	sindh.keepCopy()
	sindh.QueueAll(punjab.Office, bulk, []string{"lost"})
	sindh.QueueAll(punjab.Office, urgent, []string{"lost too"})
	settle(sindh)
	lost := map[string][][]byte{"bulk": mails("bulk", true), "urgent": mails("urgent", true)}
	r.fake.Wipe(t) // so that punjab reads nothing of it now
	r.restore(sindh)
	punjab.QueueAll(sindh.Office, bulk, []string{"to sindh"})
	before := len(mails("bulk", false))
	settle(punjab)
	settle(sindh)
	r.fake.Wipe(t)

	receipts := mails("bulk", false)
	if len(receipts) == before {
		t.Fatal("the new life sent no receipt")
	}
	r.fake.Inject(t, subject+"bulk.sindh."+Service, receipts[len(receipts)-1])
	settle(punjab)
	r.fake.Wipe(t)
	for lane, all := range lost {
		for _, data := range all {
			r.fake.Inject(t, subject+lane+".sindh."+Service, data)
		}
	}
	settle(punjab)
	mustEqual(t, punjab.Received(), []string{"before"})
}
