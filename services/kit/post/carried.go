package post

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// A file of carried mail is a line that says what it is, then records: their length (4 bytes), a checksum
// (CRC-32C, 4 bytes; big endian both) and a CarriedRecord. The first is a begin, the last an end. Such
// files may be put one behind the other. The checksum tells what a worn stick did from what a person did;
// what is believed is signed.
const (
	carriedMagic   = "AMANAT PARCELS "
	carriedVersion = "1\n"
	recordHead     = 8
	// maxRecord is a message as the hub would carry it, and its subject.
	maxRecord = maxMessage + 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fileFault is what is wrong with a file, and what to do, as a sentence goes on after "it".
type fileFault struct{ sentence string }

func (f *fileFault) Error() string { return f.sentence }

func faulty(format string, values ...any) error { return &fileFault{fmt.Sprintf(format, values...)} }

// carriedWriter writes one file.
type carriedWriter struct {
	out  io.Writer
	mail uint64
}

func (w *carriedWriter) begin(b *postv1.CarriedBegin) error {
	if _, err := io.WriteString(w.out, carriedMagic+carriedVersion); err != nil {
		return err
	}
	return w.record(&postv1.CarriedRecord{Content: &postv1.CarriedRecord_Begin{Begin: b}})
}

func (w *carriedWriter) put(subject string, mail []byte) error {
	w.mail++
	return w.record(&postv1.CarriedRecord{Content: &postv1.CarriedRecord_Mail{Mail: &postv1.CarriedMail{Subject: subject, Mail: mail}}})
}

func (w *carriedWriter) end() error {
	return w.record(&postv1.CarriedRecord{Content: &postv1.CarriedRecord_End{End: &postv1.CarriedEnd{MailRecords: w.mail}}})
}

func (w *carriedWriter) record(r *postv1.CarriedRecord) error {
	data, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	var head [recordHead]byte
	binary.BigEndian.PutUint32(head[:4], uint32(len(data)))
	binary.BigEndian.PutUint32(head[4:], crc32.Checksum(data, castagnoli))
	if _, err := w.out.Write(head[:]); err != nil {
		return err
	}
	_, err = w.out.Write(data)
	return err
}

// carriedReader reads files that lie one behind the other.
type carriedReader struct {
	in     io.Reader
	inside bool   // between a begin and its end
	mail   uint64 // records of mail since the begin
	number int    // records read, for telling which one is wrong
	files  int
}

// next is the next record; io.EOF after the end of the last file. A fileFault says that no more can be read.
func (r *carriedReader) next() (*postv1.CarriedRecord, error) {
	if !r.inside {
		if err := r.magic(); err != nil {
			return nil, err
		}
	}
	data, err := r.frame()
	if err != nil {
		return nil, err
	}
	r.number++
	record := &postv1.CarriedRecord{}
	if err := proto.Unmarshal(data, record); err != nil || record.GetContent() == nil {
		return nil, faulty("record %d is none that this version knows: import it with the version of Amanat that wrote it", r.number)
	}
	switch content := record.GetContent().(type) {
	case *postv1.CarriedRecord_Begin:
		if r.inside {
			return nil, faulty("record %d begins a file within another: the file was mixed up; export again", r.number)
		}
		r.inside, r.mail = true, 0
		r.files++
	case *postv1.CarriedRecord_Mail:
		r.mail++
	case *postv1.CarriedRecord_End:
		if n := content.End.GetMailRecords(); n != r.mail {
			return nil, faulty("it should hold %d records of mail and holds %d: copy it again from where it was exported", n, r.mail)
		}
	}
	if !r.inside {
		return nil, faulty("record %d lies outside any file: the file was mixed up; export again", r.number)
	}
	if record.GetEnd() != nil {
		r.inside = false
	}
	return record, nil
}

func (r *carriedReader) magic() error {
	line := make([]byte, len(carriedMagic)+len(carriedVersion))
	n, err := io.ReadFull(r.in, line)
	switch {
	case errors.Is(err, io.EOF) && r.files > 0:
		return io.EOF
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case n == len(line) && string(line) == carriedMagic+carriedVersion:
		return nil
	case bytes.HasPrefix(line, []byte(carriedMagic)) && n == len(line):
		return faulty("it was written by another version of Amanat: bring this node or that one up to date")
	case n > 0 && strings.HasPrefix(carriedMagic+carriedVersion, string(line[:n])):
		return faulty("it ends within its first line: copy it again from where it was exported")
	case r.files > 0:
		return faulty("after record %d comes what is no part of it: copy it again from where it was exported", r.number)
	default:
		return faulty("it is no file of exported parcels: name the file that `amanat parcels export` wrote")
	}
}

// frame reads the bytes of one record.
func (r *carriedReader) frame() ([]byte, error) {
	var head [recordHead]byte
	if err := r.fill(head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size == 0 || size > maxRecord {
		return nil, r.damaged()
	}
	data := make([]byte, size)
	if err := r.fill(data); err != nil {
		return nil, err
	}
	if crc32.Checksum(data, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, r.damaged()
	}
	return data, nil
}

func (r *carriedReader) fill(data []byte) error {
	_, err := io.ReadFull(r.in, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return faulty("it is cut off after record %d: copy it again from where it was exported, and import it once more", r.number)
	}
	return err
}

func (r *carriedReader) damaged() error {
	return faulty("record %d is damaged: copy the file again from where it was exported, and import it once more", r.number+1)
}
