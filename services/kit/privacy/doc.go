// Package privacy makes good what the mark (amanat.privacy.v1.personal) on a field promises: that
// a field which identifies a person is sealed at rest, is missing from every log and error, and
// cannot get into events or anything federal.
//
// # Splitting
//
// Split parts a message into what is not marked and what is, through all messages within it;
// Merge joins them; Redact keeps the first part only; CheckUnmarked is for the types that must
// have no second part. What a program cannot judge counts as marked: fields it does not know, and
// an Any of an unknown type.
//
// # At rest
//
// A SealedTable keeps a message as its public part in the clear and its marked part sealed
// (XChaCha20-Poly1305) under a random key of its person, with table, row and the digest of the
// public part as associated data. A Keyring keeps these keys in a file of their own, keys.db,
// wrapped under the wrapping key in wrapping.key.
//
//   - A key is on disk before anything is sealed under it (Keyring.Prepare, outside the
//     transaction). A key that was never used is harmless.
//   - Erasing a person is erasing the key. Rows sealed under it answer ErrErased and their public
//     part. The name is never given a key again.
//   - TurnOver wraps all keys anew and destroys the old wrapping key, so neither an old copy of
//     keys.db nor its free pages bring an erased key back. Of wrapping.key and keys.db only the
//     latest copy may exist anywhere; of the data file old copies may be kept.
//   - A key that is missing without having been erased is never taken for erasure (ErrUnreadable).
//
// Marking a field later protects it in logs and public reads at once, and at rest from the row's
// next Put: the migration that comes with the mark puts every row again.
package privacy
