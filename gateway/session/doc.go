// Package session owns who a person at the door is: the API tokens that were given out, and the
// short-lived person tokens under which the node's services act for them.
//
// # File
//
// The tokens file is JSON, 0600, and is read anew when it was replaced:
//
//	{"tokens": [{
//	  "sha256": "<64 hexadecimal digits>",
//	  "person": "nodes/sindh/workers/0192…",
//	  "roles": ["case-worker"],
//	  "unit": "nodes/sindh/units/karachi",
//	  "purpose": "casework",
//	  "expire_time": "2027-01-31T00:00:00Z"
//	}]}
//
// An API token is `amanat_` and 32 random bytes in unpadded base64url; the file holds the SHA-256
// of those 32 bytes.
//
// Invariants:
//   - A secret is told once, to whoever made it, and is written nowhere.
//   - A file that cannot be read or that others can read admits nobody.
//   - A lookup takes as long for a token that is known as for one that is not.
//   - A person token names one service, and outlives neither its API token nor five minutes.
package session
