package session

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"amanat.example/services/kit/durable"
)

const (
	secretPrefix = "amanat_"
	secretBytes  = 32
)

// Why an API token is refused.
var (
	ErrMissing = errors.New("the request carries no API token")
	ErrUnknown = errors.New("the API token is not known here")
	ErrExpired = errors.New("the API token has expired")
)

// Grant is what an API token stands for.
type Grant struct {
	// Person is a resource name, such as `nodes/sindh/workers/0192…`.
	Person string `json:"person"`
	// Roles, such as `case-worker`; at least one.
	Roles []string `json:"roles"`
	// Unit is the resource name of the person's unit or shelter; may be empty.
	Unit string `json:"unit,omitempty"`
	// Purpose is casework, oversight or operations.
	Purpose string `json:"purpose"`
	// ExpireTime is when the API token ends.
	ExpireTime time.Time `json:"expire_time"`
	// Token tells the tokens of one person apart: the SHA-256 of the secret, in hexadecimal. Lookup sets it.
	Token string `json:"-"`
}

func (g Grant) check() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"person", g.Person == ""},
		{"roles", len(g.Roles) == 0 || slices.Contains(g.Roles, "")},
		{"purpose", g.Purpose == ""},
		{"expire_time", g.ExpireTime.IsZero()},
	} {
		if f.missing {
			return fmt.Errorf("field %s is needed", f.name)
		}
	}
	return nil
}

type entry struct {
	Digest string `json:"sha256"`
	Grant
	digest []byte
}

type content struct {
	Tokens []*entry `json:"tokens"`
}

// Create adds a token to the file at path, which it makes where there is none, and answers the
// secret: it cannot be had again. Tokens that have expired at now leave the file. One caller at
// a time.
func Create(path string, g Grant, now time.Time) (secret string, err error) {
	if err := g.check(); err != nil {
		return "", fmt.Errorf("create an API token: %w", err)
	}
	c, _, err := read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("create an API token: %w", err)
	}
	raw := make([]byte, secretBytes)
	_, _ = rand.Read(raw) // Never fails (crypto/rand).
	digest := sha256.Sum256(raw)
	c.Tokens = slices.DeleteFunc(c.Tokens, func(e *entry) bool { return !now.Before(e.ExpireTime) })
	c.Tokens = append(c.Tokens, &entry{Digest: hex.EncodeToString(digest[:]), Grant: g})
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return "", fmt.Errorf("create an API token: %w", err)
	}
	if err := durable.Replace(path, append(data, '\n')); err != nil {
		return "", fmt.Errorf("create an API token: %w", err)
	}
	return secretPrefix + base64.RawURLEncoding.EncodeToString(raw), nil
}

func read(path string) (c content, info fs.FileInfo, err error) {
	file, err := os.Open(path)
	if err != nil {
		return c, nil, err
	}
	defer func() { _ = file.Close() }() // Only read.
	if info, err = file.Stat(); err != nil {
		return c, nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return c, nil, fmt.Errorf("tokens file %s can be read by others: make it 0600", path)
	}
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&c)
	if _, wrongTime := errors.AsType[*time.ParseError](err); wrongTime { // which would repeat what stands there
		err = errors.New("a time is not like 2026-03-01T08:00:00Z")
	}
	if _, behind := decoder.Token(); err == nil && !errors.Is(behind, io.EOF) {
		err = errors.New("something follows the end of the tokens: it would be passed over")
	}
	if err != nil {
		return content{}, nil, fmt.Errorf("tokens file %s: %w", path, err)
	}
	for i, e := range c.Tokens {
		if e == nil {
			return content{}, nil, fmt.Errorf("tokens file %s: tokens[%d] is empty", path, i)
		}
		if e.digest, err = hex.DecodeString(e.Digest); err != nil || len(e.digest) != sha256.Size {
			return content{}, nil, fmt.Errorf("tokens file %s: tokens[%d]: field sha256 must be 64 hexadecimal digits", path, i)
		}
		e.Token = hex.EncodeToString(e.digest) // one spelling, whoever wrote the file
		if err := e.check(); err != nil {
			return content{}, nil, fmt.Errorf("tokens file %s: tokens[%d]: %w", path, i, err)
		}
	}
	return c, info, nil
}

// Tokens are the API tokens of one file. It is safe for concurrent use.
type Tokens struct {
	path string

	mu      sync.Mutex
	info    fs.FileInfo // of the file as it was read
	entries []*entry
}

// Open looks at the file at path whenever a token is looked up. Where there is none, no token is
// known.
func Open(path string) *Tokens { return &Tokens{path: path} }

// Err is why no token can be looked up: the file cannot be read; nil when it can, or when there
// is none.
func (t *Tokens) Err() error {
	_, err := t.load()
	return err
}

// Lookup answers whom the value of an `Authorization` header stands for: ErrMissing, ErrUnknown
// or ErrExpired if nobody, another error if the file cannot be read. The grant is shared: do not
// change it.
func (t *Tokens) Lookup(authorization string, now time.Time) (*Grant, error) {
	scheme, secret, _ := strings.Cut(authorization, " ")
	if authorization == "" || !strings.EqualFold(scheme, "Bearer") {
		return nil, ErrMissing
	}
	entries, err := t.load()
	if err != nil {
		return nil, err
	}
	secret = strings.TrimPrefix(strings.TrimSpace(secret), secretPrefix)
	raw, err := base64.RawURLEncoding.DecodeString(secret)
	// The decoder passes over line breaks and spare bits: a secret has one form.
	if err != nil || len(raw) != secretBytes || base64.RawURLEncoding.EncodeToString(raw) != secret {
		return nil, ErrUnknown
	}
	digest := sha256.Sum256(raw)
	var found *Grant
	for _, e := range entries { // All of them, so that the time taken tells nothing.
		if subtle.ConstantTimeCompare(e.digest, digest[:]) == 1 {
			found = &e.Grant
		}
	}
	switch {
	case found == nil:
		return nil, ErrUnknown
	case !now.Before(found.ExpireTime):
		return nil, ErrExpired
	}
	return found, nil
}

func (t *Tokens) load() ([]*entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		t.info, t.entries = nil, nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Rights too: a file opened to others is refused, though its content is as it was.
	if t.info != nil && os.SameFile(info, t.info) && info.ModTime().Equal(t.info.ModTime()) &&
		info.Size() == t.info.Size() && info.Mode() == t.info.Mode() {
		return t.entries, nil
	}
	c, info, err := read(t.path)
	if err != nil {
		t.info, t.entries = nil, nil
		return nil, err
	}
	t.info, t.entries = info, c.Tokens
	return t.entries, nil
}
