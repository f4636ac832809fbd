// Package rest is the REST/JSON interface: the RPCs that have an HTTP annotation, over HTTPS.
//
// It owns how a request becomes a call and how a call's end becomes an answer.
//
// Invariants:
//   - No call is made without an API token that is known and in date. A service gets of the HTTP
//     request the message, the request id and a person token for itself, and nothing else.
//   - Whatever fails is answered with problem details (RFC 9457). They hold what our services
//     say, or a sentence of ours, never what a library says: that may quote the request.
//   - A field or parameter that the request's message does not have is refused by its name.
//   - No log line and no metric holds anything of a path, query, header or body; the request id
//     is taken over only where it has the form of one.
//   - An answer that has an etag is tagged with it and a keyed digest of all that is shown, so that one tag never stands for two answers; but for what
//     was counted anew and is the same, whose etag is a digest of it: its tag is weak.
//     If-Match stands for a request's etag, Idempotency-Key for its request_id; a header and a field that differ are refused, and
//     so is a header that the call cannot heed. What HTTP ignores by the letter is ignored: a key with what only reads.
//   - No answer whose type can hold what identifies a person is compressed, and none that is tagged.
//   - A call that streams is answered with server-sent events: `data` is a message as in any other answer, `problem` what
//     ended it. It says something every 15 seconds, ends after four minutes at most, and its reader opens it again.
package rest
