package rest

import (
	"net/http"

	"google.golang.org/protobuf/proto"

	"amanat.example/gateway/coding"
	"amanat.example/services/kit/privacy"
)

// smallest is the size from which an answer is worth compressing: below, it is one packet either way.
const smallest = 1400

// mayCompress says whether an answer may be compressed. The length of what is compressed tells of its content to whoever sees
// the packets: where an attacker can bring text of their own into an answer beside a secret, they can guess the secret letter
// by letter (BREACH, 2013). Nobody can make a stranger's browser ask here, since no cookie lets anyone in, and no answer repeats
// its request. But what one person writes another reads, so this does not rest on that alone: an answer whose type can hold
// anything that identifies a person is never compressed. Those that grow long on weak links, such as lists of referrals, offers,
// notices and stays, hold none.
//
// An answer with an entity tag is left alone too: one tag must not stand for two forms of it (RFC 9110, section 8.8.3.3), and
// what has one is a single thing, so small. A stream is never compressed: its events must leave at once.
func mayCompress(answer proto.Message, tagged bool) bool {
	return !tagged && !privacy.Marked(answer.ProtoReflect().Descriptor())
}

// encoded is the body of an answer in the form that the asker takes.
func (l *live) encoded(data []byte) []byte {
	if !l.gzip || len(data) < smallest {
		return data
	}
	l.ResponseWriter.Header().Set("Content-Encoding", coding.Gzip)
	return coding.Compress(data)
}

// negotiate notes whether the answer to come is to be compressed, and says that it depends on the asker.
func (x *exchange) negotiate(w http.ResponseWriter, answer proto.Message, tagged bool) {
	if mayCompress(answer, tagged) {
		w.Header().Set("Vary", "Accept-Encoding")
		x.live.gzip = coding.AcceptsGzip(x.header.Values("Accept-Encoding"))
	}
}
