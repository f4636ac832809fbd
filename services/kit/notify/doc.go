// Package notify sends notices to people who work: by SMTP, and by webhook for everything else (SMS
// gateways, chat, duty systems).
//
// A sender knows nothing of queues: whoever calls it has stored the message before, and calls again until
// it is taken or refused. Between taking and the caller's mark the same message may be sent twice; it
// then has the same id, as Message-ID and as Idempotency-Key, by which a receiver knows it again.
//
// Invariants, each held by a test against a real listener:
//
//   - Nothing leaves in the clear: SMTP needs TLS (STARTTLS, or from the first byte) and a webhook HTTPS,
//     except to this machine itself.
//   - A send ends when its context does, whatever the other side does or does not do.
//   - What is sent holds nothing of a person in care; of the recipient their own address alone.
//   - An error says what the other side did, never what was sent or to whom.
package notify
