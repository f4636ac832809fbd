package posttest

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// A receiver whose disk is full takes the file when there is room; letters on the urgent lane go on.
func TestFileMeetsFullDisk(t *testing.T) {
	r, sindh, punjab := newDesks(t)
	f, err := sindh.Post.PrepareFile(post.OutgoingFile{To: punjab.Addr, Kind: kindFile, About: "scan", Content: bytes.NewReader(content(2 * chunk))})
	if err != nil {
		t.Fatal(err)
	}
	path := punjab.inPath(sindh.Office, f)
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	if err := sindh.DB.Update(t.Context(), func(tx *store.Tx) error { return sindh.Post.QueueFile(tx, f) }); err != nil {
		t.Fatal(err)
	}
	r.run(func() bool { return punjab.Counted("parcel-in", "put-off") > 2 })
	sindh.QueueAll(punjab.Office, urgent, []string{"urgent"})
	r.run(func() bool { return punjab.count() == 1 })
	if got := punjab.incoming(); len(got) > 0 {
		t.Errorf("a piece that was not written is counted: %v", got)
	}
	var carried bytes.Buffer
	if _, err := sindh.Post.Export(t.Context(), "punjab", &carried); err != nil {
		t.Fatal(err)
	}
	if _, err := punjab.Post.Import(t.Context(), &carried); err == nil || !strings.Contains(err.Error(), "could not be applied now") {
		t.Errorf("import on a full disk: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.run(r.receipted)
	mustEqual(t, punjab.Received(), []string{"urgent", "file scan"})
	if !bytes.Equal(punjab.readFile(sindh.Office, f.ID()), content(2*chunk)) {
		t.Error("other bytes came")
	}
}

// What the receiver's disk forgets of an unfinished file is noticed when it should be whole, and all of it comes once more; a disk
// that forgets every time is told to the sender, and nothing of the file stays.
func TestFileDamagedAtReceiver(t *testing.T) {
	for _, times := range []int{1, 4} {
		r, sindh, punjab := newDesks(t)
		data := content(5 * chunk)
		f := sindh.sendFile(punjab.Office, kindFile, "scan", data)
		sindh.QueueAll(punjab.Office, bulk, []string{"behind"})
		for time := range times {
			r.run(func() bool {
				in := punjab.incoming()
				return len(in) == 1 && int(in[0].GetAskedAgain()) == time && in[0].GetReceivedChunks() >= 2
			})
			tear(t, []string{punjab.inPath(sindh.Office, f)}, 0)
		}
		r.run(r.receipted)
		r.run(func() bool {
			return len(sindh.outgoing()) == 1 && (times == 1 || sindh.outgoing()[0].GetRefusal() != "") && r.receipted()
		})
		if times == 1 {
			mustEqual(t, punjab.Received(), []string{"behind", "file scan"})
			if !bytes.Equal(punjab.readFile(sindh.Office, f.ID()), data) {
				t.Error("other bytes came")
			}
			continue
		}
		mustEqual(t, punjab.Received(), []string{"behind"})
		if got := sindh.outgoing()[0].GetRefusal(); got != "attachment-damaged" {
			t.Errorf("the sender was told %q", got)
		}
		if left := punjab.kept("in"); len(left)+len(punjab.incoming()) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

// A file that is damaged or gone at its sender is refused, once and for all; letters behind it go on, and so do other files. One
// that cannot be read for a while is sent later.
func TestFileDamagedAtSender(t *testing.T) {
	path := func(sindh *desk) string { return sindh.kept("out")[0] }
	for name, c := range map[string]struct {
		harm, mend func(path string) error
	}{
		"damaged": {func(path string) error {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = file.WriteAt([]byte("x"), 2*chunk+9)
			return errors.Join(err, file.Close())
		}, nil},
		"cut off": {func(path string) error { return os.Truncate(path, 2*chunk+9) }, nil},
		"gone":    {os.Remove, nil},
		"unreadable": {func(path string) error { return errors.Join(os.Rename(path, path+"-away"), os.Mkdir(path, 0o700)) }, func(path string) error {
			return errors.Join(os.Remove(path), os.Rename(path+"-away", path))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r, sindh, punjab := newDesks(t)
			sindh.sendFile(punjab.Office, kindFile, "bad", content(4*chunk))
			at := path(sindh)
			if err := c.harm(at); err != nil {
				t.Fatal(err)
			}
			sindh.sendFile(punjab.Office, kindFile, "good", content(2*chunk))
			sindh.QueueAll(punjab.Office, bulk, []string{"behind"})
			if c.mend != nil {
				r.run(func() bool { return sindh.Counted("parcel-out", "not-sent") > 3 })
				if err := c.mend(at); err != nil {
					t.Fatal(err)
				}
				r.run(r.receipted)
				mustEqual(t, punjab.Received(), []string{"file bad", "file good", "behind"})
				return
			}
			r.run(r.receipted)
			r.run(func() bool { return len(sindh.Refused()) > 0 })
			mustEqual(t, punjab.Received(), []string{"file good", "behind"})
			refusals := map[string]string{}
			for _, o := range sindh.outgoing() {
				refusals[o.GetFirst().GetAbout()] = o.GetRefusal()
			}
			if refusals["bad"] != "attachment-gone" || refusals["good"] != "" {
				t.Errorf("the sender was told %v", refusals)
			}
			if n := len(punjab.kept("in")); n != 1 {
				t.Errorf("%d files are kept at the receiver", n)
			}
		})
	}
}
