// Package backup owns what a backup of a service is on its way out of the process and back: encrypted with age to the recipients
// that the node's own file names, with a label in front that says whose it is.
//
// A backup is an age file. What it holds is a Label, with its length before it as a uvarint, and then what store.DB.Backup, or
// privacy.Keyring.Backup, wrote.
//
// # Invariants
//
//   - Nothing leaves the process in the clear, and the node has no key that opens its backups: the recipients' file takes
//     public keys alone.
//   - Data and keys are never in one file: data may be kept, of keys only the latest may exist, so that what was erased stays erased.
//   - A backup that was cut short does not open: age and the store's own sum both tell.
package backup
