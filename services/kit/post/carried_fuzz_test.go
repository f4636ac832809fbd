package post

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// Whatever bytes come, reading ends: at the end of the last file, or with a sentence that says what is wrong.
func FuzzCarried(f *testing.F) {
	var file bytes.Buffer
	w := &carriedWriter{out: &file}
	for _, err := range []error{
		w.begin(&postv1.CarriedBegin{From: &postv1.Address{Node: "sindh", Service: "referral"}, ToNode: "punjab", WriteTime: timestamppb.New(time.Unix(0, 0))}),
		w.put("amanat.post.punjab.referral.bulk.sindh.referral", []byte("mail")),
		w.end(),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add(file.Bytes())
	f.Add(append(bytes.Clone(file.Bytes()), file.Bytes()...))
	f.Add(file.Bytes()[:file.Len()-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &carriedReader{in: bytes.NewReader(data)}
		for {
			record, err := r.next()
			var bad *fileFault
			switch {
			case err == nil && record.GetContent() != nil:
				continue
			case errors.Is(err, io.EOF) && r.files > 0 && !r.inside:
			case errors.As(err, &bad) && bad.sentence != "":
			default:
				t.Fatalf("%v %v", record, err)
			}
			return
		}
	})
}
