package backup

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"filippo.io/age"

	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/fault"
)

// recipientsFile is in the folder of the node.
const recipientsFile = "backup-recipients"

const recipientsText = `# Who can open the backups of this node: one age recipient a line (age1...), at least one, better two. Make a key with
# age-keygen on a machine that is not this one, put its public half here, and keep the secret half where a fire here does not
# reach it. Without the secret half no backup opens. The file is read anew for each backup.
`

// RecipientsPath is the file that says who can open the backups of a node.
func RecipientsPath(data, node string) string { return filepath.Join(data, node, recipientsFile) }

// MakeRecipients makes a node's file of recipients, which names none yet and says how. One that is there stays.
func MakeRecipients(data, node string) error {
	err := durable.Create(RecipientsPath(data, node), []byte(recipientsText))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// secretKey begins the secret half of an age key, of every kind.
const secretKey = "AGE-SECRET-KEY-"

// ReadRecipients reads a file of recipients. Its errors are for the operator: they name the file and what to do, and repeat nothing of it.
func ReadRecipients(path string) ([]age.Recipient, error) {
	refuse := func(format string, values ...any) error {
		return fault.New(fault.WrongState, "backup-recipients: "+fmt.Sprintf(format, values...))
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refuse("there is no file %s: put at least one age recipient into it, a line that begins with age1", path)
	}
	if err != nil {
		return nil, err
	}
	if strings.Contains(strings.ToUpper(string(text)), secretKey) {
		return nil, refuse("%s holds a secret key: move it to another machine, and leave its public half here, which begins with age1", path)
	}
	if !strings.Contains(string(text), "\nage1") && !strings.HasPrefix(string(text), "age1") {
		return nil, refuse("%s names nobody: put at least one age recipient into it, a line that begins with age1", path)
	}
	recipients, err := age.ParseRecipients(bytes.NewReader(text))
	if err != nil {
		return nil, refuse("%s: %s is no age recipient, which begins with age1: write it anew", path, lineOf(err))
	}
	return recipients, nil
}

var ageLine = regexp.MustCompile(`line [0-9]+`)

// lineOf is where age could not read on. Its error repeats the line, and that may be a secret key which was not copied well.
func lineOf(err error) string { return cmp.Or(ageLine.FindString(err.Error()), "what it holds") }

// ReadIdentities reads the secret keys that open backups, as age-keygen writes them. Its errors repeat nothing of the file.
func ReadIdentities(path string) ([]age.Identity, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if bytes.HasPrefix(text, []byte("age-encryption.org/")) || bytes.HasPrefix(text, []byte("-----BEGIN AGE ENCRYPTED FILE-----")) {
		return nil, fmt.Errorf("identity: %s is itself encrypted: open it first with age -d, into memory such as /dev/shm", path)
	}
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("identity: %s is no file of age-keygen: %s is no secret key, which begins with %s in capitals", path, lineOf(err), secretKey)
	}
	return identities, nil
}
