package backup

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"buf.build/go/protovalidate"
	"filippo.io/age"
	"google.golang.org/protobuf/encoding/protodelim"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/fault"
)

// ErrTorn says that a file is not a backup, or not all of one, or not as it was written.
var ErrTorn = errors.New("the file is not a whole backup: copy it again from where it was kept, or take an older one")

// ErrNotOurs says that none of the keys at hand opens a file.
var ErrNotOurs = errors.New("no key of the identity file opens the backup: use that of a recipient it was made for")

// Seal writes a backup: the label and what body writes, encrypted to the recipients.
func Seal(w io.Writer, recipients []age.Recipient, label *backupv1.Label, body func(io.Writer) error) error {
	sealed, err := age.Encrypt(w, recipients...)
	if err != nil {
		return fault.New(fault.WrongState, "backup-recipients: they cannot be used together: "+err.Error())
	}
	if _, err := protodelim.MarshalTo(sealed, label); err != nil {
		return err
	}
	if err := body(sealed); err != nil {
		return err
	}
	return sealed.Close()
}

// Open reads a backup's label and gives what follows. The bytes are verified piece by piece as they are read; what is cut short ends in ErrTorn.
func Open(r io.Reader, identities []age.Identity) (*backupv1.Label, io.Reader, error) {
	opened, err := age.Decrypt(r, identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, nil, ErrNotOurs
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrTorn, err)
	}
	body := bufio.NewReaderSize(torn{opened}, 1<<16)
	label := &backupv1.Label{}
	if err := (protodelim.UnmarshalOptions{MaxSize: 1 << 12}).UnmarshalFrom(body, label); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrTorn, err)
	}
	if err := protovalidate.Validate(label); err != nil {
		return nil, nil, fmt.Errorf("%w: its label: %w", ErrTorn, err)
	}
	return label, body, nil
}

// torn names what age has found.
type torn struct{ r io.Reader }

func (t torn) Read(into []byte) (int, error) {
	n, err := t.r.Read(into)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", ErrTorn, err)
	}
	return n, err
}
