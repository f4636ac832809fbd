package notify_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"amanat.example/services/kit/fuzztest"
	"amanat.example/services/kit/notify"
)

// Whatever a mail server says, Send ends; a message counts as sent only when the server has heard all of it, as refused only when it was told
// so, and no error repeats what the server said.
func FuzzMailServer(f *testing.F) {
	for _, says := range []string{
		"", "220 a\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n221 f\r\n", "220 a\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n", fuzztest.Canary + "\r\n", "220",
		"220 a\r\n250 a\r\n250 b\r\n550 " + fuzztest.Canary + "\r\n", "220 a\r\n250 a\r\n250 b\r\n450 " + fuzztest.Canary + "\r\n", "554 " + fuzztest.Canary + "\r\n",
		"220 a\r\n250 a\r\n250 b\r\n" + fuzztest.Canary + " is unknown\r\n", "220 a\r\n250-a\r\n999 " + fuzztest.Canary + "\r\n", "220-a\r\n250-b\r\n" + fuzztest.Canary,
		"220 a\r\n502 b\r\n250 HELO\r\n250 b\r\n250 c\r\n354 d\r\n554 " + fuzztest.Canary + "\r\n", "220 a\r\n250-SIZE\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n250 b\r\n251 c\r\n354 d\r\n250 e",
		"220 a\r\n250 a\r\n250 b\r\n250 c\r\n250 " + fuzztest.Canary + "\r\n", "220 a\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n250", strings.Repeat("220-a\r\n", 1000),
		"2x0 " + fuzztest.Canary + "\r\n", "-20 " + fuzztest.Canary + "\r\n", "220 \x00\xff\r\n", "220 a\r\n250 a\r\n250 b\r\n50 " + fuzztest.Canary + "\r\n",
	} {
		f.Add([]byte(says))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = listener.Close() })
	s := &notify.SMTP{Address: listener.Addr().String(), From: "amanat@node.example", Security: notify.NoTLS}
	m := message()
	f.Fuzz(func(t *testing.T, says []byte) {
		heard := make(chan string, 1)
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				heard <- ""
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = conn.Write(says)
			_ = conn.(*net.TCPConn).CloseWrite()
			all, _ := io.ReadAll(conn)
			heard <- string(all)
		}()
		err := s.Send(t.Context(), m)
		all := <-heard
		_, verdict, _ := strings.Cut(string(says), "354")
		letter := base64.StdEncoding.EncodeToString([]byte(m.Text))
		switch whole := strings.Contains(strings.ReplaceAll(all, "\r\n", ""), letter) && strings.Contains(all, "\r\n.\r\n") && strings.Contains(all, "RCPT TO:<"+m.To.Email+">"); {
		case err == nil && (!whole || !strings.Contains(verdict, "\n250")):
			t.Errorf("it counts as sent; the server said %q and heard %q", says, all)
		case err == nil:
		case strings.Contains(err.Error(), fuzztest.Canary) || strings.Contains(err.Error(), m.To.Email):
			t.Errorf("the error repeats what the server said, or to whom: %v", err)
		case errors.Is(err, notify.ErrRefused) && !strings.Contains(string(says), "\n5"):
			t.Errorf("it counts as refused for good, and the server said %q", says)
		}
	})
}
